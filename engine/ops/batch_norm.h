// Batch normalisation of (R, C), channels last, spread over the threads of a Context. The formulas
// are in engine/kernels/norm/normalize.h. A layer that trains by itself calls
//
//   forward    BatchMoments (or its producer fills the partials), MergeMoments, NormalizeBatch
//   backward   BatchNormBackward, which is GradientSums, MergeGradientSums, InputGradient
//
// and BatchNormForward is the three forward steps in one. Across ranks the sums are exchanged
// between the steps. Nothing here allocates: partials have MomentPartialsSize(blocks, C) doubles.
#ifndef LOCKSTEP_ENGINE_OPS_BATCH_NORM_H_
#define LOCKSTEP_ENGINE_OPS_BATCH_NORM_H_

#include <cstdint>

#include "engine/kernels/norm/normalize.h"
#include "engine/ops/batch_moments.h"
#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"

namespace lockstep::ops {

struct NormalizeArgs {
  const float* x = nullptr;         // (R, C)
  const float* residual = nullptr;  // (R, C), or null
  kernels::ChannelAffine affine;    // (C) each
  kernels::Activation activation = kernels::Activation::kNone;
  float* y = nullptr;  // (R, C); may be x or residual
};

// y = act(gamma * (x - mean) * inv_std + beta (+ residual)), in training and in evaluation.
void NormalizeBatch(Context& context, const RowGrid& grid, int64_t channels,
                    const NormalizeArgs& args);

// The moments of x, then y by them. args.affine.mean and .inv_std are ignored: the statistics are
// what it finds.
//   partials   (blocks, 2, C): scratch
void BatchNormForward(Context& context, const RowGrid& grid, int64_t channels, double eps,
                      const NormalizeArgs& args, const BatchStatistics& statistics,
                      double* partials);

struct BatchNormGradientArgs {
  const float* x = nullptr;   // (R, C)
  const float* y = nullptr;   // (R, C): needed with ReLU over a residual, otherwise null is fastest
  const float* dy = nullptr;  // (R, C)
  kernels::ChannelAffine affine;  // as in forward
  kernels::Activation activation = kernels::Activation::kNone;
  bool training = true;            // false: mean and inv_std did not depend on x
  float* dx = nullptr;             // (R, C), overwritten; or null; may be dy
  float* d_residual = nullptr;     // (R, C), or null; may be dy if dx is not
  bool add_to_d_residual = false;  // else overwritten
  float* dgamma = nullptr;         // (C), or null
  float* dbeta = nullptr;          // (C), or null
  bool add_to_parameters = true;   // else dgamma and dbeta are overwritten
};

// All of backward.
//   partials   (blocks, 2, C): scratch
//   means      (2, C) floats: scratch
void BatchNormBackward(Context& context, const RowGrid& grid, int64_t channels,
                       const BatchNormGradientArgs& args, double* partials, float* means);

// Its steps. The sums of each block: sum dz, then sum dz * xhat.
//   partials   (blocks, 2, C)
void GradientSums(Context& context, const RowGrid& grid, int64_t channels,
                  const BatchNormGradientArgs& args, double* partials);
// Merged by the tree into the first block's slot (each shard's into its first block's on the way);
// dbeta and dgamma from them, and their means over `rows` (R of all ranks) as InputGradient wants
// them.
//   means      (2, C): dbeta / rows, dgamma / rows
void MergeGradientSums(Context& context, const RowGrid& grid, int64_t channels, int64_t rows,
                       const BatchNormGradientArgs& args, double* partials, float* means);
// dx and d_residual.
void InputGradient(Context& context, const RowGrid& grid, int64_t channels,
                   const BatchNormGradientArgs& args, const float* means);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_BATCH_NORM_H_
