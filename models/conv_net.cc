#include "models/conv_net.h"

#include <utility>

#include "layers/activation.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/norm/group_norm.h"
#include "layers/picture/adaptive_pool.h"
#include "layers/picture/pool.h"

namespace lockstep::inline v0_1 {

Sequential ConvBlock(int64_t channels, const ConvBlockOptions& options) {
  Sequential block;
  block.Add(Conv2d(channels, {.kernel = options.kernel,
                              .stride = options.stride,
                              .padding = options.kernel / 2,
                              .bias = options.bias || options.norm.kind == ConvNorm::Kind::kNone,
                              .init = Conv2dOptions::WeightInit::kKaimingNormal}));
  switch (options.norm.kind) {
    case ConvNorm::Kind::kNone:
      break;
    case ConvNorm::Kind::kBatch:
      block.Add(BatchNorm(options.norm.batch_norm));
      break;
    case ConvNorm::Kind::kGroup:
      block.Add(GroupNorm(options.norm.groups));
      break;
  }
  block.Add(Relu());
  return block;
}

Sequential ConvNet(const ConvNetOptions& options) {
  Sequential net;
  for (const int64_t channels : options.channels) {
    Sequential stage;
    for (int64_t i = 0; i < options.blocks; ++i)
      stage.Add(ConvBlock(channels, {.kernel = options.kernel, .norm = options.norm}));
    stage.Add(MaxPool2d(2));
    net.Add(std::move(stage));
  }
  if (options.average) net.Add(AdaptiveAvgPool2d(1));
  net.Add(Flatten());
  if (options.hidden > 0) net.Add(Linear(options.hidden)).Add(Relu());
  if (options.dropout > 0.0) net.Add(Dropout(options.dropout));
  net.Add(Linear(options.classes));
  return net;
}

}  // namespace lockstep
