// GroupNorm and InstanceNorm (groups = channels) spread over the threads of a Context, channels
// last. Formulas: engine/kernels/group_norm.h.
//
// A sample's statistics merge over fixed stretches of its rows, and dgamma and dbeta over the
// samples of a shard and then over the shards, in fixed binary trees (engine/parallel/shards.h):
// results depend on the shape and on `shards`, never on the threads. Nothing is allocated.
#ifndef LOCKSTEP_ENGINE_OPS_GROUP_NORM_H_
#define LOCKSTEP_ENGINE_OPS_GROUP_NORM_H_

#include <cstdint>

#include "engine/parallel/context.h"

namespace lockstep {

struct GroupNormShape {
  int64_t samples = 0;   // N
  int64_t rows = 0;      // positions in a sample, > 0
  int64_t channels = 0;  // C
  int64_t groups = 1;    // G, divides C
  int shards = 1;
};

struct GroupNormForwardOp {
  const float* x = nullptr;      // (N, rows, C)
  const float* gamma = nullptr;  // (C), null: ones
  const float* beta = nullptr;   // (C), null: zeros
  float epsilon = 1e-5f;
  float* y = nullptr;         // (N, rows, C), may be x
  float* mean = nullptr;      // (N, G)
  float* rstd = nullptr;      // (N, G)
  double* scratch = nullptr;  // GroupNormScratch(shape) doubles
};

struct GroupNormBackwardOp {
  const float* x = nullptr;      // (N, rows, C)
  const float* dy = nullptr;     // (N, rows, C)
  const float* mean = nullptr;   // (N, G), from forward
  const float* rstd = nullptr;   // (N, G), from forward
  const float* gamma = nullptr;  // (C), null: ones
  float* dx = nullptr;           // (N, rows, C), overwritten; may be dy; null if not wanted
  float* dgamma = nullptr;       // (C), null if not wanted
  float* dbeta = nullptr;        // (C), null if not wanted
  bool accumulate = false;       // add to dgamma and dbeta instead of overwriting them
  double* scratch = nullptr;     // GroupNormScratch(shape) doubles
};

// How many doubles of scratch forward and backward need. Enough for every smaller number of
// samples too.
int64_t GroupNormScratch(const GroupNormShape& shape);

void GroupNormForward(Context& context, const GroupNormShape& shape, const GroupNormForwardOp& op);
void GroupNormBackward(Context& context, const GroupNormShape& shape,
                       const GroupNormBackwardOp& op);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPS_GROUP_NORM_H_
