// How a batch is cut for sums over it, and the order in which the pieces are added up. Everything
// here is a function of shapes and of the `shards` setting alone, never of threads or ranks: that
// is what makes a run the same bits everywhere.
//
//   global batch -> `shards` ranges of samples -> row blocks inside each -> tiles inside a block
//
// Blocks merge into their shard, then shards merge with each other, both by the fixed tree of
// MergeTree. Several processes hold neighbouring shards, a power of two each: what one of them sums
// is then one subtree, and the processes' sums merge by the same tree again.
#ifndef LOCKSTEP_ENGINE_PARALLEL_SHARDS_H_
#define LOCKSTEP_ENGINE_PARALLEL_SHARDS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

struct IndexRange {
  int64_t begin = 0;
  int64_t end = 0;

  constexpr int64_t size() const { return end - begin; }
  bool operator==(const IndexRange&) const = default;
};

// The samples that belong to `shard`, of `shards` in all. The ranges are in order, cover the batch,
// and differ in size by at most one; a shard is empty when there are more shards than samples.
constexpr IndexRange ShardRange(int64_t samples, int64_t shards, int64_t shard) {
  return {samples * shard / shards, samples * (shard + 1) / shards};
}

// Merges the slots [lo, hi) into slot lo by calling merge(into, from):
//   tree(lo, hi) = tree(lo, mid) + tree(mid, hi),
//   mid = lo + the largest power of two strictly below hi - lo.
// For a power of two this is the balanced tree. Neighbours merge first, so it needs no recursion.
template <class Merge>
constexpr void MergeTree(int64_t lo, int64_t hi, Merge&& merge) {
  const int64_t count = hi - lo;
  for (int64_t step = 1; step < count; step *= 2) {
    for (int64_t i = 0; i + step < count; i += 2 * step) merge(lo + i, lo + i + step);
  }
}

// How the global batch of one step is cut, and which of its shards are computed here and now. It
// travels with the step: nothing else cuts a batch. Every process ("rank") holds shards / ranks
// neighbouring shards; a step takes local_shards of them, all or a part, on every rank the same.
struct BatchCut {
  int64_t global_samples = 0;  // of all processes and parts
  int64_t shards = 1;          // of the global batch
  int64_t first_shard = 0;     // of this process and part
  int64_t local_shards = 1;
  int64_t ranks = 1;

  // A batch that one process holds alone.
  static constexpr BatchCut Whole(int64_t samples, int64_t shards) {
    return {samples, shards, 0, shards, 1};
  }
  // Part `part` of `parts` of what process `rank` of `ranks` holds; ranks * parts divides shards.
  static constexpr BatchCut OfRank(int64_t global_samples, int64_t shards, int64_t rank,
                                   int64_t ranks, int64_t part = 0, int64_t parts = 1) {
    const int64_t local = shards / (ranks * parts);
    return {global_samples, shards, (rank * parts + part) * local, local, ranks};
  }
  // Whether the sums of ranks and parts are then subtrees of the tree over the shards.
  static constexpr bool IsRegular(int64_t shards, int64_t ranks, int64_t parts = 1) {
    const int64_t local = shards / (ranks * parts);
    return local * ranks * parts == shards && (local & (local - 1)) == 0;
  }

  // The first sample here within the global batch, and how many there are.
  constexpr int64_t first_sample() const {
    return ShardRange(global_samples, shards, first_shard).begin;
  }
  constexpr int64_t samples() const { return SamplesFrom(first_shard); }
  // The same of another process, and of all together: what batch statistics are taken over.
  constexpr int64_t SamplesOfRank(int64_t rank) const {
    const int64_t of_rank = shards / ranks;
    return SamplesFrom(rank * of_rank + first_shard % of_rank);
  }
  constexpr int64_t step_samples() const {
    int64_t sum = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) sum += SamplesOfRank(rank);
    return sum;
  }
  // The samples of one of the shards here, counted from the first sample here.
  constexpr IndexRange LocalShard(int64_t shard) const {
    const IndexRange range = ShardRange(global_samples, shards, first_shard + shard);
    return {range.begin - first_sample(), range.end - first_sample()};
  }
  bool operator==(const BatchCut&) const = default;

 private:
  constexpr int64_t SamplesFrom(int64_t first) const {
    return ShardRange(global_samples, shards, first + local_shards - 1).end -
           ShardRange(global_samples, shards, first).begin;
  }
};

