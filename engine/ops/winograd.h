// 3 x 3 convolutions of stride 1 by Winograd's algorithm (engine/kernels/conv/winograd.h): forward,
// data gradient and weight gradient, in place of the functions of engine/ops/conv.h, which call
// these where ConvShape::algorithm says so.
//
// The order of every sum follows from the ConvShape alone, as there: a position of a tile adds up
// over its input channels in chains of at most 256; the weight gradient over the tiles of a shard
// in chains of kGradientTiles, which merge by MergeTree, and over the shards by MergeTree.
//
// Error, for inputs and weights of one size, as root mean square in units of the direct
// convolution's against double (tests/engine/ops/winograd_test.cc measures and bounds it):
//   F(2x2, 3x3)  about 1.1 times;  F(4x4, 3x3)  about 7.5 times.
// A value that is not finite spoils the tiles around it, not just the pixels that read it.
#ifndef LOCKSTEP_ENGINE_OPS_WINOGRAD_H_
#define LOCKSTEP_ENGINE_OPS_WINOGRAD_H_

#include <cstdint>
#include <span>

#include "engine/base/integers.h"
#include "engine/ops/conv.h"

namespace lockstep::inline v0_1::ops {

// Floats from one position to the next, of arrays of `floats` for each: tiles are written to all
// positions in turn, which must not share a few sets of the L1 cache.
constexpr int64_t PositionStride(int64_t floats) {
  constexpr int64_t kPage = 1024, kApart = 80;
  return RoundUp(floats, kPage) + kApart;
}

// Whether it can compute this convolution at all.
bool WinogradApplies(const ConvShape& shape);
// Whether engine/ops/conv.h uses it: where it may, and there are so many channels that fewer
// multiplications make up for the transforms, but not so many that the transformed weights, 16 / 9
// as large, take the time. Measured against the direct convolution on Zen 4, one core, F(2x2, 3x3):
//   channels x extent   16 x 32   32 x 16   64 x 56   64 x 8   128 x 28   256 x 14   512 x 7
//   forward               0.95      1.25      1.5       1.45     1.75       1.75       1.2
//   weight gradient       0.95      1.2       1.45      1.3      1.5        1.5        1.15
// The last loses with the packing of its weights (batch 16, all passes: 0.85).
bool UsesWinograd(const ConvShape& shape);

int64_t WinogradPackedFloats(const ConvShape& shape, bool gradient);
void WinogradPack(Context& ctx, const ConvShape& shape, bool gradient, const float* w,
                  float* packed);

int64_t WinogradScratch(int threads, const ConvShape& shape, bool gradient);
void WinogradConv(Context& ctx, const ConvShape& shape, bool gradient, const ConvArgs& args,
                  std::span<float> scratch);

int64_t WinogradWeightGradientScratch(int threads, const ConvShape& shape, int64_t batch,
                                      int64_t segments);
void WinogradWeightGradient(Context& ctx, const ConvShape& shape,
                            const ConvWeightGradientArgs& args, std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_WINOGRAD_H_
