// MobileNetV2: inverted residuals with depthwise convolutions. Sandler et al., "MobileNetV2:
// inverted residuals and linear bottlenecks", 2018, as torchvision's mobilenet_v2, whose state dict
// loads strictly.
#ifndef LOCKSTEP_MODELS_MOBILENET_H_
#define LOCKSTEP_MODELS_MOBILENET_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "models/conv_norm.h"

namespace lockstep::inline v0_1 {

struct MobileNetV2Options {
  int64_t classes = 1000;
  double width = 1.0;  // multiplies all numbers of channels, which stay multiples of 8
  double dropout = 0.2;
  ConvNorm norm{};
  // For small pictures (CIFAR): strides 1 in the stem and in the second stage, so that 32x32 ends
  // as 4x4.
  bool small_pictures = false;
};

// x (B, H, W, C) -> y (B, classes). Parameters by torchvision's names: features.0.0,
// features.1.conv.0.0, ..., classifier.1. Convolutions begin Kaiming normal by the fan out, the
// classifier N(0, 0.01).
class MobileNetV2 final : public Layer {
 public:
  explicit MobileNetV2(const MobileNetV2Options& options) : options_(options) {}

  std::string kind() const override { return "MobileNetV2"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  MobileNetV2Options options_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_MOBILENET_H_
