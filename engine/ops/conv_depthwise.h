// Convolutions whose every group reads one channel (ConvShape::depthwise), spread over the threads
// of a Context: what ops/conv.h calls for them, argument by argument as described there.
//
// The order of every sum: K is the taps (kh, kw), for the data gradient with the group's channels
// within each, in ChainsOf(K) chains of which chain i begins at K i / chains, less what is skipped.
#ifndef LOCKSTEP_ENGINE_OPS_CONV_DEPTHWISE_H_
#define LOCKSTEP_ENGINE_OPS_CONV_DEPTHWISE_H_

#include <cstdint>
#include <span>

#include "engine/ops/conv.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1::ops {

int64_t DepthwisePackedForwardFloats(const ConvShape& shape);
void DepthwisePackForward(Context& ctx, const ConvShape& shape, const float* w, float* packed);
int64_t DepthwisePackedDataGradientFloats(const ConvShape& shape);
void DepthwisePackDataGradient(Context& ctx, const ConvShape& shape, const float* w, float* packed);

int64_t DepthwiseForwardScratch(int threads, const ConvShape& shape);
void DepthwiseForward(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                      std::span<float> scratch);
int64_t DepthwiseDataGradientScratch(int threads, const ConvShape& shape);
void DepthwiseDataGradient(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                           std::span<float> scratch);

int64_t DepthwiseWeightGradientScratch(int threads, const ConvShape& shape, int64_t batch,
                                       int64_t segments);
void DepthwiseWeightGradient(Context& ctx, const ConvShape& shape,
                             const ConvWeightGradientArgs& args, std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_CONV_DEPTHWISE_H_
