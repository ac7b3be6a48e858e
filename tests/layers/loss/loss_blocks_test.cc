// Weights of samples, in every loss: against PyTorch's numbers
// (tests/golden/make_weighted_losses.py made weighted_losses.json), and what they must not depend
// on.
#include "layers/loss/loss_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/train/network.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/cross_entropy.h"
#include "layers/loss/huber.h"
#include "layers/loss/mse.h"
#include "layers/loss/pinball.h"
#include "tests/layers/layer_runner.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using testing::Values;
using Json = nlohmann::ordered_json;

constexpr int64_t kSamples = 9;

template <class L>
std::unique_ptr<Loss> Own(L loss) {
  return std::make_unique<L>(std::move(loss));
}

struct LossCase {
  std::function<std::unique_ptr<Loss>()> make;
  bool ignoring = false;
};

const std::map<std::string, LossCase>& Cases() {
  static const std::map<std::string, LossCase> cases = [] {
    std::vector<float> weights = Values(4, 5);
    for (float& w : weights) w = w * 0.5f + 1.0f;
    const CrossEntropyLossOptions all{.label_smoothing = 0.2, .class_weights = weights};
    return std::map<std::string, LossCase>{
        {"mse", {.make = [] { return Own(MseLoss()); }}},
        {"mse_one", {.make = [] { return Own(MseLoss()); }}},
        {"huber", {.make = [] { return Own(HuberLoss(0.7)); }}},
        {"pinball",
         {.make =
              [] {
                return Own(PinballLoss({0.1, 0.5, 0.9}));
              }}},
        {"bce", {.make = [] { return Own(BceWithLogitsLoss()); }}},
        {"bce_weights",
         {.make =
              [] {
                return Own(
                    BceWithLogitsLoss({.weight = {0.5f, 2.0f}, .pos_weight = {3.0f, 0.25f}}));
              }}},
        {"cross_entropy", {.make = [] { return Own(CrossEntropyLoss()); }}},
        {"cross_entropy_all",
         {.make = [all] { return Own(CrossEntropyLoss(all)); }, .ignoring = true}},
        {"cross_entropy_3d", {.make = [] { return Own(CrossEntropyLoss()); }, .ignoring = true}},
        {"cross_entropy_soft",
         {.make = [] { return Own(CrossEntropyLoss({.probabilities = true})); }}},
    };
  }();
  return cases;
}

// Nothing but a loss of the input, which wants a gradient.
class LossAlone final : public Model {
 public:
  LossAlone(const Loss& loss, const Shape& shape) : loss_(loss), shape_(shape) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value y, graph.AddInput("y", shape_, DType::kF32, true));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return AddLoss(graph, "target", loss_, y, 1.0, "weights");
  }

 private:
  const Loss& loss_;
  Shape shape_;
};

void ExpectClose(std::span<const float> got, const Json& want, const std::string& what) {
  // Of the largest value: each number is some twenty roundings away from PyTorch's.
  constexpr double kTolerance = 20 * 0x1p-24;
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0.0;
  for (const auto& v : want) largest = std::max(largest, std::abs(v.get<double>()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i].get<double>());
    EXPECT_FALSE(!(error <= kTolerance * largest)) << what << " " << i << ": " << got[i];
  }
}

class WeightedLoss : public ::testing::TestWithParam<std::string> {};

