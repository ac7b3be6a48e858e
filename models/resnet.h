// Residual networks. He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015; the
// bottleneck has its stride in the 3x3 convolution, as torchvision's (and "ResNet v1.5").
//
//   ResNet18(1000)            torchvision's resnet18: its state dict loads strictly
//   CifarResNet(20, 10)       the paper's net for 32x32 pictures, with 1x1 projections where the
//                             width changes
//   ResNet18(10, {.skip = false})    the plain net of the same depth
#ifndef LOCKSTEP_MODELS_RESNET_H_
#define LOCKSTEP_MODELS_RESNET_H_

#include <cstdint>
#include <string>

#include "engine/layer.h"
#include "models/conv_norm.h"

namespace lockstep::inline v0_1 {

struct ResNetOptions {
  enum class Stem {
    kImageNet,  // 7x7 stride 2, 3x3 max pool stride 2; four stages. Depths 18, 34, 50, 101, 152
    kCifar,     // 3x3; three stages of n blocks: depths 6n + 2
  } stem = Stem::kImageNet;
  int depth = 18;
  int64_t classes = 1000;
  int64_t width = 64;  // channels of the first stage (16 in the paper's nets for CIFAR)
  ConvNorm norm{};
  bool skip = true;  // false: a plain net, for comparison
  // The gamma of the last norm in each block begins at 0, so that each block begins as the
  // identity: Goyal et al., "Accurate, large minibatch SGD", 2017.
  bool zero_init_residual = false;
};

// Whether there is such a net.
Status CheckDepth(const ResNetOptions& options);

// What the builders below leave open.
struct ResNetVariant {
  ConvNorm norm{};
  bool skip = true;
  bool zero_init_residual = false;
};

// x (B, H, W, C) -> y (B, classes); any H and W of at least 1. Parameters by torchvision's names:
// conv1, bn1, layer1.0.conv1, layer1.0.bn1, ..., layer2.0.downsample.0, ..., fc. Convolutions begin
// Kaiming normal by the fan out, fc as PyTorch's Linear.
class ResNet final : public Layer {
 public:
  explicit ResNet(const ResNetOptions& options) : options_(options) {}

  std::string kind() const override { return "ResNet"; }
  Result<Value> Build(Graph& graph, Value x) const override;

 private:
  ResNetOptions options_;
};

ResNet ResNet18(int64_t classes = 1000, const ResNetVariant& variant = {});
ResNet ResNet34(int64_t classes = 1000, const ResNetVariant& variant = {});
ResNet ResNet50(int64_t classes = 1000, const ResNetVariant& variant = {});
// depth 20, 32, 44, 56, 110, ...: 6n + 2.
ResNet CifarResNet(int depth, int64_t classes = 10, const ResNetVariant& variant = {});

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RESNET_H_
