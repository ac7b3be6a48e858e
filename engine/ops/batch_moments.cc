#include "engine/ops/batch_moments.h"

#include <algorithm>
#include <numeric>

#include "engine/base/check.h"
#include "engine/kernels/norm/moments.h"
#include "engine/ops/row_tasks.h"

namespace lockstep::inline v0_1::ops {
namespace {

// Channels that one task merges.
constexpr int64_t kMergeChannels = 64;
// What a merge of one channel costs, and its statistics, in the elementary operations of
// Context::For.
constexpr int64_t kMergeWork = 4;
constexpr int64_t kFinishWork = 8;

// Runs body(columns) for ranges of all channels.
template <class Body>
void ForColumns(Context& context, int64_t channels, int64_t work, const Body& body) {
  const int64_t tasks = (channels + kMergeChannels - 1) / kMergeChannels;
  context.For(tasks, work, [&](int64_t task) {
    body(IndexRange{task * kMergeChannels, std::min(channels, (task + 1) * kMergeChannels)});
  });
}

double* Slot(double* partials, int64_t block, int64_t channels) {
  return partials + block * 2 * channels;
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

void MergeMoments(Context& context, const RowGrid& grid, int64_t channels, double* partials) {
  if (grid.rows() == 0) {
    std::fill_n(partials, 2 * channels, 0.0);
    return;
  }
  ForColumns(context, channels, grid.blocks() * channels * kMergeWork, [&](IndexRange columns) {
    const auto merge = Merger(partials, channels, columns);
    for (int64_t shard = 0; shard < grid.shards(); ++shard) MergeBlocks(grid, shard, merge);
    MergeShards(grid, merge);
  });
}

void MergeRankMoments(double* all, std::span<const int64_t> rows, int64_t channels) {
  const auto ranks = static_cast<int64_t>(rows.size());
  const auto merge = Merger(all, channels, {0, channels});
  const auto rows_of = [&](int64_t begin, int64_t end) {
    return std::accumulate(rows.begin() + begin, rows.begin() + std::min(end, ranks), int64_t{0});
  };
  MergeTree(0, ranks, [&](int64_t into, int64_t from) {
    merge(into, rows_of(into, from), from, rows_of(from, from + (from - into)));
  });
}

void FinishMoments(Context& context, int64_t rows, int64_t channels, const double* moments,
                   double eps, const BatchStatistics& statistics) {
  LOCKSTEP_CHECK_GE(rows, int64_t{1});
  ForColumns(context, channels, channels * kFinishWork, [&](IndexRange columns) {
    const int64_t c = columns.begin;
    kernels::FinishMoments(
        rows, moments + c, moments + channels + c, columns.size(), eps, statistics.mean + c,
        statistics.mean_low == nullptr ? nullptr : statistics.mean_low + c, statistics.inv_std + c,
        statistics.variance == nullptr ? nullptr : statistics.variance + c);
  });
}

}  // namespace lockstep::ops
