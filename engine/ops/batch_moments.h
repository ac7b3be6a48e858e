// Moments of a batch per channel, over the row blocks of a RowGrid: one partial result per block,
// merged into shards, merged into the rank's own, merged with the other ranks', always by the same
// tree. A tensor of any rank is seen as (R, C), channels last.
//
//   BatchMoments (or its producer: BlockMoments)   a slot for each block
//   MergeMoments                                   the rank's own moments, in the first slot
//   [exchange of (2, C) doubles] MergeRankMoments  those of all ranks; the same bits as one process
//   FinishMoments                                  what normalisation needs
//
// A slot is (2, C) doubles: the mean, then M2 = sum (x - mean)^2. Nothing here allocates.
#ifndef LOCKSTEP_ENGINE_OPS_BATCH_MOMENTS_H_
#define LOCKSTEP_ENGINE_OPS_BATCH_MOMENTS_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {

// The doubles that the slots of `blocks` row blocks take. At least one slot: a rank without samples
// has moments too.
constexpr int64_t MomentPartialsSize(int64_t blocks, int64_t channels) {
  return std::max<int64_t>(1, blocks) * 2 * channels;
}

// The partial result of one block for the channels [columns.begin, columns.end): what a producer
// that still has the finished block in cache calls, on any thread.
//   x          (R, C), rows `stride` floats apart
//   partials   (blocks, 2, C)
void BlockMoments(const float* x, int64_t stride, int64_t channels, const RowGrid& grid,
                  int64_t block, IndexRange columns, double* partials);

// All of them.
//   x          (R, C), dense
//   partials   (blocks, 2, C)
void BatchMoments(Context& context, const float* x, int64_t channels, const RowGrid& grid,
                  double* partials);

// The moments of the rank's own grid.rows() rows, in the first block's slot; zeros where it has
// none. Blocks merge into their shard, then shards.
//   partials   (blocks, 2, C): overwritten
void MergeMoments(Context& context, const RowGrid& grid, int64_t channels, double* partials);

// The moments of the rows of all ranks, in rank 0's place.
//   all        (ranks, 2, C): each rank's own; overwritten
//   rows       (ranks): how many rows each has
void MergeRankMoments(double* all, std::span<const int64_t> rows, int64_t channels);

struct BatchStatistics {
  float* mean = nullptr;       // (C)
  float* mean_low = nullptr;   // (C): what the float leaves of the mean, see normalize.h; or null
  float* inv_std = nullptr;    // (C): 1 / sqrt(variance + eps)
  double* variance = nullptr;  // (C), biased; or null
};

// The statistics of `rows` >= 1 rows, those of all ranks.
//   moments    (2, C)
void FinishMoments(Context& context, int64_t rows, int64_t channels, const double* moments,
                   double eps, const BatchStatistics& statistics);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_BATCH_MOMENTS_H_
