// Every layer and loss against the numbers PyTorch gives (tests/golden/make_layers.py made
// layers.json and conv_layers.json), and twenty training steps of the clinical MLP.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/conv/conv.h"
#include "layers/conv/conv_transpose.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/cross_entropy.h"
#include "layers/loss/huber.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/group_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/norm/rms_norm.h"
#include "tests/layers/layer_runner.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::LayerRunner;
using testing::Mode;
using testing::Values;
using Json = nlohmann::ordered_json;

const Json& Golden() {
  static const Json golden = [] {
    Json all;
    for (const std::string name : {"layers", "conv_layers"}) {
      std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/" + name + ".json");
      all.update(Json::parse(in).at("cases"));
    }
    return all;
  }();
  return golden;
}

// The promise is 1e-5 relative to the largest value of a tensor, for chains of many roundings; two
// fp32 engines that sum in different orders differ by a few ulp (6e-8) times the square root of the
// number of terms.
constexpr double kTolerance = 1e-5;

void ExpectClose(std::span<const float> got, const Json& want, const std::string& what,
                 double tolerance = kTolerance) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0.0;
  for (const auto& v : want) largest = std::max(largest, std::abs(v.get<double>()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want[i].get<double>());
    EXPECT_TRUE(error <= tolerance * largest + 1e-7)
        << what << "[" << i << "]: " << got[i] << " against " << want[i].get<double>();
  }
}

Shape ShapeOf(const Json& golden) {
  const auto dims = golden.at("shape").get<std::vector<int64_t>>();
  return Shape(std::span(dims));
}

template <class L>
std::unique_ptr<Layer> Own(L layer) {
  return std::make_unique<L>(std::move(layer));
}

struct Case {
  std::function<std::unique_ptr<Layer>()> make;
  Mode mode = Mode::kTrain;
  int steps = 1;
  float scale = 1.0f, shift = 0.0f;
};

Sequential Block(int64_t width) {
  return Sequential(Linear(width), BatchNorm(), Relu(), Linear(width), BatchNorm());
}

