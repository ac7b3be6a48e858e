// Batch normalisation of (R, C), channels last, spread over the threads of a Context. The formulas
// are in engine/kernels/norm/normalize.h. A rank calls
//
//   forward    BatchMoments (or its producer fills the partials), MergeMoments,
//              [exchange, MergeRankMoments], FinishMoments, NormalizeBatch
//   backward   GradientSums (or who finishes dy: BlockGradientSums), MergeGradientSums,
//              [exchange, MergeRankSums], GradientMeans, InputGradient
//
// with exchanges of (2, C) doubles where there are several; BatchNormForward and BatchNormBackward
// are all steps in one for a process that holds the batch alone. One process and several ranks get
// the same bits. Nothing here allocates: partials have MomentPartialsSize(blocks, C) doubles.
#ifndef LOCKSTEP_ENGINE_OPS_BATCH_NORM_H_
#define LOCKSTEP_ENGINE_OPS_BATCH_NORM_H_

#include <cstdint>

#include "engine/kernels/epilogue.h"
#include "engine/kernels/norm/normalize.h"
#include "engine/ops/batch_moments.h"
#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {

struct NormalizeArgs {
  const float* x = nullptr;            // (R, C)
  kernels::ChannelAffine affine = {};  // (C) each
  kernels::Epilogue epilogue = {};     // add and activation; scale and bias stay null
  float* y = nullptr;                  // (R, C); may be x or epilogue.add
};

// y = act(gamma * (x - mean) * inv_std + beta (+ add)), in training and in evaluation.
void NormalizeBatch(Context& context, const RowGrid& grid, int64_t channels,
                    const NormalizeArgs& args);

// The moments of x, then y by them. args.affine.mean, .mean_low and .inv_std are ignored: the
// statistics are what it finds.
//   partials   (blocks, 2, C): scratch
void BatchNormForward(Context& context, const RowGrid& grid, int64_t channels, double eps,
                      const NormalizeArgs& args, const BatchStatistics& statistics,
                      double* partials);

struct BatchNormGradientArgs {
  const float* x = nullptr;   // (R, C)
  const float* y = nullptr;   // (R, C): needed with ReLU over an add, otherwise null is fastest
  const float* dy = nullptr;  // (R, C)
  kernels::ChannelAffine affine = {};  // as in forward
  kernels::Activation activation = kernels::Activation::kNone;
  bool training = true;     // false: mean and inv_std did not depend on x
  float* dx = nullptr;      // (R, C), overwritten; or null; may be dy
  float* d_add = nullptr;   // (R, C), overwritten; or null; may be dy if dx is not
  float* dgamma = nullptr;  // (C), or null
  float* dbeta = nullptr;   // (C), or null
  bool accumulate = false;  // add to dgamma and dbeta instead of overwriting them
};

// All of backward.
//   partials   (blocks, 2, C): scratch
//   means      (2, C) floats: scratch
void BatchNormBackward(Context& context, const RowGrid& grid, int64_t channels,
                       const BatchNormGradientArgs& args, double* partials, float* means);

// Its steps. The sums of one block, sum dz and sum dz * xhat, for the channels [columns.begin,
// columns.end): what whoever finishes dy calls while it has the block in cache, on any thread.
//   partials   (blocks, 2, C)
void BlockGradientSums(const RowGrid& grid, int64_t channels, const BatchNormGradientArgs& args,
                       int64_t block, IndexRange columns, double* partials);
// Of all blocks.
//   partials   (blocks, 2, C)
void GradientSums(Context& context, const RowGrid& grid, int64_t channels,
                  const BatchNormGradientArgs& args, double* partials);
// The rank's own sums, merged into the first block's slot (zeros without rows); and its part of
// args.dbeta and args.dgamma, which takes the shards' sums rounded to float: see shard_sums.h.
//   partials   (blocks, 2, C): overwritten
void MergeGradientSums(Context& context, const RowGrid& grid, int64_t channels,
                       const BatchNormGradientArgs& args, double* partials);
// The sums of all ranks, in rank 0's place.
//   all        (ranks, 2, C): each rank's own; overwritten
void MergeRankSums(double* all, int64_t ranks, int64_t channels);
// What InputGradient wants, from the sums over `rows` >= 1 rows, those of all ranks.
//   sums       (2, C)
//   means      (2, C): sum dz / rows, sum dz * xhat / rows
void GradientMeans(Context& context, int64_t rows, int64_t channels, const double* sums,
                   float* means);
// dx and d_add.
//   means      (2, C); not read unless args.training
void InputGradient(Context& context, const RowGrid& grid, int64_t channels,
                   const BatchNormGradientArgs& args, const float* means);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_BATCH_NORM_H_
