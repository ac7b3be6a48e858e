// Max pooling of pictures, channels last, spread over the threads of a Context line by line.
// Semantics, and why places are kept: engine/kernels/picture/max_pool.h.
#ifndef LOCKSTEP_ENGINE_OPS_MAX_POOL_H_
#define LOCKSTEP_ENGINE_OPS_MAX_POOL_H_

#include <cstdint>

#include "engine/kernels/picture/axis_taps.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::ops {

// Which inputs each output looks at (rows, columns: MaxTaps), and the other way round.
struct MaxPoolShape {
  kernels::AxisTaps rows{}, columns{};
  kernels::AxisTaps turned_rows{}, turned_columns{};
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t channels = 0;

  // Bytes that the place of a maximum takes.
  int64_t place_bytes() const { return kernel_h * kernel_w <= 256 ? 1 : 4; }
};
MaxPoolShape MakeMaxPoolShape(int64_t in_h, int64_t in_w, int64_t channels,
                              const kernels::SlidingWindow& rows,
                              const kernels::SlidingWindow& columns);

//   x (batch, in_h, in_w, C)    y (batch, out_h, out_w, C)
//   places, as many as y has elements, place_bytes() each; null: not wanted
void MaxPoolForward(Context& ctx, const MaxPoolShape& shape, int64_t batch, const float* x,
                    float* y, void* places);
// dx of dy and of what forward left in `places`; added to dx where `accumulate`.
void MaxPoolBackward(Context& ctx, const MaxPoolShape& shape, int64_t batch, const float* dy,
                     const void* places, bool accumulate, float* dx);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_MAX_POOL_H_