const std::map<std::string, Case>& Cases() {
  const auto curved = [](auto layer) {
    return Case{.make = [layer] { return Own(layer); }, .scale = 4.0f};
  };
  static const std::map<std::string, Case> cases = {
      {"linear", {.make = [] { return Own(Linear(4)); }}},
      {"linear_no_bias", {.make = [] { return Own(Linear(4, {.bias = false})); }}},
      {"linear_3d", {.make = [] { return Own(Linear(4)); }}},
      {"batch_norm", {.make = [] { return Own(BatchNorm()); }}},
      {"batch_norm_two_steps", {.make = [] { return Own(BatchNorm()); }, .steps = 2}},
      {"batch_norm_offset", {.make = [] { return Own(BatchNorm()); }, .shift = 100.0f}},
      {"batch_norm_momentum",
       {.make = [] { return Own(BatchNorm({.eps = 1e-3, .momentum = 0.3})); }, .steps = 2}},
      {"batch_norm_cumulative",
       {.make = [] { return Own(BatchNorm({.cumulative = true})); }, .steps = 3}},
      {"batch_norm_plain", {.make = [] { return Own(BatchNorm({.affine = false})); }}},
      {"batch_norm_2d", {.make = [] { return Own(BatchNorm()); }}},
      {"batch_norm_3d", {.make = [] { return Own(BatchNorm()); }}},
      {"batch_norm_sequence", {.make = [] { return Own(BatchNorm()); }}},
      {"batch_norm_evaluate", {.make = [] { return Own(BatchNorm()); }, .mode = Mode::kEvaluate}},
      {"batch_norm_untracked_evaluate",
       {.make = [] { return Own(BatchNorm({.track_running_stats = false})); },
        .mode = Mode::kEvaluate}},
      {"layer_norm", {.make = [] { return Own(LayerNorm()); }}},
      {"layer_norm_3d", {.make = [] { return Own(LayerNorm({.eps = 1e-3})); }}},
      {"layer_norm_plain", {.make = [] { return Own(LayerNorm({.affine = false})); }}},
      {"layer_norm_one_sample", {.make = [] { return Own(LayerNorm()); }}},
      {"rms_norm", {.make = [] { return Own(RmsNorm()); }}},
      {"rms_norm_3d", {.make = [] { return Own(RmsNorm({.eps = 1e-3})); }}},
      {"group_norm", {.make = [] { return Own(GroupNorm(2)); }}},
      {"group_norm_4d", {.make = [] { return Own(GroupNorm(2)); }}},
      {"group_norm_plain", {.make = [] { return Own(GroupNorm(6, {.affine = false})); }}},
      {"instance_norm", {.make = [] { return Own(InstanceNorm()); }}},
      {"instance_norm_affine", {.make = [] { return Own(InstanceNorm({.affine = true})); }}},
      {"relu", curved(Relu())},
      {"leaky_relu", curved(LeakyRelu(0.2f))},
      {"gelu", curved(Gelu())},
      {"gelu_tanh", curved(Gelu(GeluApproximation::kTanh))},
      {"silu", curved(Silu())},
      {"sigmoid", curved(Sigmoid())},
      {"tanh", curved(Tanh())},
      {"softplus", curved(Softplus(2.0f, 5.0f))},
      {"flatten", {.make = [] { return Own(Flatten()); }}},
      {"conv2d", {.make = [] { return Own(Conv2d(5, {.padding = 1})); }}},
      {"conv2d_no_bias", {.make = [] { return Own(Conv2d(18, {.bias = false})); }}},
      {"conv2d_stride", {.make = [] { return Own(Conv2d(6, {.stride = 2, .padding = 1})); }}},
      {"conv2d_stride_that_does_not_divide",
       {.make = [] { return Own(Conv2d(3, {.stride = 2})); }}},
      {"conv2d_unread_edge",
       {.make = [] { return Own(Conv2d(3, {.kernel = 5, .stride = 3, .padding = 1})); }}},
      {"conv2d_one_by_one_stride",
       {.make = [] { return Own(Conv2d(4, {.kernel = 1, .stride = 2, .padding = 1})); }}},
      {"conv2d_padding_beyond_kernel", {.make = [] { return Own(Conv2d(2, {.padding = 3})); }}},
      {"conv2d_dilation",
       {.make =
            [] {
              return Own(Conv2d(4, {.kernel = {3, 2}, .padding = {2, 1}, .dilation = 2}));
            }}},
      {"conv2d_uneven",
       {.make =
            [] {
              return Own(Conv2d(
                  4, {.kernel = {2, 4}, .stride = {1, 3}, .padding = {0, 2}, .dilation = {3, 1}}));
            }}},
      {"conv2d_groups", {.make = [] { return Own(Conv2d(16, {.padding = 1, .groups = 2})); }}},
      {"conv2d_groups_of_odd",
       {.make = [] { return Own(Conv2d(9, {.stride = 2, .padding = 1, .groups = 3})); }}},
      {"conv2d_depthwise",
       {.make = [] { return Own(Conv2d(6, {.stride = 2, .padding = 1, .groups = 6})); }}},
      {"conv2d_depthwise_multiplier",
       {.make = [] { return Own(Conv2d(12, {.padding = 2, .groups = 4})); }}},
      {"conv2d_same_even",
       {.make =
            [] {
              return Own(Conv2d(4, {.kernel = {4, 2}, .same = true}));
            }}},
      {"conv2d_same_dilation",
       {.make =
            [] {
              return Own(Conv2d(4, {.kernel = {4, 3}, .same = true, .dilation = {1, 2}}));
            }}},
      {"conv2d_block",
       {.make =
            [] {
              const Conv2dOptions depthwise{.stride = 2, .padding = 1, .groups = 4, .bias = false};
              return Own(Sequential(Conv2d(4, {.padding = 1, .bias = false}), BatchNorm(), Relu(),
                                    Conv2d(4, depthwise), BatchNorm(), Relu(),
                                    Conv2d(5, {.kernel = 1})));
            }}},
      {"conv1d", {.make = [] { return Own(Conv1d(5, {.kernel = 4, .padding = 2})); }}},
      {"conv1d_stride_dilation",
       {.make =
            [] {
              return Own(Conv1d(6, {.stride = 2, .dilation = 2, .groups = 2, .bias = false}));
            }}},
      {"conv1d_same_even", {.make = [] { return Own(Conv1d(4, {.kernel = 4, .same = true})); }}},
      {"conv1d_depthwise",
       {.make = [] { return Own(Conv1d(8, {.kernel = 5, .padding = 2, .groups = 4})); }}},
      {"conv_transpose2d", {.make = [] { return Own(ConvTranspose2d(5)); }}},
      {"conv_transpose2d_stride",
       {.make =
            [] {
              return Own(
                  ConvTranspose2d(3, {.kernel = 4, .stride = 2, .padding = 1, .bias = false}));
            }}},
      {"conv_transpose2d_output_padding",
       {.make =
            [] {
              return Own(
                  ConvTranspose2d(2, {.stride = {2, 3}, .padding = 1, .output_padding = {1, 2}}));
            }}},
      {"conv_transpose2d_gaps",
       {.make = [] { return Own(ConvTranspose2d(2, {.kernel = 2, .stride = 3})); }}},
      {"conv_transpose2d_groups",
       {.make = [] { return Own(ConvTranspose2d(6, {.stride = 2, .dilation = 2, .groups = 2})); }}},
      {"conv_transpose2d_depthwise",
       {.make = [] { return Own(ConvTranspose2d(4, {.stride = 2, .groups = 4})); }}},
      {"conv_transpose2d_output_padding_of_dilation",
       {.make = [] { return Own(ConvTranspose2d(2, {.output_padding = 2, .dilation = 3})); }}},
      {"residual", {.make = [] { return Own(Sequential(Residual(Block(6)), Relu())); }}},
      {"residual_shortcut",
       {.make =
            [] {
              return Own(Sequential(
                  Residual(Block(5), Sequential(Linear(5, {.bias = false}), BatchNorm())), Relu()));
            }}},
      {"residual_plain",
       {.make =
            [] {
              return Own(Sequential(Linear(6), Residual(Sequential(LayerNorm(), Linear(6), Gelu())),
                                    Linear(2)));
            }}},
      {"mlp",
       {.make =
            [] {
              return Own(Sequential(Flatten(), Linear(8), BatchNorm(), Relu(), Linear(8), Tanh(),
                                    Linear(3)));
            }}},
  };
  return cases;
}

