#include "models/mobilenet.h"

#include <algorithm>

#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/picture/adaptive_pool.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr auto kInit = Conv2dOptions::WeightInit::kKaimingNormal;

// The nearest multiple of 8 that is not more than a tenth smaller.
int64_t Channels(double wanted) {
  const int64_t nearest = std::max<int64_t>(8, static_cast<int64_t>(wanted + 4.0) / 8 * 8);
  return static_cast<double>(nearest) < 0.9 * wanted ? nearest + 8 : nearest;
}

// Convolution, norm and ReLU6: "0", "1" under the name it is applied by.
class ConvNormRelu6 final : public Layer {
 public:
  ConvNormRelu6(const ConvNorm& norm, int64_t channels, const Conv2dOptions& conv)
      : norm_(norm), channels_(channels), conv_(conv) {}
  std::string kind() const override { return "Conv2dNormActivation"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(const Value y, ApplyConvNorm(graph, norm_, "0", "1", channels_, conv_, x));
    return Apply(graph, "2", Relu6(), y);
  }

 private:
  const ConvNorm& norm_;
  int64_t channels_;
  Conv2dOptions conv_;
};

// Widened by a 1x1 convolution, a depthwise 3x3, narrowed by a 1x1 without activation; the sum with
// what went in where the shapes agree.
class InvertedResidual final : public Layer {
 public:
  InvertedResidual(const ConvNorm& norm, int64_t expand, int64_t out, int64_t stride)
      : norm_(norm), expand_(expand), out_(out), stride_(stride) {}
  std::string kind() const override { return "InvertedResidual"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    const int64_t in = graph.shape(x).channels(), wide = in * expand_;
    Value y = x;
    int at = 0;
    const auto next = [&at] { return "conv." + std::to_string(at++); };
    if (expand_ != 1) {
      LOCKSTEP_TRY_ASSIGN(
          y, Apply(graph, next(), ConvNormRelu6(norm_, wide, {.kernel = 1, .init = kInit}), y));
    }
    LOCKSTEP_TRY_ASSIGN(
        y, Apply(graph, next(),
                 ConvNormRelu6(
                     norm_, wide,
                     {.kernel = 3, .stride = stride_, .padding = 1, .groups = wide, .init = kInit}),
                 y));
    const std::string narrow = next(), narrow_norm = next();
    LOCKSTEP_TRY_ASSIGN(
        y, ApplyConvNorm(graph, norm_, narrow, narrow_norm, out_, {.kernel = 1, .init = kInit}, y));
    if (stride_ != 1 || in != out_) return y;
    return graph.Add(Sum(), {y, x});
  }

 private:
  const ConvNorm& norm_;
  int64_t expand_, out_, stride_;
};

struct Stage {
  int64_t expand, channels, blocks, stride;
};
constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

}  // namespace

Result<Value> MobileNetV2::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckPictures(graph, x));
  const double width = options_.width;
  if (!(width > 0.0 && width <= 64.0))
    return Status::Invalid("the width multiplies channels: a number in (0, 64], not " +
                           std::to_string(width));
  int at = 0;
  const auto next = [&at] { return "features." + std::to_string(at++); };
  const auto stride_of = [&](int64_t stride) { return options_.small_pictures ? 1 : stride; };
  LOCKSTEP_TRY_ASSIGN(
      Value y,
      Apply(graph, next(),
            ConvNormRelu6(options_.norm, Channels(32.0 * width),
                          {.kernel = 3, .stride = stride_of(2), .padding = 1, .init = kInit}),
            x));
  for (const Stage& stage : kStages) {
    const int64_t stride = stage.channels == 24 ? stride_of(stage.stride) : stage.stride;
    const int64_t channels = Channels(static_cast<double>(stage.channels) * width);
    for (int64_t i = 0; i < stage.blocks; ++i) {
      LOCKSTEP_TRY_ASSIGN(
          y,
          Apply(graph, next(),
                InvertedResidual(options_.norm, stage.expand, channels, i == 0 ? stride : 1), y));
    }
  }
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, next(),
                               ConvNormRelu6(options_.norm, Channels(1280.0 * std::max(1.0, width)),
                                             {.kernel = 1, .init = kInit}),
                               y));
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "avgpool", AdaptiveAvgPool2d(1), y));
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "flatten", Flatten(), y));
  LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "classifier.0", Dropout(options_.dropout), y));
  return Apply(
      graph, "classifier.1",
      Linear(options_.classes, {.init = LinearOptions::WeightInit::kNormal, .init_scale = 0.01f}),
      y);
}

}  // namespace lockstep
