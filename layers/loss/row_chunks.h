// How the rows of a batch are cut into chunks, so that sums over chunks are the sums over the batch
// bit by bit. A product that sums over the rows (a weight gradient) adds up chains of at most 256
// rows in the fixed tree over the chains of a shard and over the shards (engine/ops/product.h); a
// chunk is a subtree of that: chains of one shard, or whole shards, a power of two of them.
//
// Sums that wait for a partner lie on a stack. A chunk begins with `waiting` of them there; its own
// sum is added to the `merges` youngest, one after another, or put on top where there are none.
#ifndef LOCKSTEP_LAYERS_LOSS_ROW_CHUNKS_H_
#define LOCKSTEP_LAYERS_LOSS_ROW_CHUNKS_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/kernels/product/chains.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1 {

// Made once, for the largest batch; then Set and Next allocate nothing. Not thread-safe.
class RowChunks {
 public:
  struct Chunk {
    IndexRange rows{};
    std::span<const int64_t> segments{};  // of the product over these rows, from 0; until Next
    int waiting = 0;
    int merges = 0;
  };

  RowChunks() = default;
  // For batches of at most `samples` samples of rows_per_sample rows each, in `shards` shards.
  // Chunks of at most `most` rows, but for chains, which stay whole: 256 rows.
  RowChunks(int64_t samples, int64_t rows_per_sample, int64_t shards, int64_t most)
      : chains_(static_cast<int64_t>(std::bit_floor(
            static_cast<uint64_t>(std::max<int64_t>(1, most / kernels::kLongestChain))))) {
    const int64_t rows = samples * rows_per_sample;
    const int64_t longest_shard = (samples + shards - 1) / shards * rows_per_sample;
    largest_ = std::min(rows, MostRows());
    segments_.reserve(static_cast<size_t>(std::max(shards, chains_)) + 1);
    const auto levels = [](int64_t n) {
      return static_cast<int>(std::bit_width(static_cast<uint64_t>(n - 1)));
    };
    if (rows <= MostRows()) return;
    depth_ = std::max(
        1, levels(shards) + levels((kernels::ChainsOf(longest_shard) + chains_ - 1) / chains_));
  }

  // Rows and segments of the largest chunk of any such batch; how many sums the stack has room for.
  int64_t largest() const { return largest_; }
  int64_t most_segments() const { return static_cast<int64_t>(segments_.capacity()) - 1; }
  int depth() const { return depth_; }

  // The rows of a batch: boundaries of its shards, shards + 1 entries, which must outlive this.
  void Set(std::span<const int64_t> shard_rows) {
    shards_ = shard_rows;
    count_ = static_cast<int64_t>(shard_rows.size()) - 1;
    next_ = chain_ = 0;
    shards_waiting_ = chains_waiting_ = 0;
    int64_t longest = 0;
    for (int64_t s = 0; s < count_; ++s) longest = std::max(longest, Rows(s, s + 1));
    group_ = 1;
    if (longest > MostRows()) {  // chains of one shard at a time
      group_ = 0;
      return;
    }
    const auto fits = [&](int64_t group) {
      for (int64_t s = 0; s < count_; s += group) {
        if (Rows(s, std::min(s + group, count_)) > MostRows()) return false;
      }
      return true;
    };
    while (group_ < count_ && fits(2 * group_)) group_ *= 2;
  }

  bool done() const { return next_ == count_; }
  Chunk Next() { return group_ > 0 ? NextShards() : NextChains(); }

 private:
  int64_t MostRows() const { return chains_ * kernels::kLongestChain; }
  static int PairsOf(int64_t i) { return std::countr_one(static_cast<uint64_t>(i)); }
  int64_t Rows(int64_t from, int64_t to) const {
    return shards_[static_cast<size_t>(to)] - shards_[static_cast<size_t>(from)];
  }

  // `group_` whole shards. Trees are binary counters, see Chains.
  Chunk NextShards() {
    const int64_t begin = next_, end = std::min(begin + group_, count_);
    Chunk chunk{.waiting = shards_waiting_};
    segments_.clear();
    for (int64_t s = begin; s <= end; ++s) segments_.push_back(Rows(begin, s));
    chunk.rows = {shards_[static_cast<size_t>(begin)], shards_[static_cast<size_t>(end)]};
    chunk.segments = segments_;
    next_ = end;
    chunk.merges = done() ? shards_waiting_ : PairsOf(begin / group_);
    shards_waiting_ += 1 - chunk.merges;
    return chunk;
  }

  // Chains of shard next_, a power of two of them.
  Chunk NextChains() {
    const int64_t first = shards_[static_cast<size_t>(next_)], rows = Rows(next_, next_ + 1);
    const int64_t chains = kernels::ChainsOf(rows);
    const auto boundary = [&](int64_t chain) { return rows * chain / chains; };
    const int64_t begin = chain_, end = std::min(begin + chains_, chains);
    Chunk chunk{.rows = {first + boundary(begin), first + boundary(end)},
                .waiting = shards_waiting_ + chains_waiting_};
    segments_.clear();
    for (int64_t c = begin; c <= end; ++c) segments_.push_back(boundary(c) - boundary(begin));
    chunk.segments = segments_;
    if (end < chains) {
      chain_ = end;
      chunk.merges = PairsOf(begin / chains_);
      chains_waiting_ += 1 - chunk.merges;
      return chunk;
    }
    const int pairs = next_ + 1 == count_ ? shards_waiting_ : PairsOf(next_);
    chunk.merges = chains_waiting_ + pairs;
    shards_waiting_ += 1 - pairs;
    chains_waiting_ = 0;
    chain_ = 0;
    ++next_;
    return chunk;
  }

  int64_t chains_ = 1;  // in a chunk, a power of two
  int64_t largest_ = 0;
  int depth_ = 1;
  std::span<const int64_t> shards_{};
  int64_t count_ = 0;
  int64_t group_ = 1;             // shards in a chunk; 0: a shard has several chunks
  int64_t next_ = 0, chain_ = 0;  // the shard, and its chain, that come next
  int shards_waiting_ = 0, chains_waiting_ = 0;
  std::vector<int64_t> segments_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_LOSS_ROW_CHUNKS_H_
