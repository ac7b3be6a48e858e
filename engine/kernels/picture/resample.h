// Weighted sums of neighbouring pixels, channels last: average pooling, resizing, padding, and the
// gradients of all of them. Serial; thread-safe.
//
//   y[i] = (sum over t of weight[t] * x[from[t]]) / divisor      over rows of numbers, each as one
//
// The sum begins with its first tap, not with zero (a single tap of weight 1 is a copy), and goes
// on by fused multiply-adds, or additions where there are no weights, in the order of the taps, in
// chains of at most 256 which are added up in order. Without a tap it is +0. Each number is summed
// by itself, so the same bits come out however n is cut, and on every target with fused
// multiply-add.
#ifndef LOCKSTEP_ENGINE_KERNELS_PICTURE_RESAMPLE_H_
#define LOCKSTEP_ENGINE_KERNELS_PICTURE_RESAMPLE_H_

#include <cstdint>

#include "engine/kernels/picture/axis_taps.h"

namespace lockstep::inline v0_1::kernels {

// Output `output` of `taps`: n numbers, y = sum / divisor, or y += sum / divisor. Row r of x begins
// at x + r * stride and has n numbers. The divisor is given, that of the taps is not looked at.
void SumRows(const AxisTaps& taps, int64_t output, const float* x, int64_t stride, float divisor,
             int64_t n, bool accumulate, float* y);

// All outputs of `taps`: pixels of n neighbouring channels. Pixel p of x begins at x + p * x_stride
// and pixel p of y at y + p * y_stride. Divides by divisor * that of the taps.
void SumPixels(const AxisTaps& taps, const float* x, int64_t x_stride, float divisor, int64_t n,
               bool accumulate, float* y, int64_t y_stride);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PICTURE_RESAMPLE_H_
