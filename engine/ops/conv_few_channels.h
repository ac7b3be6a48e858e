// The data gradient of a convolution into few channels (a first layer's, or ConvTranspose2d to a
// picture), in place of the functions of engine/ops/conv.h, which call these.
//
// Vectors over the channels of dx would be nearly empty. But what one pixel of dy gives to one line
// of dx is kernel_w * in_c floats side by side: a product with as many columns. So
//   for each line of dx, for each kernel line kh that reaches it, in ascending order:
//     z = dy's line times w's line kh    (out_w, kernel_w * in_c), sums over O in chains
//     for each pixel of dy, from the left: its floats of z are added to the line
// which is also the order of every sum, from +0; old values are added last.
#ifndef LOCKSTEP_ENGINE_OPS_CONV_FEW_CHANNELS_H_
#define LOCKSTEP_ENGINE_OPS_CONV_FEW_CHANNELS_H_

#include <cstdint>
#include <span>

#include "engine/ops/conv.h"

namespace lockstep::inline v0_1::ops {

bool UsesFewChannels(const ConvShape& shape);

int64_t FewChannelsPackedFloats(const ConvShape& shape);
void FewChannelsPack(Context& ctx, const ConvShape& shape, const float* w, float* packed);

int64_t FewChannelsScratch(int threads, const ConvShape& shape);
void FewChannelsDataGradient(Context& ctx, const ConvShape& shape, const ConvArgs& args,
                             std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_CONV_FEW_CHANNELS_H_
