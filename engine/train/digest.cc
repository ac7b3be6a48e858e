#include "engine/train/digest.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/train/checkpointing.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr std::string_view kFirstLine = "lockstep digest 1";
constexpr int64_t kMostBytes = int64_t{1} << 32;

}  // namespace

Result<std::unique_ptr<DigestWriter>> DigestWriter::Make(const std::string& path, bool append,
                                                         Communicator& communicator) {
  std::unique_ptr<DigestWriter> writer(new DigestWriter(path, communicator));
  if (communicator.rank() != 0) return writer;
  writer->file_.open(path, append ? std::ios::app : std::ios::trunc);
  writer->file_ << kFirstLine << '\n' << std::flush;
  if (!writer->file_) return Status::Io(path + ": cannot write the digest there");
  return writer;
}

Status DigestWriter::Add(int64_t step, const Network& network) {
  const std::vector<NamedTensor> tensors = ModelTensors(network);
  mine_.clear();
  for (const NamedTensor& one : tensors) {
    const auto* data = static_cast<const std::byte*>(one.tensor.data());
    mine_.push_back(Hasher().Add(std::span(data, one.tensor.bytes())).Finish());
  }
  all_.resize(mine_.size() * static_cast<size_t>(communicator_.size()));
  LOCKSTEP_TRY(communicator_.AllGather(std::as_bytes(std::span(mine_)),
                                       std::as_writable_bytes(std::span(all_))));
  if (communicator_.rank() != 0) return Status::Ok();
  for (size_t i = 0; i < tensors.size(); ++i) {
    for (size_t r = 0; r < static_cast<size_t>(communicator_.size()); ++r) {
      file_ << step << ' ' << r << ' ' << HexOf(all_[r * tensors.size() + i]) << ' '
            << tensors[i].name << '\n';
    }
  }
  file_.flush();
  if (!file_) return Status::Io(path_ + ": cannot write the digest; is the disk full?");
  return Status::Ok();
}

namespace {

struct DigestOfTensor {
  std::string name;
  std::map<int64_t, std::string> hashes;  // by rank

  // Of a rank that the run did not have: all of its ranks should hold the same.
  const std::string& Of(int64_t rank) const {
    const auto found = hashes.find(rank);
    return found != hashes.end() ? found->second : hashes.begin()->second;
  }
};
using Digest = std::map<int64_t, std::vector<DigestOfTensor>>;  // by step

Status Damaged(const std::string& path, int64_t line) {
  return Status::Corrupt(path + ": line " + std::to_string(line) +
                         " is not \"STEP RANK HASH NAME\"; was the file cut short?");
}

Result<Digest> ReadDigest(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const std::string text, ReadFile(path, kMostBytes));
  std::string_view rest = text;
  int64_t line = 0;
  const auto next = [&] {
    const size_t end = rest.find('\n');
    const std::string_view one = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    ++line;
    return one;
  };
  if (next() != kFirstLine)
    return Status::Corrupt(path + ": does not begin with \"" + std::string(kFirstLine) +
                           "\", so it is no digest; `lockstep train --digest FILE` writes one");
  Digest digest;
  bool goes_on = false;
  while (!rest.empty()) {
    const std::string_view one = next();
    if (one == kFirstLine) {
      goes_on = true;
      continue;
    }
    int64_t step = 0, rank = 0;
    const char* const end = one.data() + one.size();
    const auto [after_step, bad_step] = std::from_chars(one.data(), end, step);
    if (bad_step != std::errc() || after_step == end || *after_step != ' ')
      return Damaged(path, line);
    const auto [after_rank, bad_rank] = std::from_chars(after_step + 1, end, rank);
    if (bad_rank != std::errc() || end - after_rank < 19 || *after_rank != ' ' ||
        after_rank[17] != ' ') {
      return Damaged(path, line);
    }
    // What was done since the checkpoint that a run went on from was done again.
    if (goes_on) digest.erase(digest.lower_bound(step), digest.end());
    goes_on = false;
    std::vector<DigestOfTensor>& tensors = digest[step];
    const std::string hash(after_rank + 1, 16), name(after_rank + 18, end);
    if (tensors.empty() || tensors.back().name != name) tensors.push_back({name, {}});
    tensors.back().hashes[rank] = hash;
  }
  return digest;
}

}  // namespace

Result<DigestComparison> CompareDigests(const std::string& a, const std::string& b) {
  LOCKSTEP_TRY_ASSIGN(const Digest left, ReadDigest(a));
  LOCKSTEP_TRY_ASSIGN(const Digest right, ReadDigest(b));
  DigestComparison comparison;
  for (const auto& [step, tensors] : left) {
    const auto found = right.find(step);
    if (found == right.end()) continue;
    const std::vector<DigestOfTensor>& others = found->second;
    const std::string at = "step " + std::to_string(step);
    for (size_t i = 0; i < std::max(tensors.size(), others.size()); ++i) {
      const std::string in_a = i < tensors.size() ? tensors[i].name : "nothing";
      const std::string in_b = i < others.size() ? others[i].name : "nothing";
      if (in_a != in_b) {
        comparison.difference = at + ": " + a + " has " + in_a + " where " + b + " has " + in_b +
                                ": these are different models";
        return comparison;
      }
      std::set<int64_t> ranks;
      for (const DigestOfTensor* one : {&tensors[i], &others[i]}) {
        for (const auto& [rank, hash] : one->hashes) ranks.insert(rank);
      }
      for (const int64_t rank : ranks) {
        const std::string &x = tensors[i].Of(rank), &y = others[i].Of(rank);
        if (x == y) continue;
        comparison.difference = at + ", rank " + std::to_string(rank) + ": " + in_a + " is " + x +
                                " in " + a + " and " + y + " in " + b;
        return comparison;
      }
    }
    ++comparison.steps;
    comparison.tensors = std::ssize(tensors);
  }
  if (comparison.steps == 0)
    return Status::Invalid(a + " and " + b + " have no step in common: nothing was compared");
  return comparison;
}

}  // namespace lockstep
