// Maxima over windows of pixels, channels last: one line at a time. Serial; thread-safe.
//
//   forward   y = the largest x of a window; NaN if one of them is
//             place = where in its window that is, kh * kernel_w + kw: the first of equal ones in
//                     this order, the last NaN (PyTorch's choice, which its gradients show)
//   backward  dx = sum over the windows that hold x, in order, of dy where x is at `place`, else 0
//
// Gathered, not scattered: windows overlap, and each dx is written once, by whoever has its line.
// Places have eight bits where windows have at most 256 taps. They are kept, rather than found
// again from x, because a pass over them is a quarter of one over y, while x has as many times the
// size of y as windows have strides.
#ifndef LOCKSTEP_ENGINE_KERNELS_PICTURE_MAX_POOL_H_
#define LOCKSTEP_ENGINE_KERNELS_PICTURE_MAX_POOL_H_

#include <cstdint>

#include "engine/kernels/picture/axis_taps.h"

namespace lockstep::inline v0_1::kernels {

// Line `row` of y, of one picture. `rows` and `columns` are MaxTaps; each output has a tap.
//   x (rows.inputs, columns.inputs, channels)    y, places (columns.outputs(), channels)
// Place: uint8_t or int32_t. `places` null: not wanted.
template <class Place>
void MaxPoolLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row, int64_t kernel_w,
                 int64_t channels, const float* x, float* y, Place* places);

// Line `row` of dx; `rows` and `columns` are those of forward, Turned.
//   dy, places (rows.inputs, columns.inputs, channels)    dx (columns.outputs(), channels)
template <class Place>
void MaxPoolGradientLine(const AxisTaps& rows, const AxisTaps& columns, int64_t row,
                         int64_t kernel_w, int64_t channels, const float* dy, const Place* places,
                         bool accumulate, float* dx);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PICTURE_MAX_POOL_H_
