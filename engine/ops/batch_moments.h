// Moments of a batch per channel, over the row blocks of a RowGrid: one partial result per block,
// merged into shards, merged into the batch, always by the same tree. A tensor of any rank is seen
// as (R, C), channels last.
//
// Partial results are (blocks, 2, C) doubles: the mean, then M2 = sum (x - mean)^2, of each block.
// Producers that still have a finished block in cache fill them with BlockMoments; BatchMoments
// reads x itself. Nothing here allocates.
#ifndef LOCKSTEP_ENGINE_OPS_BATCH_MOMENTS_H_
#define LOCKSTEP_ENGINE_OPS_BATCH_MOMENTS_H_

#include <cstdint>

#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"

namespace lockstep::ops {

// The doubles that the partial results of `blocks` row blocks take.
constexpr int64_t MomentPartialsSize(int64_t blocks, int64_t channels) {
  return blocks * 2 * channels;
}

// The partial result of one block for the channels [columns.begin, columns.end): what a producer
// calls, on any thread, when it has finished those elements.
//   x          (R, C), rows `stride` floats apart
//   partials   (blocks, 2, C)
void BlockMoments(const float* x, int64_t stride, int64_t channels, const RowGrid& grid,
                  int64_t block, IndexRange columns, double* partials);

// All of them.
//   x          (R, C), dense
//   partials   (blocks, 2, C)
void BatchMoments(Context& context, const float* x, int64_t channels, const RowGrid& grid,
                  double* partials);

// The moments of `shard` alone, of the channels in `columns`, in the slot of its first block
// (partials + grid.ShardBlocks(shard).begin * 2 * C); its count is the shard's number of rows. What
// ranks exchange. An empty shard has no slot.
void MergeShardBlocks(const RowGrid& grid, int64_t shard, int64_t channels, IndexRange columns,
                      double* partials);

struct BatchStatistics {
  float* mean = nullptr;       // (C)
  float* inv_std = nullptr;    // (C): 1 / sqrt(variance + eps)
  double* variance = nullptr;  // (C), biased; or null
};

// Blocks into shards, shards into the batch, and what follows from it. grid.rows() >= 1.
//   partials   (blocks, 2, C): overwritten; the batch's mean and M2 end in the first block's slot
void MergeMoments(Context& context, const RowGrid& grid, int64_t channels, double eps,
                  double* partials, const BatchStatistics& statistics);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_BATCH_MOMENTS_H_
