// Depthwise convolutions, serial: each channel of the result reads one channel, so that channels
// are the lanes and every weight is used once for a pixel. What these cost is reading and writing.
#ifndef LOCKSTEP_ENGINE_KERNELS_CONV_DEPTHWISE_H_
#define LOCKSTEP_ENGINE_KERNELS_CONV_DEPTHWISE_H_

#include <atomic>
#include <cstdint>
#include <span>

#include "engine/kernels/epilogue.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::kernels {

struct DepthwiseTap {
  int64_t from = 0;    // what it reads, in floats from a pixel's origin; may be negative
  int64_t weight = 0;  // its row of weights, in floats
};

// Pixels one behind the other that read by the same taps. For channel c of [begin, end) of each
//   sum   = sum over taps, in order, of from[tap.from + source[c]] * weights[tap.weight + c]
//   to[c] = epilogue(old + sum)
struct DepthwiseRun {
  int64_t pixels = 0;
  IndexRange channels{};
  const float* from = nullptr;      // the first pixel's origin
  int64_t from_step = 0;            // floats from one pixel's origin to the next
  const int32_t* source = nullptr;  // (channels), or null: source[c] = c
  const float* weights = nullptr;
  std::span<const DepthwiseTap> taps{};
  // > 0: taps come in rows of so many, of which tap k + 1 reads what tap k reads from the next
  // pixel's origin; < 0: from that of the pixel before. 0: nothing is known.
  int64_t row_taps = 0;
  // The number of taps after which each chain ends, not decreasing; chains begin at +0 and merge by
  // MergeTree. Empty: one chain.
  std::span<const int64_t> chain_ends{};
  float* to = nullptr;  // the first pixel, channel 0
  int64_t to_step = 0;  // floats from one pixel to the next
  bool accumulate = false;
  Epilogue epilogue{};  // by channel; add: the first pixel, channel 0; add_stride by pixel
};
void DepthwisePixels(const DepthwiseRun& run);

// One chain of a weight gradient: the pixels [rows) x [columns) of one picture's dy, ascending.
//   sums[tap (kh, kw)][c - begin] = sum over those of dy[., c] * x[what the tap reads, source[c]]
// from +0, or from what is there, and without those that read padding.
struct DepthwiseChain {
  int64_t in_h = 1, in_w = 1, in_c = 1, out_w = 1, out_c = 1;
  int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, dilation_h = 1, dilation_w = 1;
  IndexRange rows{}, columns{}, channels{};
  bool continues = false;           // a chain that earlier pictures began
  const float* x = nullptr;         // (in_h, in_w, in_c)
  const float* dy = nullptr;        // (out_h, out_w, out_c)
  const int32_t* source = nullptr;  // (out_c), or null: source[c] = c
  float* sums = nullptr;            // (kernel_h kernel_w, channels.size())
};
void DepthwiseWeightChain(const DepthwiseChain& chain);

// Sets `not_finite`, if it is not null, where one of n floats is not finite.
void NoteNotFinite(const float* x, int64_t n, std::atomic<bool>* not_finite);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_CONV_DEPTHWISE_H_
