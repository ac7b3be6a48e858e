// 3 x 3 convolutions of stride 1 by Winograd's algorithm (engine/kernels/conv/winograd.h): forward,
// data gradient and weight gradient, in place of the functions of engine/ops/conv.h, which call
// these where ConvShape::algorithm says so.
//
// The order of every sum follows from the ConvShape alone, as there: a position of a tile adds up
// over its input channels in chains of at most 256; the weight gradient over the tiles of a shard in
// chains of kGradientTiles, which merge by MergeTree, and over the shards by MergeTree.
//
// Error, for inputs and weights of one size, as root mean square in units of the direct
// convolution's against double (tests/engine/ops/winograd_test.cc measures and bounds it):
//   F(2x2, 3x3)  about 1.5 times;  F(4x4, 3x3)  about 5 times.
// A value that is not finite spoils the tiles around it, not just the pixels that read it.
#ifndef LOCKSTEP_ENGINE_OPS_WINOGRAD_H_
#define LOCKSTEP_ENGINE_OPS_WINOGRAD_H_

#include <cstdint>
#include <span>

#include "engine/ops/conv.h"

namespace lockstep::ops {

// Whether it can compute this convolution at all.
bool WinogradApplies(const ConvShape& shape);

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
