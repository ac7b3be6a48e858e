// Pictures whose every pixel is a weighted sum of another picture's pixels, by rows and columns,
// channels last: average pooling, resizing, padding. The gradient is the same with the turned taps.
//
//   y[b, oh, ow, c] = sum over tw of w[tw] * (sum over th of w[th] * x[b, th, tw, c]) / divisors
//
// First down the columns of a line, then along it, each in the order of engine/kernels/picture/
// resample.h: bits depend on the taps alone.
#ifndef LOCKSTEP_ENGINE_OPS_RESAMPLE_H_
#define LOCKSTEP_ENGINE_OPS_RESAMPLE_H_

#include <cstdint>
#include <span>

#include "engine/kernels/picture/axis_taps.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::ops {

struct ResampleArgs {
  int64_t batch = 0;  // may be 0
  int64_t channels = 0;
  const float* x = nullptr;  // (batch, rows.inputs, columns.inputs, channels)
  float* y = nullptr;        // (batch, rows.outputs(), columns.outputs(), channels), apart from x
  bool accumulate = false;   // add to y
};

// Floats of scratch for any batch.
int64_t ResampleScratch(int threads, const kernels::AxisTaps& columns, int64_t channels);
void Resample(Context& ctx, const kernels::AxisTaps& rows, const kernels::AxisTaps& columns,
              const ResampleArgs& args, std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_RESAMPLE_H_
