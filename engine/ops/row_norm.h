// LayerNorm and RMSNorm spread over the threads of a Context. Formulas: engine/kernels/row_norm.h.
//
// Rows are cut into fixed blocks inside each shard of the batch (engine/parallel/shards.h). The
// sums of dgamma and dbeta merge in a fixed binary tree over a shard's blocks, then over the
// shards: results depend on the shape and on `shards`, never on the threads. Nothing is allocated.
#ifndef LOCKSTEP_ENGINE_OPS_ROW_NORM_H_
#define LOCKSTEP_ENGINE_OPS_ROW_NORM_H_

#include <cstdint>

#include "engine/parallel/context.h"

namespace lockstep {

struct RowNormShape {
  int64_t samples = 0;
  int64_t rows_per_sample = 1;
  int64_t columns = 0;
  int shards = 1;

  int64_t rows() const { return samples * rows_per_sample; }
};

struct RowNormForwardOp {
  const float* x = nullptr;      // (R, C)
  const float* gamma = nullptr;  // (C), null: ones
  const float* beta = nullptr;   // (C), null: zeros; unused by RMSNorm
  float epsilon = 1e-5f;
  float* y = nullptr;     // (R, C), may be x
  float* mean = nullptr;  // (R), null if backward will not follow; unused by RMSNorm
  float* rstd = nullptr;  // (R), null if backward will not follow
};

struct RowNormBackwardOp {
  const float* x = nullptr;      // (R, C)
  const float* dy = nullptr;     // (R, C)
  const float* mean = nullptr;   // (R), from forward; unused by RMSNorm
  const float* rstd = nullptr;   // (R), from forward
  const float* gamma = nullptr;  // (C), null: ones
  float* dx = nullptr;           // (R, C), overwritten; may be dy; null if not wanted
  float* dgamma = nullptr;       // (C), null if not wanted
  float* dbeta = nullptr;        // (C), null if not wanted; unused by RMSNorm
  bool accumulate = false;       // add to dgamma and dbeta instead of overwriting them
  double* scratch = nullptr;     // RowNormScratch(shape) doubles
};

// How many doubles of scratch backward needs. Enough for every smaller number of samples too.
int64_t RowNormScratch(const RowNormShape& shape);

void LayerNormForward(Context& context, const RowNormShape& shape, const RowNormForwardOp& op);
void LayerNormBackward(Context& context, const RowNormShape& shape, const RowNormBackwardOp& op);
void RmsNormForward(Context& context, const RowNormShape& shape, const RowNormForwardOp& op);
void RmsNormBackward(Context& context, const RowNormShape& shape, const RowNormBackwardOp& op);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPS_ROW_NORM_H_
