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
//   F(2x2, 3x3)  about 1.5 times;  F(4x4, 3x3)  about 5 times.
// A value that is not finite spoils the tiles around it, not just the pixels that read it.
#ifndef LOCKSTEP_ENGINE_OPS_WINOGRAD_H_
#define LOCKSTEP_ENGINE_OPS_WINOGRAD_H_

#include <cstdint>
#include <span>

#include "engine/base/integers.h"
#include "engine/ops/conv.h"

namespace lockstep::ops {

// Floats from one position to the next, of arrays of `floats` for each: tiles are written to all
// positions in turn, which must not share a few sets of the L1 cache.
constexpr int64_t PositionStride(int64_t floats) {
  constexpr int64_t kPage = 1024, kApart = 80;
  return RoundUp(floats, kPage) + kApart;
}

// Whether it can compute this convolution at all.
bool WinogradApplies(const ConvShape& shape);
// Whether engine/ops/conv.h uses it: where it may, and there are so many channels that fewer
// multiplications make up for the transforms. Measured against the direct convolution on Zen 4, one
// core, F(2x2, 3x3), pictures of 56 to 7 squared, 16 / 32 / 64 to 256 / 512 channels: forward 0.9 /
// 1.25 / 1.5 to 1.8 / 1.1 times as fast, weight gradient 0.9 / 1.2 / 1.2 to 1.5 / 1.05 times.
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
