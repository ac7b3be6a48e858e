#include "engine/ops/batch_norm.h"

#include <algorithm>
#include <cstddef>

#include "engine/base/check.h"
#include "engine/ops/row_tasks.h"

namespace lockstep::ops {
namespace {

using kernels::Activation;

// Tensors beyond this many bytes are, with the others of the same pass, gone from every cache when
// whoever reads them next begins.
constexpr int64_t kBeyondCaches = int64_t{12} << 20;

bool BeyondCaches(int64_t elements) {
  return elements * static_cast<int64_t>(sizeof(float)) > kBeyondCaches;
}

const float* At(const float* p, int64_t i) { return p == nullptr ? nullptr : p + i; }
float* At(float* p, int64_t i) { return p == nullptr ? nullptr : p + i; }

// Numbers that one task merges.
constexpr int64_t kMergeSums = 128;

void StoreParameters(const double* sums, int64_t channels, bool add, float* gradient) {
  if (gradient == nullptr) return;
  for (int64_t c = 0; c < channels; ++c) {
    const auto sum = static_cast<float>(sums[c]);
    gradient[c] = add ? gradient[c] + sum : sum;
  }
}

}  // namespace

// ------------------------------------------------------------------------------------- forward

void NormalizeBatch(Context& context, const RowGrid& grid, int64_t channels,
                    const NormalizeArgs& args) {
  const int64_t elements = grid.rows() * channels;
  const bool large = BeyondCaches(elements);
  const RowTasks tasks(grid.rows(), channels, context.threads());
  const kernels::NormalizeOptions options{.activation = args.activation, .stream = large};
  context.For(tasks.count(), elements, [&](int64_t task) {
    const IndexRange rows = tasks.Rows(task, /*reverse=*/large);
    const int64_t at = rows.begin * channels;
    kernels::Normalize(args.x + at, At(args.residual, at), rows.size(), channels, args.affine,
                       options, args.y + at);
  });
}

void BatchNormForward(Context& context, const RowGrid& grid, int64_t channels, double eps,
                      const NormalizeArgs& args, const BatchStatistics& statistics,
                      double* partials) {
  BatchMoments(context, args.x, channels, grid, partials);
  MergeMoments(context, grid, channels, eps, partials, statistics);
  NormalizeArgs by_batch = args;
  by_batch.affine.mean = statistics.mean;
  by_batch.affine.inv_std = statistics.inv_std;
  NormalizeBatch(context, grid, channels, by_batch);
}

// ------------------------------------------------------------------------------------ backward

void GradientSums(Context& context, const RowGrid& grid, int64_t channels,
                  const BatchNormGradientArgs& args, double* partials) {
  const BlockTasks tasks(grid, channels, context.threads());
  context.For(tasks.count(), 2 * grid.rows() * channels, [&](int64_t task) {
    const IndexRange blocks = tasks.Blocks(task);
    const IndexRange columns = tasks.Columns(task);
    const int64_t c = columns.begin;
    const kernels::ChannelAffine affine = {
        .mean = args.affine.mean + c,
        .inv_std = args.affine.inv_std + c,
        .gamma = At(args.affine.gamma, c),
        .beta = At(args.affine.beta, c),
    };
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const IndexRange rows = grid.BlockRows(block);
      const int64_t at = rows.begin * channels + c;
      double* slot = partials + MomentPartialsSize(block, channels) + c;
      kernels::NormalizeGradientSums(args.x + at, At(args.y, at), args.dy + at, rows.size(),
                                     columns.size(), channels, affine, args.activation, slot,
                                     slot + channels);
    }
  });
}

void MergeGradientSums(Context& context, const RowGrid& grid, int64_t channels, int64_t rows,
                       const BatchNormGradientArgs& args, double* partials, float* means) {
  LOCKSTEP_CHECK_GE(grid.rows(), int64_t{1});
  // Both sums of all channels are one row of 2 C numbers that merge alike.
  const int64_t tasks = (2 * channels + kMergeSums - 1) / kMergeSums;
  context.For(tasks, grid.blocks() * 2 * channels, [&](int64_t task) {
    const int64_t begin = task * kMergeSums;
    const int64_t count = std::min(kMergeSums, 2 * channels - begin);
    const auto merge = [&](int64_t into, int64_t, int64_t from, int64_t) {
      kernels::AddSums(partials + MomentPartialsSize(from, channels) + begin, count,
                       partials + MomentPartialsSize(into, channels) + begin);
    };
    for (int64_t shard = 0; shard < grid.shards(); ++shard) MergeBlocks(grid, shard, merge);
    MergeShards(grid, merge);
  });
  const double* dbeta = partials;
  const double* dgamma = partials + channels;
  const auto count = static_cast<double>(rows);
  for (int64_t c = 0; c < 2 * channels; ++c) means[c] = static_cast<float>(partials[c] / count);
  StoreParameters(dbeta, channels, args.add_to_parameters, args.dbeta);
  StoreParameters(dgamma, channels, args.add_to_parameters, args.dgamma);
}

void InputGradient(Context& context, const RowGrid& grid, int64_t channels,
                   const BatchNormGradientArgs& args, const float* means) {
  if (args.dx == nullptr && args.d_residual == nullptr) return;
  const int64_t elements = grid.rows() * channels;
  const bool large = BeyondCaches(elements);
  const RowTasks tasks(grid.rows(), channels, context.threads());
  const kernels::NormalizeOptions options{.activation = args.activation, .stream = large};
  context.For(tasks.count(), 2 * elements, [&](int64_t task) {
    const IndexRange rows = tasks.Rows(task, /*reverse=*/large);
    const int64_t at = rows.begin * channels;
    const kernels::NormalizeGradient gradient = {
        .mean_dbeta = args.training ? means : nullptr,
        .mean_dgamma = args.training ? means + channels : nullptr,
        .dx = At(args.dx, at),
        .d_residual = At(args.d_residual, at),
        .add_to_d_residual = args.add_to_d_residual,
    };
    kernels::NormalizeBackward(At(args.x, at), At(args.y, at), args.dy + at, rows.size(), channels,
                               args.affine, options, gradient);
  });
}

void BatchNormBackward(Context& context, const RowGrid& grid, int64_t channels,
                       const BatchNormGradientArgs& args, double* partials, float* means) {
  GradientSums(context, grid, channels, args, partials);
  MergeGradientSums(context, grid, channels, grid.rows(), args, partials, means);
  InputGradient(context, grid, channels, args, means);
}

}  // namespace lockstep::ops
