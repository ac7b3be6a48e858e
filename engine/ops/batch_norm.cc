#include "engine/ops/batch_norm.h"

#include <algorithm>
#include <cstddef>

#include "engine/base/check.h"
#include "engine/ops/row_tasks.h"
#include "engine/ops/shard_sums.h"

namespace lockstep::inline v0_1::ops {
namespace {

// Tensors beyond this many bytes are, with the others of the same pass, gone from every cache when
// whoever reads them next begins.
constexpr int64_t kBeyondCaches = int64_t{12} << 20;

bool BeyondCaches(int64_t elements) {
  return elements * static_cast<int64_t>(sizeof(float)) > kBeyondCaches;
}

const float* At(const float* p, int64_t i) { return p == nullptr ? nullptr : p + i; }
float* At(float* p, int64_t i) { return p == nullptr ? nullptr : p + i; }

// Channels whose sums one task merges.
constexpr int64_t kMergeSums = 128;

}  // namespace

// ------------------------------------------------------------------------------------- forward

void NormalizeBatch(Context& context, const RowGrid& grid, int64_t channels,
                    const NormalizeArgs& args) {
  const int64_t elements = grid.rows() * channels;
  const bool large = BeyondCaches(elements);
  const RowTasks tasks(grid.rows(), channels, context.threads());
  context.For(tasks.count(), elements, [&](int64_t task) {
    const IndexRange rows = tasks.Rows(task, /*reverse=*/large);
    const int64_t at = rows.begin * channels;
    kernels::Epilogue epilogue = args.epilogue;
    epilogue.add = At(args.epilogue.add, rows.begin * args.epilogue.add_stride);
    kernels::Normalize(args.x + at, rows.size(), channels, args.affine, epilogue, {.stream = large},
                       args.y + at);
  });
}

void BatchNormForward(Context& context, const RowGrid& grid, int64_t channels, double eps,
                      const NormalizeArgs& args, const BatchStatistics& statistics,
                      double* partials) {
  BatchMoments(context, args.x, channels, grid, partials);
  MergeMoments(context, grid, channels, partials);
  FinishMoments(context, grid.rows(), channels, partials, eps, statistics);
  NormalizeArgs by_batch = args;
  by_batch.affine.mean = statistics.mean;
  by_batch.affine.mean_low = statistics.mean_low;
  by_batch.affine.inv_std = statistics.inv_std;
  NormalizeBatch(context, grid, channels, by_batch);
}

// ------------------------------------------------------------------------------------ backward

void BlockGradientSums(const RowGrid& grid, int64_t channels, const BatchNormGradientArgs& args,
                       int64_t block, IndexRange columns, double* partials) {
  const int64_t c = columns.begin;
  const kernels::ChannelAffine affine = {
      .mean = args.affine.mean + c,
      .mean_low = At(args.affine.mean_low, c),
      .inv_std = args.affine.inv_std + c,
      .gamma = At(args.affine.gamma, c),
      .beta = At(args.affine.beta, c),
  };
  const IndexRange rows = grid.BlockRows(block);
  const int64_t at = rows.begin * channels + c;
  double* slot = partials + block * 2 * channels + c;
  kernels::NormalizeGradientSums(args.x + at, At(args.y, at), args.dy + at, rows.size(),
                                 columns.size(), channels, affine, args.activation, slot,
                                 slot + channels);
}

void GradientSums(Context& context, const RowGrid& grid, int64_t channels,
                  const BatchNormGradientArgs& args, double* partials) {
  const BlockTasks tasks(grid, channels, context.threads());
  context.For(tasks.count(), 2 * grid.rows() * channels, [&](int64_t task) {
    const IndexRange blocks = tasks.Blocks(task);
    for (int64_t block = blocks.begin; block < blocks.end; ++block)
      BlockGradientSums(grid, channels, args, block, tasks.Columns(task), partials);
  });
}

void MergeGradientSums(Context& context, const RowGrid& grid, int64_t channels,
                       const BatchNormGradientArgs& args, double* partials) {
  const auto slots_of = [&](int64_t shard) { return grid.ShardBlocks(shard); };
  const int64_t slot_size = 2 * channels;
  const int64_t parts = (channels + kMergeSums - 1) / kMergeSums;
  context.For(2 * parts, grid.blocks() * 2 * channels, [&](int64_t task) {
    const bool is_dgamma = task >= parts;
    const int64_t c = task % parts * kMergeSums;
    const int64_t count = std::min(kMergeSums, channels - c);
    double* slots = partials + (is_dgamma ? channels : 0) + c;
    float* gradient = is_dgamma ? args.dgamma : args.dbeta;
    MergeSlots(grid.shards(), slots_of, slot_size, count, slots);
    if (gradient != nullptr) {
      StoreGradient(grid.shards(), slots_of, slot_size, count, slots, args.accumulate,
                    gradient + c);
    }
    MergeShardSums(grid.shards(), slots_of, slot_size, count, slots);
  });
}

void MergeRankSums(double* all, int64_t ranks, int64_t channels) {
  const int64_t numbers = 2 * channels;
  MergeTree(0, ranks, [&](int64_t into, int64_t from) {
    kernels::AddSums(all + from * numbers, numbers, all + into * numbers);
  });
}

void GradientMeans(Context& context, int64_t rows, int64_t channels, const double* sums,
                   float* means) {
  LOCKSTEP_CHECK_GE(rows, int64_t{1});
  const auto count = static_cast<double>(rows);
  // One task: for its flushing of denormals, not for its threads.
  context.For(1, 2 * channels, [&](int64_t) {
    for (int64_t i = 0; i < 2 * channels; ++i) means[i] = static_cast<float>(sums[i] / count);
  });
}

void InputGradient(Context& context, const RowGrid& grid, int64_t channels,
                   const BatchNormGradientArgs& args, const float* means) {
  if (args.dx == nullptr && args.d_add == nullptr) return;
  const int64_t elements = grid.rows() * channels;
  const bool large = BeyondCaches(elements);
  const RowTasks tasks(grid.rows(), channels, context.threads());
  context.For(tasks.count(), 2 * elements, [&](int64_t task) {
    const IndexRange rows = tasks.Rows(task, /*reverse=*/large);
    const int64_t at = rows.begin * channels;
    const kernels::NormalizeGradient gradient = {
        .mean_dbeta = args.training ? means : nullptr,
        .mean_dgamma = args.training ? means + channels : nullptr,
        .dx = At(args.dx, at),
        .d_add = At(args.d_add, at),
    };
    kernels::NormalizeBackward(At(args.x, at), At(args.y, at), args.dy + at, rows.size(), channels,
                               args.affine, args.activation, {.stream = large}, gradient);
  });
}

void BatchNormBackward(Context& context, const RowGrid& grid, int64_t channels,
                       const BatchNormGradientArgs& args, double* partials, float* means) {
  GradientSums(context, grid, channels, args, partials);
  MergeGradientSums(context, grid, channels, args, partials);
  if (args.training) GradientMeans(context, grid.rows(), channels, partials, means);
  InputGradient(context, grid, channels, args, means);
}

}  // namespace lockstep::ops