bool IsScaleOfNorm(const Shape& shape, const std::string& name) {
  return name.ends_with("weight") && shape.rank() == 1;
}

class LayerParity : public ::testing::TestWithParam<std::string> {};

TEST_P(LayerParity, ForwardBackwardAndStatesAreTheSame) {
  const Json& golden = Golden().at(GetParam());
  const Case& test = Cases().at(GetParam());
  const Shape shape = ShapeOf(golden);
  // Gradients in evaluation mode are those of training where the norm is frozen.
  const std::vector<std::string> frozen = test.mode == Mode::kEvaluate
                                              ? std::vector<std::string>{"weight"}
                                              : std::vector<std::string>{};
  LayerRunner runner(test.make(), shape, frozen);
  ASSERT_TRUE(runner.status().ok()) << runner.status().message();

  uint32_t stream = 100;
  for (const auto& [name, unused] : golden.at("gradients").items()) {
    const std::span<float> value = runner.value(name);
    ASSERT_FALSE(value.empty()) << name;
    const std::vector<float> start = Values(stream++, static_cast<int64_t>(value.size()));
    Shape parameter;
    for (const ParameterInfo& info : runner.store().infos()) {
      if (info.name == name) parameter = info.shape;
    }
    for (size_t i = 0; i < value.size(); ++i) {
      value[i] = start[i] * 0.5f + (IsScaleOfNorm(parameter, name) ? 1.0f : 0.0f);
    }
  }

  std::vector<float> y, dx;
  for (int s = 0; s < test.steps; ++s) {
    std::vector<float> x = Values(static_cast<uint32_t>(1 + 10 * s), shape.size());
    for (float& v : x) v = v * test.scale + test.shift;
    y = runner.Forward(x, shape, test.mode);
    const std::vector<float> dy =
        Values(static_cast<uint32_t>(2 + 10 * s), static_cast<int64_t>(y.size()));
    if (test.mode == Mode::kEvaluate) {
      EXPECT_EQ(runner.Forward(x, shape), y);
    }
    dx = runner.Backward(x, shape, dy);
  }
  // At an offset of 100 the inputs themselves are rounded to 4e-6 of a deviation, in PyTorch's sums
  // as in ours.
  const double tolerance = test.shift != 0.0f ? 1e-4 : kTolerance;
  ExpectClose(y, golden.at("y"), "y", tolerance);
  ExpectClose(dx, golden.at("dx"), "dx", tolerance);
  for (const auto& [name, want] : golden.at("gradients").items()) {
    // A bias in front of a batch norm has no gradient: what both report is the rounding of a sum
    // that cancels.
    double largest = 0.0;
    for (const auto& v : want) largest = std::max(largest, std::abs(v.get<double>()));
    if (largest < 1e-5 || std::ranges::count(frozen, name) > 0) continue;
    ExpectClose(runner.gradient(name), want, "gradient of " + name, tolerance);
  }
  for (const auto& [name, want] : golden.at("states").items()) {
    if (name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(runner.count(name), want.at(0).get<int64_t>());
    } else {
      ExpectClose(runner.state(name), want, name);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, LayerParity, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, unused] : Cases()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

struct LossCase {
  std::function<std::unique_ptr<Loss>()> make;
  bool ignoring = false;
};

template <class L>
std::unique_ptr<Loss> OwnLoss(L loss) {
  return std::make_unique<L>(std::move(loss));
}

const std::map<std::string, LossCase>& LossCases() {
  static const std::map<std::string, LossCase> cases = [] {
    std::vector<float> weights = Values(4, 5);
    for (float& w : weights) w = w * 0.5f + 1.0f;
    return std::map<std::string, LossCase>{
        {"cross_entropy", {.make = [] { return OwnLoss(CrossEntropyLoss()); }}},
        {"cross_entropy_smoothing",
         {.make = [] { return OwnLoss(CrossEntropyLoss({.label_smoothing = 0.1})); }}},
        {"cross_entropy_weights",
         {.make = [weights] { return OwnLoss(CrossEntropyLoss({.class_weights = weights})); }}},
        {"cross_entropy_ignored",
         {.make = [] { return OwnLoss(CrossEntropyLoss()); }, .ignoring = true}},
        {"cross_entropy_all",
         {.make =
              [weights] {
                return OwnLoss(
                    CrossEntropyLoss({.label_smoothing = 0.2, .class_weights = weights}));
              },
          .ignoring = true}},
        {"cross_entropy_3d", {.make = [] { return OwnLoss(CrossEntropyLoss()); }}},
        {"bce", {.make = [] { return OwnLoss(BceWithLogitsLoss()); }}},
        {"bce_weights",
         {.make =
              [] {
                return OwnLoss(
                    BceWithLogitsLoss({.weight = {0.5f, 2.0f}, .pos_weight = {3.0f, 0.25f}}));
              }}},
        {"mse", {.make = [] { return OwnLoss(MseLoss()); }}},
        {"huber", {.make = [] { return OwnLoss(HuberLoss(0.7)); }}},
    };
  }();
  return cases;
}

// Nothing but a loss of the input, which wants a gradient.
class LossAlone final : public lockstep::Model {
 public:
  LossAlone(const Loss& loss, const Shape& shape) : loss_(loss), shape_(shape) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value y, graph.AddInput("y", shape_, DType::kF32, true));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return AddLoss(graph, "target", loss_, y);
  }

 private:
  const Loss& loss_;
  Shape shape_;
};

