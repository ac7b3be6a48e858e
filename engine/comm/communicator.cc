#include "engine/comm/communicator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/base/check.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1 {

Status Communicator::AllReduce(std::span<float> data) {
  // Pieces, so that many ranks do not need many times the memory.
  constexpr size_t kPiece = size_t{1} << 16;
  const auto ranks = static_cast<size_t>(size());
  if (ranks == 1) return Status::Ok();
  for (size_t begin = 0; begin < data.size(); begin += kPiece) {
    const std::span<float> piece = data.subspan(begin, std::min(kPiece, data.size() - begin));
    const size_t n = piece.size();
    if (gathered_.size() < ranks * n) gathered_.resize(ranks * n);
    const std::span<float> all(gathered_.data(), ranks * n);
    LOCKSTEP_TRY(AllGather(std::as_bytes(piece), std::as_writable_bytes(all)));
    MergeTree(0, size(), [&](int64_t into, int64_t from) {
      float* to = all.data() + static_cast<size_t>(into) * n;
      const float* term = all.data() + static_cast<size_t>(from) * n;
      for (size_t i = 0; i < n; ++i) to[i] += term[i];
    });
    std::copy_n(all.begin(), n, piece.begin());
  }
  return Status::Ok();
}

Status Communicator::Barrier() {
  std::vector<std::byte> all(static_cast<size_t>(size()));
  return AllGather(std::span(all).subspan(static_cast<size_t>(rank()), 1), all);
}

namespace {

class NoMessages final : public Exchange {
 public:
  Status Start() override { return Status::Ok(); }
  Result<bool> Done() override { return true; }
  Status Wait() override { return Status::Ok(); }
};

}  // namespace

Result<std::unique_ptr<Exchange>> SingleProcess::Book(std::string what,
                                                      std::vector<Outgoing> outgoing,
                                                      std::vector<Incoming> incoming) {
  LOCKSTEP_CHECK(outgoing.empty() && incoming.empty(), what.c_str());
  return std::unique_ptr<Exchange>(std::make_unique<NoMessages>());
}

Status SingleProcess::AllGather(std::span<const std::byte> mine, std::span<std::byte> all) {
  LOCKSTEP_CHECK_EQ(mine.size(), all.size());
  if (mine.data() != all.data()) std::copy(mine.begin(), mine.end(), all.begin());
  return Status::Ok();
}

Status SingleProcess::Broadcast(std::span<std::byte>, int root) {
  LOCKSTEP_CHECK_EQ(root, 0);
  return Status::Ok();
}

}  // namespace lockstep