TEST_P(WeightedLoss, ValueAndGradientAreThoseOfPyTorch) {
  std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/weighted_losses.json");
  const Json golden = Json::parse(in).at("cases").at(GetParam());
  const LossCase& test = Cases().at(GetParam());
  const auto dims = golden.at("shape").get<std::vector<int64_t>>();
  const Shape shape{std::span<const int64_t>(dims)};
  Context ctx({.threads = 1});
  const std::unique_ptr<Loss> loss = test.make();
  Result<Network> net = Network::Bind(ctx, LossAlone(*loss, shape), kSamples, {});
  ASSERT_TRUE(net.ok()) << net.status().message();
  EXPECT_EQ(net->feature_inputs(), 1u);  // neither target nor weights

  std::vector<float> y = Values(1, shape.size()), probabilities = Values(3, shape.size());
  std::vector<float> weights = Values(2, kSamples);
  for (float& v : y) v *= 4.0f;
  for (float& p : probabilities) p = (p + 1.0f) / 2.0f;
  for (float& w : weights) w = (w + 1.0f) * 2.0f;
  weights[4] = 0.0f;
  std::vector<int32_t> classes(static_cast<size_t>(shape.rows()));
  for (size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<int32_t>((7 * i + 3) % 5);
  if (test.ignoring) classes[2] = classes[7] = -100;
  const Shape target_shape = loss->target_shape(shape);
  const ConstTensor target = loss->target_dtype() == DType::kI32
                                 ? ConstTensor(classes.data(), target_shape)
                                 : ConstTensor(probabilities.data(), target_shape);
  const std::array inputs{ConstTensor(y.data(), shape), target,
                          ConstTensor(weights.data(), {kSamples})};
  const Result<StepResult> step = net->Gradients(inputs);
  ASSERT_TRUE(step.ok()) << step.status().message();
  const auto mean = static_cast<float>(step->mean());
  ExpectClose({&mean, 1}, golden.at("loss"), "loss");
  ExpectClose(net->input_gradient().span<float>(), golden.at("dy"), "dy");
  const Result<LossSum> evaluated = net->Evaluate(inputs);
  ASSERT_TRUE(evaluated.ok());
  EXPECT_EQ(evaluated->sum / evaluated->weight, step->mean());
}

INSTANTIATE_TEST_SUITE_P(Losses, WeightedLoss, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, unused] : Cases()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

// ---- A network with a head of `classes` classes on 3 features, and what a step gives -----------

struct Stepped {
  LossSum loss;
  std::vector<float> gradients;
};
constexpr int64_t kFeatures = 3;

struct Batch {
  explicit Batch(int64_t count, int64_t classes) : samples(count) {
    x = Values(11, samples * kFeatures);
    weights = Values(12, samples);
    for (float& w : weights) w = w < -0.5f ? 0.0f : w + 1.0f;
    for (int64_t i = 0; i < samples; ++i) ids.push_back(static_cast<int32_t>((i * 7919) % classes));
  }
  std::array<ConstTensor, 3> inputs() const {
    return {ConstTensor(x.data(), {samples, kFeatures}), ConstTensor(ids.data(), {samples}),
            ConstTensor(weights.data(), {samples})};
  }
  int64_t samples;
  std::vector<float> x, weights;
  std::vector<int32_t> ids;
};

Stepped StepOn(const Batch& batch, int64_t classes, int threads, Fusion fusion = Fusion::kAll) {
  Context ctx({.threads = threads});
  Network net = Network::Bind(ctx, Sequential(Linear(classes)), CrossEntropyLoss(),
                              {.input = {batch.samples, kFeatures},
                               .seed = 5,
                               .shards = 4,
                               .weighted = true,
                               .fusion = fusion})
                    .value();
  const StepResult step = net.Gradients(batch.inputs()).value();
  const auto gradients = net.parameters().gradients;
  return {step.loss, {gradients.begin(), gradients.end()}};
}

TEST(SampleWeightsTest, ThreadsAndChunksChangeNoBit) {
  for (const int64_t classes : {5, 2500}) {  // the larger is computed by the loss, in chunks
    const Batch batch(61, classes);
    const Stepped one = StepOn(batch, classes, 1);
    double sum = 0.0;
    for (const float w : batch.weights) sum += static_cast<double>(w);
    EXPECT_NEAR(one.loss.weight, sum, 61 * 0x1p-52 * sum);
    for (const int threads : {2, 7})
      EXPECT_EQ(StepOn(batch, classes, threads).gradients, one.gradients) << classes;
    const Stepped plain = StepOn(batch, classes, 1, Fusion::kNone);
    EXPECT_EQ(plain.gradients, one.gradients) << classes;
    EXPECT_EQ(plain.loss.sum, one.loss.sum) << classes;
  }
}

// A sample of weight 2 counts as the same sample twice, one of weight 0 as none at all.
TEST(SampleWeightsTest, AWeightIsANumberOfCopies) {
  Batch weighted(20, 5), copied(20, 5);
  copied.x.clear();
  copied.ids.clear();
  copied.samples = 0;
  for (int64_t i = 0; i < 20; ++i) {
    const int64_t copies = i % 3;
    weighted.weights[static_cast<size_t>(i)] = static_cast<float>(copies);
    for (int64_t c = 0; c < copies; ++c) {
      copied.x.insert(copied.x.end(), weighted.x.begin() + i * kFeatures,
                      weighted.x.begin() + (i + 1) * kFeatures);
      copied.ids.push_back(weighted.ids[static_cast<size_t>(i)]);
      ++copied.samples;
    }
  }
  copied.weights.assign(static_cast<size_t>(copied.samples), 1.0f);
  const Stepped a = StepOn(weighted, 5, 1), b = StepOn(copied, 5, 1);
  EXPECT_EQ(a.loss.weight, b.loss.weight);
  EXPECT_NEAR(a.loss.sum, b.loss.sum, 1e-6 * b.loss.sum);
  // Means of numbers below 1, summed in another order.
  for (size_t i = 0; i < a.gradients.size(); ++i)
    EXPECT_NEAR(a.gradients[i], b.gradients[i], 20 * 0x1p-24) << i;
}

TEST(SampleWeightsTest, AWeightThatIsNoneIsNamed) {
  for (const float bad :
       {-1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Batch batch(20, 5);
    batch.weights[13] = bad;
    Context ctx({.threads = 1});
    Network net = Network::Bind(ctx, Sequential(Linear(5)), CrossEntropyLoss(),
                                {.input = {20, kFeatures}, .weighted = true})
                      .value();
    const auto step = net.Gradients(batch.inputs());
    ASSERT_FALSE(step.ok());
    EXPECT_THAT(step.status().message(), HasSubstr("the weight of sample 13"));
  }
}

// A loss that knows nothing of weights says so when it is bound.
class Unweighted final : public Loss {
 public:
  class Sum final : public LossOperation {
   public:
    Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                                const PlanOptions&) const override {
      return Declaration{.outputs = {{Shape{1}, DType::kF64}}, .reads_x = {true, true}};
    }
    void Forward(const Step&, const Operands& o) override { *o.y().as<double>() = 0.0; }
    void Backward(const Step&, const Operands&) override {}
    double Weight(const Step&, const Operands&) const override { return 1.0; }
  };
  std::string kind() const override { return "Unweighted"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override {
    return graph.AddLoss(name, Sum(), {y, target}, factor);
  }
};

TEST(SampleWeightsTest, ALossThatTakesNoneSaysSo) {
  Context ctx({.threads = 1});
  const Result<Network> net = Network::Bind(ctx, Sequential(Linear(1)), Unweighted(),
                                            {.input = {4, kFeatures}, .weighted = true});
  ASSERT_FALSE(net.ok());
  EXPECT_THAT(net.status().message(), HasSubstr("takes no weights of samples"));
}

}  // namespace
}  // namespace lockstep
