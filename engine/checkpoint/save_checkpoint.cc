// Writing a checkpoint. One process writes header and data one after the other. Several ranks:
//
//   rank 0 creates PATH.tmp and marks it; the others open it and look for the mark
//   each writes its pieces and its share of what all hold, at their places     -> all to the disk
//   each reads its share of the blocks back and hashes it                      -> hashes to all
//   rank 0 writes the header with the checksum over the mark, and renames
//
// Behind each line the ranks agree that all of them succeeded; whoever failed, rank 0 removes the
// temporary, and what was at PATH stays.
#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <random>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "engine/base/integers.h"
#include "engine/checkpoint/block_hash.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/checksum.h"
#include "engine/comm/agreement.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {
namespace {

// Where a piece lies in the data.
struct Placed {
  size_t entry = 0;  // of the header
  int64_t offset = 0;
  std::span<const std::byte> bytes;
};

struct Plan {
  SafetensorsHeader header;
  int64_t data_bytes = 0;
  size_t checksum_place = 0;
  std::vector<Placed> pieces;  // of this rank, by place
};

Result<Plan> PlanFile(std::span<const StoredPiece> pieces, const Metadata& meta) {
  Plan plan;
  plan.header.metadata = meta;
  for (const auto& [key, value] : {std::pair(kFormatKey, std::string("pt")),
                                   std::pair(kVersionKey, std::to_string(kCheckpointVersion)),
                                   std::pair(kChecksumKey, std::string(kChecksumDigits, '0'))}) {
    if (!plan.header.metadata.try_emplace(std::string(key), value).second)
      return Status::Invalid("the metadata key " + Quoted(key) + " is reserved");
  }
  std::unordered_map<std::string_view, size_t> place;  // in the list of entries
  for (const StoredPiece& piece : pieces) {
    const bool known = !place.emplace(piece.name, plan.header.entries.size()).second;
    // Whole tensors under one name are two tensors, not pieces of one: LayOutSafetensors says so.
    const bool whole =
        piece.begin == 0 && piece.shape.size() > 0 &&
        piece.data.size() == static_cast<size_t>(piece.shape.size()) * SizeOf(piece.type);
    if (!known || whole)
      plan.header.entries.push_back({.name = piece.name, .type = piece.type, .shape = piece.shape});
  }
  LOCKSTEP_TRY_ASSIGN(plan.data_bytes, LayOutSafetensors(plan.header));
  plan.checksum_place = ChecksumPlace(plan.header.text);
  place.clear();
  for (size_t i = 0; i < plan.header.entries.size(); ++i)
    place.emplace(plan.header.entries[i].name, i);
  for (const StoredPiece& piece : pieces) {
    const size_t entry = place.at(piece.name);
    const int64_t skipped = piece.begin * static_cast<int64_t>(SizeOf(piece.type));
    plan.pieces.push_back({entry, plan.header.entries[entry].offset + skipped, piece.data});
  }
  std::stable_sort(plan.pieces.begin(), plan.pieces.end(),
                   [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
  return plan;
}

void Seal(Plan& plan, std::span<const uint64_t> block_hashes) {
  const uint64_t checksum = ChecksumOf(plan.header.text, plan.checksum_place, block_hashes);
  plan.header.text.replace(plan.checksum_place, kChecksumDigits, HexOf(checksum));
}

Status WriteAlone(const std::string& path, Plan& plan) {
  std::vector<std::span<const std::byte>> data;
  int64_t bytes = 0;
  for (const Placed& piece : plan.pieces) {
    data.push_back(piece.bytes);
    bytes += static_cast<int64_t>(piece.bytes.size());
  }
  if (bytes != plan.data_bytes)
    return Status::Invalid("the pieces have " + std::to_string(bytes) + " bytes, the tensors " +
                           std::to_string(plan.data_bytes));
  LOCKSTEP_TRY_ASSIGN(const std::vector<uint64_t> hashes,
                      HashesOfBlocks(bytes, 0, HashBlocks(bytes), PartsReader(data)));
  Seal(plan, hashes);
  data.insert(data.begin(), std::as_bytes(std::span(plan.header.text)));
  return WriteFileAtomically(path, data);
}

class SharedWriter {
 public:
  SharedWriter(Communicator& ranks, const std::string& path, const Result<Plan>& plan)
      : ranks_(ranks), path_(path), plan_(plan) {}

  Status Run() {
    LOCKSTEP_TRY(Agree(ranks_, plan_.status()));
    LOCKSTEP_TRY(CheckAlike());
    Result<AtomicFile> file = Open();
    LOCKSTEP_TRY(file.status());
    LOCKSTEP_TRY(Agree(ranks_, WriteMine(*file)));
    Plan plan = *plan_;
    LOCKSTEP_TRY_ASSIGN(const std::vector<uint64_t> hashes, HashTogether(*file));
    Seal(plan, hashes);
    Status status;
    if (ranks_.rank() == 0) {
      status = file->WriteAt(0, std::as_bytes(std::span(plan.header.text)));
      if (status.ok()) status = file->Commit();
    }
    return Agree(ranks_, status);
  }

 private:
  // All ranks would write the same header, and together they hold every byte; `whole_` says which
  // tensors each of them holds.
  Status CheckAlike() {
    const uint64_t mine = Hasher().Add(plan_->header.text).Finish();
    LOCKSTEP_TRY_ASSIGN(const std::vector<uint64_t> headers,
                        GatherAll(ranks_, std::span(&mine, 1)));
    for (size_t r = 0; r < headers.size(); ++r) {
      if (headers[r] == headers[0]) continue;
      return Status::Invalid(path_ + ": rank " + std::to_string(r) +
                             " would save other tensors or another state of the run than rank 0");
    }
    const auto& entries = plan_->header.entries;
    std::vector<int64_t> held(entries.size());
    for (const Placed& piece : plan_->pieces)
      held[piece.entry] += static_cast<int64_t>(piece.bytes.size());
    LOCKSTEP_TRY_ASSIGN(const std::vector<int64_t> all,
                        GatherAll(ranks_, std::span<const int64_t>(held)));
    for (size_t i = 0; i < entries.size(); ++i) {
      bool whole = true;
      int64_t sum = 0;
      for (size_t r = 0; r < headers.size(); ++r) {
        const int64_t bytes = all[r * entries.size() + i];
        whole = whole && bytes == entries[i].bytes;
        sum += bytes;
      }
      if (!whole && sum != entries[i].bytes) {
        return Status::Invalid(path_ + ": the ranks hold " + std::to_string(sum) + " of the " +
                               std::to_string(entries[i].bytes) + " bytes of " + entries[i].name);
      }
      whole_.push_back(whole);
    }
    return Status::Ok();
  }

  Result<AtomicFile> Open() {
    std::array<uint64_t, 2> mark{};
    std::optional<Result<AtomicFile>> file;
    Status status;
    if (ranks_.rank() == 0) {
      std::random_device random;
      for (uint64_t& word : mark) word = uint64_t{random()} << 32 | random();
      file.emplace(AtomicFile::Create(path_));
      status = file->status();
      if (status.ok()) status = (*file)->WriteAt(0, std::as_bytes(std::span(mark)));
      if (status.ok()) status = (*file)->Sync();
    }
    LOCKSTEP_TRY(Agree(ranks_, status));
    LOCKSTEP_TRY(ranks_.Broadcast(std::as_writable_bytes(std::span(mark)), 0));
    if (ranks_.rank() != 0) {
      file.emplace(AtomicFile::Join(path_));
      status = file->status();
      std::array<uint64_t, 2> there{};
      if (status.ok()) status = (*file)->ReadAt(0, std::as_writable_bytes(std::span(there)));
      if (status.code() == Code::kNotFound || (status.ok() && there != mark)) {
        status = Status::Io(path_ +
                            ".tmp that rank 0 has created is not seen here: the folder of a run "
                            "must be on a file system that all ranks share");
      }
    }
    LOCKSTEP_TRY(Agree(ranks_, status));
    return std::move(*file);
  }

  // Neighbouring blocks of the data.
  struct Blocks {
    int64_t begin = 0, end = 0;
  };
  Blocks BlocksOf(int rank) const {
    const int64_t count = HashBlocks(plan_->data_bytes), ranks = ranks_.size();
    return {count * rank / ranks, count * (rank + 1) / ranks};
  }

  Status WriteMine(AtomicFile& file) const {
    const auto header = static_cast<int64_t>(plan_->header.text.size());
    const Blocks blocks = BlocksOf(ranks_.rank());
    for (const Placed& piece : plan_->pieces) {
      int64_t begin = piece.offset, end = begin + static_cast<int64_t>(piece.bytes.size());
      if (whole_[piece.entry]) {
        begin = std::max(begin, blocks.begin * kHashBlock);
        end = std::min(end, blocks.end * kHashBlock);
      }
      if (begin >= end) continue;
      LOCKSTEP_TRY(file.WriteAt(header + begin,
                                piece.bytes.subspan(static_cast<size_t>(begin - piece.offset),
                                                    static_cast<size_t>(end - begin))));
    }
    return file.Sync();
  }

  // Blocks are shared by ranks, so they are read back: from the page cache, mostly.
  Result<std::vector<uint64_t>> HashTogether(const AtomicFile& file) {
    const auto header = static_cast<int64_t>(plan_->header.text.size());
    const Blocks blocks = BlocksOf(ranks_.rank());
    Result<std::vector<uint64_t>> mine =
        HashesOfBlocks(plan_->data_bytes, blocks.begin, blocks.end,
                       [&](int64_t offset, std::span<std::byte> into) {
                         return file.ReadAt(header + offset, into);
                       });
    LOCKSTEP_TRY(Agree(ranks_, mine.status()));
    const auto most = static_cast<size_t>(CeilDiv(HashBlocks(plan_->data_bytes), ranks_.size()));
    mine->resize(most);
    LOCKSTEP_TRY_ASSIGN(const std::vector<uint64_t> all,
                        GatherAll(ranks_, std::span<const uint64_t>(*mine)));
    std::vector<uint64_t> hashes;
    for (int r = 0; r < ranks_.size(); ++r) {
      const auto from = all.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(r) * most);
      hashes.insert(hashes.end(), from, from + (BlocksOf(r).end - BlocksOf(r).begin));
    }
    return hashes;
  }

  Communicator& ranks_;
  const std::string& path_;
  const Result<Plan>& plan_;
  std::vector<char> whole_;  // by entry: every rank holds all of it
};

}  // namespace

Status SaveCheckpoint(const std::string& path, std::span<const StoredPiece> pieces,
                      const Metadata& meta, Communicator* ranks) {
  Result<Plan> plan = PlanFile(pieces, meta);
  if (!plan.ok()) plan = plan.status().At(path);
  if (ranks != nullptr && ranks->size() > 1) return SharedWriter(*ranks, path, plan).Run();
  LOCKSTEP_TRY(plan.status());
  return WriteAlone(path, *plan);
}

Status SaveCheckpoint(const std::string& path, std::span<const StoredTensor> tensors,
                      const Metadata& meta) {
  return SaveCheckpoint(path, std::vector<StoredPiece>(tensors.begin(), tensors.end()), meta);
}

Status SaveCheckpoint(const std::string& path, std::span<const NamedConstTensor> tensors,
                      const Metadata& meta) {
  return SaveCheckpoint(path, std::vector<StoredTensor>(tensors.begin(), tensors.end()), meta);
}

}  // namespace lockstep
