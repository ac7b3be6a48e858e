// LayerNorm and RMSNorm spread over the threads of a Context. Formulas:
// engine/kernels/norm/row_norm.h.
//
// Work is cut into the row blocks of a RowGrid. The sums of dgamma and dbeta merge by its fixed
// tree, blocks into shards in double and shards in float (shard_sums.h): results depend on the
// grid, never on the threads, and those of several ranks add up to those of one process. Nothing
// here allocates.
#ifndef LOCKSTEP_ENGINE_OPS_ROW_NORM_H_
#define LOCKSTEP_ENGINE_OPS_ROW_NORM_H_

#include <cstdint>

#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {

struct RowNormForwardArgs {
  const float* x = nullptr;      // (R, C)
  const float* gamma = nullptr;  // (C), or null: ones
  const float* beta = nullptr;   // (C), or null: zeros; unused by RMSNorm
  double eps = 1e-5;
  float* y = nullptr;         // (R, C), may be x
  float* mean = nullptr;      // (R), or null if backward will not follow; unused by RMSNorm
  float* mean_low = nullptr;  // (R), likewise
  float* inv_std = nullptr;   // (R), or null if backward will not follow
};

struct RowNormBackwardArgs {
  const float* x = nullptr;         // (R, C)
  const float* dy = nullptr;        // (R, C)
  const float* mean = nullptr;      // (R), from forward; unused by RMSNorm
  const float* mean_low = nullptr;  // (R), likewise
  const float* inv_std = nullptr;   // (R), from forward
  const float* gamma = nullptr;     // (C), or null: ones
  float* dx = nullptr;              // (R, C); may be dy or x; null if not wanted
  bool accumulate_dx = false;       // add to dx instead of overwriting it; then it is neither
  float* dgamma = nullptr;          // (C), or null if not wanted
  float* dbeta = nullptr;           // (C), or null if not wanted; unused by RMSNorm
  bool accumulate = false;          // add to dgamma and dbeta instead of overwriting them
  double* partials = nullptr;       // RowNormPartialsSize doubles; unused without dgamma and dbeta
};

// The doubles that the partial sums of `blocks` row blocks take.
constexpr int64_t RowNormPartialsSize(int64_t blocks, int64_t columns) {
  return blocks * 2 * columns;
}

// R = grid.rows(), C = columns.
void LayerNormForward(Context& context, const RowGrid& grid, int64_t columns,
                      const RowNormForwardArgs& args);
void LayerNormBackward(Context& context, const RowGrid& grid, int64_t columns,
                       const RowNormBackwardArgs& args);
void RmsNormForward(Context& context, const RowGrid& grid, int64_t columns,
                    const RowNormForwardArgs& args);
void RmsNormBackward(Context& context, const RowGrid& grid, int64_t columns,
                     const RowNormBackwardArgs& args);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_ROW_NORM_H_