class LossParity : public ::testing::TestWithParam<std::string> {};

TEST_P(LossParity, ValueAndGradientAreTheSame) {
  const Json& golden = Golden().at(GetParam());
  const LossCase& test = LossCases().at(GetParam());
  const Shape shape = ShapeOf(golden);
  Context ctx({.threads = 1});
  const std::unique_ptr<Loss> loss = test.make();
  Result<Network> net = Network::Bind(ctx, LossAlone(*loss, shape), shape.batch(), {});
  ASSERT_TRUE(net.ok()) << net.status().message();

  std::vector<float> y = Values(1, shape.size());
  for (float& v : y) v *= 4.0f;
  std::vector<float> probabilities = Values(3, shape.size());
  for (float& p : probabilities) p = (p + 1.0f) / 2.0f;
  std::vector<int32_t> classes(static_cast<size_t>(shape.rows()));
  for (size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<int32_t>((7 * i + 3) % 5);
  if (test.ignoring) classes[2] = classes[7] = -100;
  const Shape target_shape = loss->target_shape(shape);
  const ConstTensor target = loss->target_dtype() == DType::kI32
                                 ? ConstTensor(classes.data(), target_shape)
                                 : ConstTensor(probabilities.data(), target_shape);

  const Result<StepResult> step = net->Gradients(ConstTensor(y.data(), shape), target);
  ASSERT_TRUE(step.ok()) << step.status().message();
  const float mean = static_cast<float>(step->mean());
  ExpectClose({&mean, 1}, golden.at("loss"), "loss");
  const std::span<const float> dy = net->input_gradient().span<float>();
  ExpectClose(dy, golden.at("dy"), "dy");
}

INSTANTIATE_TEST_SUITE_P(Losses, LossParity, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, unused] : LossCases()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

// Twenty steps, after which the two engines have rounded some 1e5 times in different orders;
// BatchNorm's division by a deviation estimated from 32 samples amplifies differences by about two
// in each of them, and they still agree to 1e-5.
void TrainClinical(const std::string& name, Optimizer& optimizer, bool bias) {
  const Json& golden = Golden().at(name);
  Context ctx({.threads = 1});
  Sequential layers;
  layers.Add(Linear(64, {.bias = bias})).Add(BatchNorm()).Add(Relu());
  layers.Add(Linear(32, {.bias = bias})).Add(BatchNorm()).Add(Relu()).Add(Linear(1));
  Result<Network> net =
      Network::Bind(ctx, std::move(layers), BceWithLogitsLoss(), {.input = {32, 20}});
  ASSERT_TRUE(net.ok()) << net.status().message();

  std::optional<ParameterWriter> writer(net->Write());
  const ParameterSet* const parameters = &**writer;
  uint32_t stream = 100;
  for (const auto& [parameter, unused] : golden.at("parameters").items()) {
    for (size_t i = 0; i < parameters->infos.size(); ++i) {
      if (parameters->infos[i].name != parameter) continue;
      const std::span<float> value = parameters->value(i).span<float>();
      const std::vector<float> start = Values(stream, static_cast<int64_t>(value.size()));
      const bool scale = IsScaleOfNorm(parameters->infos[i].shape, parameter);
      for (size_t j = 0; j < value.size(); ++j) {
        value[j] = start[j] * 0.5f + (scale ? 1.0f : 0.0f);
        if (parameters->infos[i].shape.rank() == 2) value[j] *= 0.25f;
      }
    }
    ++stream;
  }
  writer.reset();

  std::vector<float> losses;
  for (uint32_t s = 0; s < 20; ++s) {
    const std::vector<float> x = Values(1000 + s, 32 * 20);
    std::vector<float> target(32);
    for (size_t i = 0; i < 32; ++i) {
      target[i] = x[i * 20] + x[i * 20 + 1] * x[i * 20 + 2] > 0.1f ? 1.0f : 0.0f;
    }
    const Result<double> loss =
        net->TrainStep({x.data(), Shape{32, 20}}, {target.data(), Shape{32, 1}}, optimizer);
    ASSERT_TRUE(loss.ok()) << loss.status().message();
    losses.push_back(static_cast<float>(*loss));
  }
  ExpectClose(losses, golden.at("losses"), "losses");
  const std::vector<float> x = Values(999, 32 * 20);
  std::vector<float> y(32, NAN);
  ASSERT_TRUE(net->Predict({x.data(), Shape{32, 20}}, {y.data(), Shape{32, 1}}).ok());
  ExpectClose(y, golden.at("y"), "y");
  const ConstParameterSet trained = net->parameters();
  for (size_t i = 0; i < trained.infos.size(); ++i) {
    const std::string& parameter = trained.infos[i].name;
    const Json& want = golden.at("parameters").at(parameter);
    // The gradient of these is zero but for rounding, and they have no effect on anything.
    if (parameter == "0.bias" || parameter == "3.bias") continue;
    ExpectClose(trained.value(i).span<float>().first(want.size()), want, parameter);
  }
  for (size_t i = 0; i < net->states().size(); ++i) {
    if (net->states()[i].dtype != DType::kF32) continue;  // the count of batches
    ExpectClose(net->state(i).span<float>(), golden.at("states").at(net->states()[i].name),
                net->states()[i].name);
  }
}

TEST(TrainingParity, ClinicalMlpWithSgd) {
  Sgd sgd({.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-3, .decay_all = true});
  TrainClinical("clinical_sgd", sgd, /*bias=*/true);
}

TEST(TrainingParity, ClinicalMlpWithAdamW) {
  AdamW adamw({.lr = 1e-2, .weight_decay = 0.01, .decay_all = true, .groups = {}});
  TrainClinical("clinical_adamw", adamw, /*bias=*/false);
}

TEST(Conventions, DifferInRunningVarianceAndMomentumOnly) {
  const Shape shape{8, 3};
  const std::vector<float> x = Values(1, shape.size());
  std::vector<double> mean(3), biased(3);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t r = 0; r < 8; ++r) mean[c] += x[r * 3 + c] / 8.0;
    for (size_t r = 0; r < 8; ++r)
      biased[c] += (x[r * 3 + c] - mean[c]) * (x[r * 3 + c] - mean[c]) / 8.0;
  }
  std::vector<float> first;
  for (const auto& [convention, rate, correction] : {std::tuple{Convention::kTorch, 0.1, 8.0 / 7.0},
                                                     {Convention::kKeras, 0.01, 1.0},
                                                     {Convention::kLesson, 0.1, 1.0}}) {
    SCOPED_TRACE(NameOf(convention));
    LayerRunner runner(Own(BatchNorm({.convention = convention})), shape);
    const std::vector<float> y = runner.Forward(x, shape);
    if (first.empty()) first = y;
    EXPECT_EQ(y, first);
    for (size_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(runner.state("running_mean")[c], rate * mean[c], 1e-7);
      EXPECT_NEAR(runner.state("running_var")[c], 1.0 - rate + rate * correction * biased[c], 3e-7);
    }
  }
}

}  // namespace
}  // namespace lockstep
