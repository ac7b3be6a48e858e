// Convolutions of pictures, channels last, spread over the threads of a Context.
//
//   forward           y[b, oh, ow, o] = epilogue(sum over kh, kw, i of
//                         x[b, oh * stride - pad + kh * dilation, ..., i] * w[o, kh, kw, i])
//   data gradient     dx[b, h, w, i]    = epilogue(old + sum over o and the (oh, ow) that read
//                         (h, w) of dy[b, oh, ow, o] * w[o, kh, kw, i])
//   weight gradient   dw[o, kh, kw, i]  = old + sum over b, oh, ow of dy[b, oh, ow, o] * x[...]
//
// Places outside the picture are padding: they are skipped, never multiplied by zero (a weight that
// is infinite there must not give NaN). With `groups` G, output channels [g O/G, (g+1) O/G) read
// input channels [g I/G, (g+1) I/G) alone, and i counts within the group.
//
// The order of every sum is a function of the ConvShape alone (and, for the weight gradient, of how
// the batch is cut): not of threads, blocking, the batch in forward, or the SIMD target among those
// with fused multiply-add.
//   forward, data gradient: K is the taps in order (kh, kw), within a tap the channels of a group.
//     It is cut into chains of at most kLongestChain (256) multiply-adds, each from +0: where C
//     channels are at most 256, ceil(taps / floor(256 / C)) chains of whole taps, else each tap
//     into ceil(C / 256); chain i of n of them begins at taps i / n, or C i / n, rounded down.
//     Chains merge by MergeTree. Skipped taps are left out of their chain, and a chain of none but
//     skipped taps changes nothing (but, perhaps, the sign of a zero). Other orders have the ways
//     through engine/ops/winograd.h and, into few channels, engine/ops/conv_few_channels.h.
//   weight gradient: see ConvWeightGradientArgs.
#ifndef LOCKSTEP_ENGINE_OPS_CONV_H_
#define LOCKSTEP_ENGINE_OPS_CONV_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/kernels/epilogue.h"
#include "engine/ops/product.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::ops {

// The fastest way to compute the sums that may be used. It is, where the shape says that it pays
// (engine/ops/winograd.h): never by timing, on every machine alike.
enum class ConvAlgorithm {
  kDirect,     // implicit products, as above
  kWinograd2,  // F(2x2, 3x3)
  kWinograd4,  // F(4x4, 3x3)
};

// One picture's extents; the batch comes with each call. One-dimensional signals have height 1.
struct ConvShape {
  int64_t in_h = 1, in_w = 1, in_c = 1;
  int64_t out_h = 1, out_w = 1, out_c = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0;  // what lies below and to the right follows from out_h, out_w
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::kDirect;

  bool operator==(const ConvShape&) const = default;
  int64_t group_in() const { return in_c / groups; }
  int64_t group_out() const { return out_c / groups; }
  bool depthwise() const { return groups > 1 && groups == in_c; }  // out_c may be a multiple
  int64_t weights() const { return out_c * kernel_h * kernel_w * group_in(); }
};

// ---- Weights as the kernels read them: panels of neighbouring channels. Made anew when weights
// change; who only predicts keeps them.
//   w        (O, KH, KW, I / G)
//   packed   as many floats as said, best aligned to 64 bytes
int64_t PackedForwardFloats(const ConvShape& shape);
void PackForward(Context& ctx, const ConvShape& shape, const float* w, float* packed);
int64_t PackedDataGradientFloats(const ConvShape& shape);
void PackDataGradient(Context& ctx, const ConvShape& shape, const float* w, float* packed);

// ---- Forward and data gradient.
struct ConvArgs {
  int64_t batch = 0;              // may be 0
  const float* from = nullptr;    // x (batch, in_h, in_w, in_c); for the data gradient
                                  // dy (batch, out_h, out_w, out_c)
  const float* packed = nullptr;  // by the Pack function of the same name
  float* to = nullptr;            // y, or dx; overlaps nothing but epilogue.add
  bool accumulate = false;        // old values are added first: v = old + sum
  kernels::Epilogue epilogue{};   // by channel of `to`; add: dense
  // As in ProductArgs, over the rows (pixels) of `to`: boundaries of cells that are whole lines of
  // the picture, and what is called once for each finished cell and range of channels, while they
  // are in the cache of the thread that calls.
  std::span<const int64_t> row_grid{};
  std::optional<BlockFinished> finished{};
};

// Floats of scratch for any batch up to this one.
int64_t ConvForwardScratch(int threads, const ConvShape& shape, int64_t batch);
void ConvForward(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                 std::span<float> scratch);
int64_t ConvDataGradientScratch(int threads, const ConvShape& shape, int64_t batch);
// Inputs that no output reads get exactly 0 (through the epilogue).
void ConvDataGradient(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                      std::span<float> scratch);

// ---- Weight gradient. The sum over the pixels of the batch is taken in segments, the samples of
// one shard each (rounded to float, merged by MergeTree over all segments, empty ones +0); within a
// segment in chains of at most kLongestChain fused multiply-adds over pixels in ascending order,
// each from +0, whose boundaries follow from the ConvShape and the number of samples in the segment
// alone, and which merge by MergeTree. For L output lines of W pixels each in a segment they are
//   W <= 256   n = ceil(L / floor(256 / W)) chains of whole lines, [L i / n, L (i + 1) / n)
//   W > 256    n = ceil(W / 256) chains in each line, of its pixels [W i / n, W (i + 1) / n)
// and where every output reads one input of its own (kernel 1, stride 1, no padding) the segment
// is one long line: its sum is that of ops::Product. Pixels whose tap is outside the picture are
// left out of their chain.
struct ConvWeightGradientArgs {
  int64_t batch = 0;
  const float* x = nullptr;   // (batch, in_h, in_w, in_c)
  const float* dy = nullptr;  // (batch, out_h, out_w, out_c)
  float* dw = nullptr;        // (O, KH, KW, I / G)
  bool accumulate = false;    // dw = old + sum
  // Boundaries of segments, in samples: 0 = s[0] <= ... <= s[S] = batch. Empty: one segment.
  std::span<const int64_t> segments{};
  std::atomic<bool>* not_finite = nullptr;  // see ProductArgs
};
int64_t ConvWeightGradientScratch(int threads, const ConvShape& shape, int64_t batch,
                                  int64_t segments);
void ConvWeightGradient(Context& ctx, const ConvShape& shape, const ConvWeightGradientArgs& args,
                        std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_CONV_H_
