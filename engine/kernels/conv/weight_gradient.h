// The weight gradient of a convolution: a block of it, over a range of pixels, serial.
//
//   sums[(kh, kw, i), o] = sum over pixels of x[pixel that tap (kh, kw) reads, i] * dy[pixel, o]
//
// The order of every sum is that of engine/ops/conv.h: chains (weight_gradient_chains.h) that merge
// by MergeTree. Aligned ranges of a power of two of chains, or of segments, are subtrees: summed
// apart and merged later they give the same bits.
#ifndef LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_H_
#define LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_H_

#include <atomic>
#include <cstdint>

#include "engine/kernels/conv/weight_gradient_chains.h"

namespace lockstep::inline v0_1::kernels {

// One group of a convolution. Channels of a pixel lie beside each other; pixels are x_pixel and
// dy_pixel floats apart.
struct WeightGradientShape {
  int64_t in_h = 1, in_w = 1, in_c = 1, x_pixel = 1;
  int64_t out_h = 1, out_w = 1, out_c = 1, dy_pixel = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  int64_t dilation_h = 1, dilation_w = 1;

  // Kernel 1 that reads every pixel as it is.
  bool dense() const {
    return kernel_h == 1 && kernel_w == 1 && stride_h == 1 && stride_w == 1 && pad_top == 0 &&
           pad_left == 0 && in_h == out_h && in_w == out_w;
  }
  PixelLines lines() const { return {out_w, out_h, dense()}; }
  int64_t rows() const { return kernel_h * kernel_w * in_c; }
  // Columns of the sums: outputs, padded to whole vectors of every target.
  int64_t sums_width() const { return (out_c + 15) / 16 * 16; }
  // Where few channels make short rows, the channels of all taps of a kernel line, which lie beside
  // each other, are taken as one row of the picture; such blocks have all channels.
  bool joins_taps() const { return kernel_w > 1 && in_c < 8 && dilation_w == 1 && in_c == x_pixel; }
};

struct WeightGradientBlock {
  const float* x = nullptr;   // (batch, in_h, in_w, x_pixel), at the first channel of the group
  const float* dy = nullptr;  // (batch, out_h, out_w, dy_pixel), likewise
  // What is summed: segments [segment, segment_end) of those with these boundaries (in samples);
  // where that is one, its chains [chain, chain_end).
  const int64_t* segments = nullptr;
  int64_t segment = 0, segment_end = 1;
  int64_t chain = 0, chain_end = 1;
  // What for: lines of the kernel, input channels (all of them where taps are joined) and output
  // channels (`out` is a multiple of kWeightGradientOutputs).
  int64_t kh = 0, kh_end = 1;
  int64_t in = 0, in_end = 1;
  int64_t out = 0, out_end = 1;
  float* sums = nullptr;  // (rows(), sums_width()), all of the group; the block's are written
};
inline constexpr int64_t kWeightGradientOutputs = 32;

// Floats of scratch for a block of `kernel_lines` x inputs x outputs, with no more chains in a
// segment and no more segments.
int64_t WeightGradientScratch(const WeightGradientShape& shape, int64_t kernel_lines,
                              int64_t inputs, int64_t outputs, int64_t chains, int64_t segments);
void WeightGradient(const WeightGradientShape& shape, const WeightGradientBlock& block,
                    float* scratch);

// The end of a weight gradient: rows [row, row_end) of dw^T = old + sums, for one group.
struct WeightGradientEnd {
  const float* sums = nullptr;  // (rows, sums_width)
  int64_t sums_width = 0;
  float* dw = nullptr;  // (outputs, rows)
  int64_t rows = 0, outputs = 0;
  bool accumulate = false;
  std::atomic<bool>* not_finite = nullptr;
};
void FinishWeightGradient(const WeightGradientEnd& end, int64_t row, int64_t row_end);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_WEIGHT_GRADIENT_H_
