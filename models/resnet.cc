#include "models/resnet.h"

#include <vector>

#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/picture/adaptive_pool.h"
#include "layers/picture/pool.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr auto kInit = Conv2dOptions::WeightInit::kKaimingNormal;

// One block: convolutions with norms, then the sum with what went in, then ReLU.
//   basic        3x3 s, 3x3
//   bottleneck   1x1, 3x3 s, 1x1 to four times the width
class Block final : public Layer {
 public:
  Block(const ResNetOptions& net, bool bottleneck, int64_t width, int64_t stride)
      : net_(net), bottleneck_(bottleneck), width_(width), stride_(stride) {}

  std::string kind() const override { return bottleneck_ ? "Bottleneck" : "BasicBlock"; }

  // The shortcut comes first, so that the body's last operation can add it.
  Result<Value> Build(Graph& graph, Value x) const override {
    const Relu relu;
    const int64_t out = bottleneck_ ? 4 * width_ : width_;
    Value shortcut = x;
    if (net_.skip && (stride_ != 1 || graph.shape(x).channels() != out)) {
      LOCKSTEP_TRY_ASSIGN(shortcut,
                          ApplyConvNorm(graph, net_.norm, "downsample.0", "downsample.1", out,
                                        {.kernel = 1, .stride = stride_, .init = kInit}, x));
    }
    Value y = x;
    const float last_gamma = net_.zero_init_residual ? 0.0f : 1.0f;
    if (bottleneck_) {
      LOCKSTEP_TRY_ASSIGN(y, ApplyConvNorm(graph, net_.norm, "conv1", "bn1", width_,
                                           {.kernel = 1, .init = kInit}, y));
      LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "relu", relu, y));
      LOCKSTEP_TRY_ASSIGN(
          y, ApplyConvNorm(graph, net_.norm, "conv2", "bn2", width_,
                           {.kernel = 3, .stride = stride_, .padding = 1, .init = kInit}, y));
      LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "relu", relu, y));
      LOCKSTEP_TRY_ASSIGN(y, ApplyConvNorm(graph, net_.norm, "conv3", "bn3", out,
                                           {.kernel = 1, .init = kInit}, y, last_gamma));
    } else {
      LOCKSTEP_TRY_ASSIGN(
          y, ApplyConvNorm(graph, net_.norm, "conv1", "bn1", out,
                           {.kernel = 3, .stride = stride_, .padding = 1, .init = kInit}, y));
      LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "relu", relu, y));
      LOCKSTEP_TRY_ASSIGN(y,
                          ApplyConvNorm(graph, net_.norm, "conv2", "bn2", out,
                                        {.kernel = 3, .padding = 1, .init = kInit}, y, last_gamma));
    }
    if (net_.skip) {
      LOCKSTEP_TRY_ASSIGN(y, graph.Add(Sum(), {y, shortcut}));
    }
    return Apply(graph, "relu", relu, y);
  }

 private:
  const ResNetOptions& net_;
  bool bottleneck_;
  int64_t width_, stride_;
};

// Blocks of each stage; an error for a depth that there is not.
Result<std::vector<int>> StagesOf(const ResNetOptions& net) {
  const std::string depth = std::to_string(net.depth);
  if (net.stem == ResNetOptions::Stem::kCifar) {
    const int n = (net.depth - 2) / 6;
    if (n < 1 || n > 1000 || 6 * n + 2 != net.depth)
      return Status::Invalid(
          "there are CIFAR ResNets of depths 6n + 2 (20, 32, 44, 56, 110), not " + depth);
    return std::vector<int>{n, n, n};
  }
  switch (net.depth) {
    case 18:
      return std::vector<int>{2, 2, 2, 2};
    case 34:
    case 50:
      return std::vector<int>{3, 4, 6, 3};
    case 101:
      return std::vector<int>{3, 4, 23, 3};
    case 152:
      return std::vector<int>{3, 8, 36, 3};
    default:
      return Status::Invalid("there are ResNets of depths 18, 34, 50, 101 and 152, not " + depth);
  }
}

ResNet Made(ResNetOptions options, const ResNetVariant& variant) {
  options.norm = variant.norm;
  options.skip = variant.skip;
  options.zero_init_residual = variant.zero_init_residual;
  return ResNet(options);
}

}  // namespace

Status CheckDepth(const ResNetOptions& options) { return StagesOf(options).status(); }

Result<Value> ResNet::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPictures(graph, x));
  LOCKSTEP_TRY_ASSIGN(const std::vector<int> stages, StagesOf(options_));
  if (options_.width < 1 || options_.width > 65536)
    return Status::Invalid("a width of " + std::to_string(options_.width) + " is no width");
  const bool cifar = options_.stem == ResNetOptions::Stem::kCifar;
  const bool bottleneck = !cifar && options_.depth >= 50;

  const Conv2dOptions stem =
      cifar ? Conv2dOptions{.kernel = 3, .padding = 1, .init = kInit}
            : Conv2dOptions{.kernel = 7, .stride = 2, .padding = 3, .init = kInit};
  LOCKSTEP_TRY_ASSIGN(Value y,
                      ApplyConvNorm(graph, options_.norm, "conv1", "bn1", options_.width, stem, x));
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "relu", Relu(), y));
  if (!cifar) {
    LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "maxpool", MaxPool2d(3, {.stride = 2, .padding = 1}), y));
  }
  int64_t width = options_.width;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    for (int i = 0; i < stages[stage]; ++i) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(i);
      const Block block(options_, bottleneck, width, stage > 0 && i == 0 ? 2 : 1);
      LOCKSTEP_TRY_ASSIGN(y, Apply(graph, name, block, y));
    }
    width *= 2;
  }
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "avgpool", AdaptiveAvgPool2d(1), y));
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "flatten", Flatten(), y));
  return Apply(graph, "fc", Linear(options_.classes), y);
}

ResNet ResNet18(int64_t classes, const ResNetVariant& variant) {
  return Made({.depth = 18, .classes = classes}, variant);
}
ResNet ResNet34(int64_t classes, const ResNetVariant& variant) {
  return Made({.depth = 34, .classes = classes}, variant);
}
ResNet ResNet50(int64_t classes, const ResNetVariant& variant) {
  return Made({.depth = 50, .classes = classes}, variant);
}
ResNet CifarResNet(int depth, int64_t classes, const ResNetVariant& variant) {
  return Made(
      {.stem = ResNetOptions::Stem::kCifar, .depth = depth, .classes = classes, .width = 16},
      variant);
}

}  // namespace lockstep
