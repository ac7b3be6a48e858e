// GroupNorm and InstanceNorm (groups = channels) spread over the threads of a Context, channels
// last. Formulas: engine/kernels/norm/group_norm.h.
//
// For each sample mean, mean_low and inv_std of a group are kept once for every channel of the
// group. A sample's statistics merge over fixed stretches of its positions, and dgamma and dbeta
// over the samples of a shard and then over the shards (shard_sums.h): results depend on the shape
// and on the step's cut, never on the threads, and those of several ranks add up to those of one
// process. Nothing here allocates.
#ifndef LOCKSTEP_ENGINE_OPS_GROUP_NORM_H_
#define LOCKSTEP_ENGINE_OPS_GROUP_NORM_H_

#include <cstdint>

#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {

struct GroupNormShape {
  int64_t positions = 0;  // P, rows of a sample, > 0
  int64_t channels = 0;   // C
  int64_t groups = 1;     // G, divides C
};

struct GroupNormForwardArgs {
  const float* x = nullptr;      // (N, P, C)
  const float* gamma = nullptr;  // (C), or null: ones
  const float* beta = nullptr;   // (C), or null: zeros
  double eps = 1e-5;
  float* y = nullptr;         // (N, P, C), may be x
  float* mean = nullptr;      // (N, C): of the channel's group
  float* mean_low = nullptr;  // (N, C): what the float leaves of it (normalize.h); null: not wanted
  float* inv_std = nullptr;   // (N, C): likewise
  double* partials = nullptr;  // GroupNormPartialsSize doubles
};

struct GroupNormBackwardArgs {
  const float* x = nullptr;         // (N, P, C)
  const float* dy = nullptr;        // (N, P, C)
  const float* mean = nullptr;      // (N, C), from forward
  const float* mean_low = nullptr;  // (N, C), from forward; or null
  const float* inv_std = nullptr;   // (N, C), from forward
  const float* gamma = nullptr;     // (C), or null: ones
  float* dx = nullptr;              // (N, P, C), overwritten; may be dy or x; null if not wanted
  float* dgamma = nullptr;          // (C), or null if not wanted
  float* dbeta = nullptr;           // (C), or null if not wanted
  bool accumulate = false;          // add to dgamma and dbeta instead of overwriting them
  double* partials = nullptr;       // GroupNormPartialsSize doubles
};

// The doubles that the partial results of forward, or of backward, take for up to `samples`.
int64_t GroupNormPartialsSize(const GroupNormShape& shape, int64_t samples);

// N = cut.samples().
void GroupNormForward(Context& context, const BatchCut& cut, const GroupNormShape& shape,
                      const GroupNormForwardArgs& args);
void GroupNormBackward(Context& context, const BatchCut& cut, const GroupNormShape& shape,
                       const GroupNormBackwardArgs& args);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_GROUP_NORM_H_