// The rows of this process's part of a batch, seen as a matrix (samples * rows_per_sample, C), cut
// into row blocks. shards() and all that follows are this process's own. No block crosses from one
// shard into the next. A shard's blocks are kBlockRows rows each (its last one may be shorter), or
// the smallest multiple of kBlockRows that leaves at most kMaxShardBlocks. In pictures they are
// rounded up to whole lines, `line` rows each: a convolution finishes one line after another.
//
// Made once for the largest batch; Set allocates nothing. Not thread-safe while it changes.
class RowGrid {
 public:
  static constexpr int64_t kBlockRows = 128;
  static constexpr int64_t kMaxShardBlocks = 64;

  // REQUIRES: line divides rows_per_sample.
  RowGrid(int64_t max_samples, int64_t rows_per_sample, int64_t shards, int64_t line = 1);

  // Follows a cut of at most as many local shards and max_samples local samples; costs nothing
  // where it is the one before.
  void Set(const BatchCut& cut);
  // The cut of a batch that this process holds alone.
  void SetSamples(int64_t samples) { Set(BatchCut::Whole(samples, max_shards_)); }

  // The largest blocks() of any batch up to `max_samples`: what partial results are booked for.
  static int64_t MaxBlocks(int64_t max_samples, int64_t rows_per_sample, int64_t shards);

  int64_t samples() const { return samples_; }
  const BatchCut& cut() const { return cut_; }
  int64_t rows() const { return samples_ * rows_per_sample_; }
  int64_t shards() const { return shards_; }
  int64_t blocks() const { return static_cast<int64_t>(boundaries_.size()) - 1; }

  // The first row of every block, then rows(): strictly increasing, blocks() + 1 entries, from 0.
  std::span<const int64_t> boundaries() const { return boundaries_; }
  IndexRange BlockRows(int64_t block) const {
    return {boundaries_[static_cast<size_t>(block)], boundaries_[static_cast<size_t>(block) + 1]};
  }
  // The block that holds `row`, 0 <= row < rows().
  int64_t BlockAt(int64_t row) const {
    return std::upper_bound(boundaries_.begin(), boundaries_.end(), row) - boundaries_.begin() - 1;
  }
  // The blocks, and the rows, of a shard; both empty for an empty shard.
  IndexRange ShardBlocks(int64_t shard) const {
    return {first_block_[static_cast<size_t>(shard)], first_block_[static_cast<size_t>(shard) + 1]};
  }
  IndexRange ShardRows(int64_t shard) const {
    const IndexRange samples = cut_.LocalShard(shard);
    return {samples.begin * rows_per_sample_, samples.end * rows_per_sample_};
  }

 private:
  int64_t max_samples_;
  int64_t rows_per_sample_;
  int64_t line_;
  int64_t max_shards_;
  int64_t shards_;
  BatchCut cut_{.global_samples = -1};
  int64_t samples_ = -1;
  std::vector<int64_t> boundaries_;   // blocks() + 1 entries
  std::vector<int64_t> first_block_;  // at least shards + 1 entries
};

