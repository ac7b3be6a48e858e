#include "engine/ops/batch_moments.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/kernels/norm/moments.h"
#include "engine/ops/row_tasks.h"

namespace lockstep::ops {
namespace {

// Channels that one task merges.
constexpr int64_t kMergeChannels = 64;
// What a merge of one channel costs, in the elementary operations of Context::For.
constexpr int64_t kMergeWork = 4;

double* Slot(double* partials, int64_t block, int64_t channels) {
  return partials + MomentPartialsSize(block, channels);
}

// Chan's merge of two slots, (2, C) each, of which the channels in `columns`.
auto Merger(double* partials, int64_t channels, IndexRange columns) {
  return [=](int64_t into, int64_t rows_into, int64_t from, int64_t rows_from) {
    double* a = Slot(partials, into, channels) + columns.begin;
    const double* b = Slot(partials, from, channels) + columns.begin;
    kernels::MergeMoments(rows_into, a, a + channels, rows_from, b, b + channels, columns.size());
  };
}

}  // namespace

void BlockMoments(const float* x, int64_t stride, int64_t channels, const RowGrid& grid,
                  int64_t block, IndexRange columns, double* partials) {
  const IndexRange rows = grid.BlockRows(block);
  double* slot = Slot(partials, block, channels);
  kernels::ColumnMoments(x + rows.begin * stride + columns.begin, rows.size(), columns.size(),
                         stride, slot + columns.begin, slot + channels + columns.begin);
}

void BatchMoments(Context& context, const float* x, int64_t channels, const RowGrid& grid,
                  double* partials) {
  const BlockTasks tasks(grid, channels, context.threads());
  context.For(tasks.count(), grid.rows() * channels, [&](int64_t task) {
    const IndexRange blocks = tasks.Blocks(task);
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      BlockMoments(x, channels, channels, grid, block, tasks.Columns(task), partials);
    }
  });
}

void MergeShardBlocks(const RowGrid& grid, int64_t shard, int64_t channels, IndexRange columns,
                      double* partials) {
  MergeBlocks(grid, shard, Merger(partials, channels, columns));
}

void MergeMoments(Context& context, const RowGrid& grid, int64_t channels, double eps,
                  double* partials, const BatchStatistics& statistics) {
  LOCKSTEP_CHECK_GE(grid.rows(), int64_t{1});
  const auto merge_columns = [&](IndexRange columns) {
    for (int64_t shard = 0; shard < grid.shards(); ++shard) {
      MergeShardBlocks(grid, shard, channels, columns, partials);
    }
    MergeShards(grid, Merger(partials, channels, columns));
    const double* mean = partials + columns.begin;
    kernels::FinishMoments(
        grid.rows(), mean, mean + channels, columns.size(), eps, statistics.mean + columns.begin,
        statistics.inv_std + columns.begin,
        statistics.variance == nullptr ? nullptr : statistics.variance + columns.begin);
  };
  const int64_t tasks = (channels + kMergeChannels - 1) / kMergeChannels;
  context.For(tasks, grid.blocks() * channels * kMergeWork, [&](int64_t task) {
    merge_columns({task * kMergeChannels, std::min(channels, (task + 1) * kMergeChannels)});
  });
}

}  // namespace lockstep::ops