inline RowGrid::RowGrid(int64_t max_samples, int64_t rows_per_sample, int64_t shards, int64_t line)
    : max_samples_(max_samples),
      rows_per_sample_(rows_per_sample),
      line_(line),
      max_shards_(shards),
      shards_(shards) {
  LOCKSTEP_CHECK_GE(max_samples, int64_t{0});
  LOCKSTEP_CHECK_GE(rows_per_sample, int64_t{0});
  LOCKSTEP_CHECK_GE(shards, int64_t{1});
  LOCKSTEP_CHECK(line >= 1 && rows_per_sample % line == 0, "lines that are not whole");
  boundaries_.reserve(static_cast<size_t>(MaxBlocks(max_samples, rows_per_sample, shards)) + 1);
  first_block_.resize(static_cast<size_t>(shards) + 1);
  SetSamples(max_samples);
}

inline void RowGrid::Set(const BatchCut& cut) {
  if (cut == cut_) return;
  LOCKSTEP_CHECK_LE(cut.local_shards, max_shards_);
  LOCKSTEP_CHECK(cut.global_samples >= 0 && cut.samples() <= max_samples_,
                 "samples beyond the largest batch");
  cut_ = cut;
  shards_ = cut.local_shards;
  samples_ = cut.samples();
  boundaries_.clear();
  for (int64_t shard = 0; shard < shards_; ++shard) {
    first_block_[static_cast<size_t>(shard)] = static_cast<int64_t>(boundaries_.size());
    const IndexRange rows = ShardRows(shard);
    constexpr int64_t kShardBlocksRows = kMaxShardBlocks * kBlockRows;
    const int64_t least = kBlockRows * ((rows.size() + kShardBlocksRows - 1) / kShardBlocksRows);
    const int64_t block = (least + line_ - 1) / line_ * line_;
    for (int64_t row = rows.begin; row < rows.end; row += block) boundaries_.push_back(row);
  }
  first_block_[static_cast<size_t>(shards_)] = static_cast<int64_t>(boundaries_.size());
  boundaries_.push_back(rows());
}

inline int64_t RowGrid::MaxBlocks(int64_t max_samples, int64_t rows_per_sample, int64_t shards) {
  const int64_t shard_rows = (max_samples + shards - 1) / shards * rows_per_sample;
  const int64_t shard_blocks = (shard_rows + kBlockRows - 1) / kBlockRows;
  return shards * std::min(shard_blocks, kMaxShardBlocks);
}

// The order in which one slot for each row block becomes one for the batch: blocks into their shard
// (MergeBlocks, for every shard), then shards (MergeShards). Calls merge(into, rows_into, from,
// rows_from) with two blocks and the number of rows whose sums their slots hold; both are > 0. A
// shard's result ends in the slot of ShardBlocks(shard).begin, the batch's in slot 0.
template <class Merge>
void MergeBlocks(const RowGrid& grid, int64_t shard, Merge&& merge) {
  const std::span<const int64_t> rows = grid.boundaries();
  const IndexRange blocks = grid.ShardBlocks(shard);
  MergeTree(blocks.begin, blocks.end, [&](int64_t into, int64_t from) {
    const int64_t end = std::min(from + (from - into), blocks.end);  // of what `from` holds by now
    merge(into, rows[static_cast<size_t>(from)] - rows[static_cast<size_t>(into)], from,
          rows[static_cast<size_t>(end)] - rows[static_cast<size_t>(from)]);
  });
}

template <class Merge>
void MergeShards(const RowGrid& grid, Merge&& merge) {
  MergeTree(0, grid.shards(), [&](int64_t into, int64_t from) {
    const int64_t end = std::min(from + (from - into), grid.shards());
    const int64_t rows_into = grid.ShardRows(from).begin - grid.ShardRows(into).begin;
    const int64_t rows_from = grid.ShardRows(end - 1).end - grid.ShardRows(from).begin;
    // Empty shards share the slot of the next that is not, which is already where it belongs.
    if (rows_into == 0 || rows_from == 0) return;
    merge(grid.ShardBlocks(into).begin, rows_into, grid.ShardBlocks(from).begin, rows_from);
  });
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PARALLEL_SHARDS_H_
