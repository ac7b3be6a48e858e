// What a step promises: it happens as a whole or not at all, a batch cut into parts is the batch,
// and optimizers may take turns.
#include "engine/train/training_step.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/integers.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/dropout.h"
#include "layers/layer_norm.h"
#include "layers/mse.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::toy {
namespace {

using testing::HasSubstr;

constexpr int64_t kFeatures = 6, kClasses = 4;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Random samples for both kinds of targets.
struct Samples {
  explicit Samples(int64_t count, uint64_t seed = 1) : count(count) {
    Random random(seed, StreamOf("samples"));
    for (int64_t i = 0; i < count * kFeatures; ++i)
      features.push_back(static_cast<float>(random.Normal()));
    for (int64_t i = 0; i < count; ++i) {
      classes.push_back(static_cast<int32_t>(random.Below(kClasses)));
      values.push_back(static_cast<float>(random.Normal()));
    }
  }
  ConstTensor x() const { return {features.data(), {count, kFeatures}}; }
  ConstTensor ids() const { return {classes.data(), {count}}; }
  ConstTensor numbers() const { return {values.data(), {count, 1}}; }

  int64_t count;
  std::vector<float> features, values;
  std::vector<int32_t> classes;
};

std::vector<float> Copy(ConstTensor tensor) {
  const std::span<const float> values = tensor.span<float>();
  return {values.begin(), values.end()};
}
std::vector<float> Predictions(Network& net, const Samples& samples) {
  std::vector<float> y(static_cast<size_t>(samples.count * net.output_shape()[1]));
  EXPECT_TRUE(
      net.Predict(samples.x(), Tensor(y.data(), net.output_shape().WithBatch(samples.count))).ok());
  return y;
}

// So that a NaN is what it was as well.
std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float v : values) bits.push_back(std::bit_cast<uint32_t>(v));
  return bits;
}

// ---- A step that fails --------------------------------------------------------------------------

// Everything that a step changes, to the bit.
struct Everything {
  uint64_t model = 0;  // parameters, statistics, counts
  int64_t optimizer_steps = 0;
  std::vector<std::vector<uint32_t>> optimizer{};
  std::vector<uint32_t> predictions{};
  bool operator==(const Everything&) const = default;
};

class FailedStepTest : public testing::TestWithParam<bool> {  // whether the network tells classes
 protected:
  static constexpr int64_t kBatch = 24;

  Network Make() {
    const NetworkOptions options{.input = {kBatch, kFeatures}, .seed = 3, .shards = 2};
    // Dropout draws by the number of the step, which a failed one is not to use up.
    auto layers = Sequential(Linear(16), BatchNorm(), Relu(), Dropout(0.2), Linear(16), BatchNorm(),
                             Relu(), Linear(GetParam() ? kClasses : 1));
    return GetParam() ? Network::Bind(ctx_, std::move(layers), CrossEntropyLoss(), options).value()
                      : Network::Bind(ctx_, std::move(layers), MseLoss(), options).value();
  }
  Result<double> Step(Network& net, Optimizer& optimizer, const Samples& samples) {
    return net.TrainStep(samples.x(), GetParam() ? samples.ids() : samples.numbers(), optimizer);
  }
  Everything Look(Network& net, const Optimizer& optimizer) {
    Everything all{.model = ModelHash(net), .optimizer_steps = optimizer.step_count()};
    for (const OptimizerState& state : optimizer.states())
      all.optimizer.push_back(Bits(Copy(state.tensor)));
    all.predictions = Bits(Predictions(net, Samples(5, 77)));
    return all;
  }

  // After two steps `prepare` is done to the network, then a step on what `spoil` makes of a batch
  // fails; a network that never saw that one then goes on to the same bits.
  void ExpectNothingHappens(const std::function<void(Samples&)>& spoil, Code code,
                            const std::string& message,
                            const std::function<void(Network&)>& prepare = {}) {
    Network net = Make(), twin = Make();
    AdamW adam({.lr = 1e-2}), twins({.lr = 1e-2});
    for (uint64_t i = 0; i < 2; ++i) {
      ASSERT_TRUE(Step(net, adam, Samples(kBatch, i)).ok());
      ASSERT_TRUE(Step(twin, twins, Samples(kBatch, i)).ok());
    }
    const ModelCopy good = [&] {
      ModelCopy copy(net);
      copy.TakeFrom(net);
      return copy;
    }();
    if (prepare) prepare(net);
    const Everything before = Look(net, adam);
    Samples bad(kBatch, 5);
    spoil(bad);
    for (int attempts = 0; attempts < 2; ++attempts) {
      const Status status = Step(net, adam, bad).status();
      ASSERT_EQ(status.code(), code) << status.message();
      EXPECT_THAT(status.message(), HasSubstr(message));
      const Everything after = Look(net, adam);
      EXPECT_EQ(after.model, before.model);
      EXPECT_EQ(after.optimizer_steps, before.optimizer_steps);
      EXPECT_EQ(after.optimizer, before.optimizer);
      EXPECT_EQ(after.predictions, before.predictions);
    }
    if (prepare) good.ApplyTo(net);
    for (uint64_t i = 10; i < 12; ++i) {
      const Result<double> loss = Step(net, adam, Samples(kBatch, i));
      ASSERT_TRUE(loss.ok()) << loss.status().message();
      EXPECT_EQ(*loss, Step(twin, twins, Samples(kBatch, i)).value());
    }
    EXPECT_TRUE(Look(net, adam) == Look(twin, twins));
  }

  Context ctx_{{.threads = 2}};
};
INSTANTIATE_TEST_SUITE_P(Of, FailedStepTest, testing::Bool(), [](const auto& test) {
  return test.param ? std::string("Classes") : std::string("Values");
});

TEST_P(FailedStepTest, AFeatureThatIsNanChangesNothing) {
  ExpectNothingHappens([](Samples& s) { s.features[13 * kFeatures + 2] = kNan; }, Code::kNonFinite,
                       "input");
}

TEST_P(FailedStepTest, ATargetThatIsNoneChangesNothing) {
  if (GetParam()) {
    for (const int32_t id : {-1, static_cast<int32_t>(kClasses)}) {
      ExpectNothingHappens([&](Samples& s) { s.classes[kBatch - 1] = id; }, Code::kInvalid,
                           std::to_string(id));
    }
  } else {
    ExpectNothingHappens([](Samples& s) { s.values[20] = kNan; }, Code::kNonFinite, "input");
  }
}

// Forward, the last norm has nothing to normalise (what comes in is its bias alone, 0) and gives its
// own bias, 1e-25, which the last layer brings back to sums of 1. Backward, 1e25 of the last layer
// meets 1e25 of the norm.
TEST_P(FailedStepTest, AGradientThatOverflowsChangesNothing) {
  ExpectNothingHappens([](Samples&) {}, Code::kNonFinite, "gradient of ",
                       [&](Network& net) {
                         const ParameterWriter write = net.Write();
                         const auto fill = [&](const std::string& name, float with) {
                           for (size_t i = 0; i < write->infos.size(); ++i) {
                             if (write->infos[i].name != name) continue;
                             const std::span<float> value = write->value(i).span<float>();
                             // The classes apart, or their slopes would cancel in the sum over them.
                             for (size_t k = 0; k < value.size(); ++k)
                               value[k] = name == "7.weight" && k / 16 % 2 == 1 ? -with : with;
                           }
                         };
                         fill("1.weight", 0.0f);
                         fill("1.bias", 0.0f);
                         fill("4.bias", 0.0f);
                         fill("5.weight", 1e25f);
                         fill("5.bias", 1e-25f);
                         fill("7.weight", 1e25f);
                       });
}

TEST_P(FailedStepTest, AnOptimizerOfAnotherNetworkChangesNothing) {
  Network net = Make();
  Network other =
      Network::Bind(ctx_, Sequential(Linear(1)), MseLoss(), {.input = {kBatch, kFeatures}}).value();
  const Samples samples(kBatch);
  AdamW adam, others;
  ASSERT_TRUE(other.TrainStep(samples.x(), samples.numbers(), others).ok());
  ASSERT_TRUE(Step(net, adam, samples).ok());
  const Everything before = Look(net, adam);
  EXPECT_FALSE(Step(net, others, samples).ok());
  EXPECT_TRUE(Look(net, adam) == before);
}

// ---- Parts --------------------------------------------------------------------------------------

struct Outcome {
  uint64_t model = 0;
  std::vector<double> losses;
  std::vector<float> values;
  bool operator==(const Outcome&) const = default;
};

CrossEntropyLossOptions Weighted() {
  return {.label_smoothing = 0.1, .class_weights = {1.0f, 0.5f, 3.0f, 0.0f}};
}

// Some targets count for nothing, among them all of the last quarter: a part may have none at all.
void Ignore(Samples& samples) {
  const auto count = static_cast<size_t>(samples.count);
  for (size_t i = 0; i < count; ++i) {
    if (i % 5 == 1 || i >= count - count / 4) samples.classes[i] = -100;
  }
}

// Four steps of plain SGD, in parts, on batches of `count` samples.
Outcome TrainInParts(int64_t count, int64_t parts, int shards, bool weighted, int threads = 1) {
  constexpr int64_t kBatch = 64;
  Context ctx({.threads = threads});
  Network net =
      Network::Bind(ctx, Sequential(Linear(16), LayerNorm(), Gelu(), Dropout(0.25), Linear(4)),
                    CrossEntropyLoss(weighted ? Weighted() : CrossEntropyLossOptions()),
                    {.input = {CeilDiv(kBatch, parts), kFeatures}, .seed = 7, .shards = shards})
          .value();
  const auto step = TrainingStep::Make(net, {.parts = parts}).value();
  Sgd sgd({.lr = 0.1});
  Outcome outcome;
  for (uint64_t i = 0; i < 4; ++i) {
    Samples samples(count, i);
    if (weighted) Ignore(samples);
    const std::array inputs{samples.x(), samples.ids()};
    const Result<TrainingStepReport> report =
        step->Run({.inputs = inputs, .samples = count, .global_samples = count}, i, sgd, 0.1);
    EXPECT_TRUE(report.ok()) << report.status().message();
    if (report.ok()) outcome.losses.push_back(report->loss.sum / report->loss.weight);
  }
  outcome.model = ModelHash(net);
  const std::span<const float> values = net.parameters().values;
  outcome.values.assign(values.begin(), values.end());
  return outcome;
}

// Batches that fill the network, that are odd, and that leave shards empty.
TEST(PartsTest, OfWholeShardsGiveTheBitsOfTheWhole) {
  for (const bool weighted : {false, true}) {
    for (const int64_t count : {64, 63, 61, 37, 20}) {
      const Outcome whole = TrainInParts(count, 1, 8, weighted);
      ASSERT_EQ(whole.losses.size(), 4u);
      for (const int64_t parts : {2, 4, 8}) {
        for (const int threads : {1, 3}) {
          EXPECT_TRUE(TrainInParts(count, parts, 8, weighted, threads) == whole)
              << count << " samples, " << parts << " parts, " << threads << " threads"
              << (weighted ? ", weighted" : "");
        }
      }
    }
  }
}

// Other parts sum in another order, and nothing else. Four steps of 0.1 times a gradient of at
// most 3 (the largest weight of a class), each from some hundred roundings of 6e-8 of that.
TEST(PartsTest, OfAnyOtherNumberDifferInRoundingOnly) {
  for (const bool weighted : {false, true}) {
    for (const int64_t count : {64, 61, 37}) {
      const Outcome whole = TrainInParts(count, 1, 1, weighted);
      for (const int64_t parts : {2, 3, 5, 16}) {
        const Outcome cut = TrainInParts(count, parts, 1, weighted);
        ASSERT_EQ(cut.losses.size(), 4u);
        for (size_t i = 0; i < 4; ++i)
          EXPECT_FALSE(!(std::abs(cut.losses[i] - whole.losses[i]) <= 1e-5)) << parts;
        for (size_t i = 0; i < whole.values.size(); ++i)
          ASSERT_FALSE(!(std::abs(cut.values[i] - whole.values[i]) <= 4 * 0.3 * 100 * 6e-8))
              << count << " samples, " << parts << " parts, " << i;
      }
    }
  }
}

// Against the definition, for a network of one layer, in double:
//   L = sum_i w[t_i] (log sum_c exp y_ic - y_it) / sum_i w[t_i],   over targets that count
//   dL/db_c = sum_i w[t_i] (softmax(y_i)_c - [c = t_i]) / sum_i w[t_i]
TEST(PartsTest, WeighTheTargetsOfTheWholeBatch) {
  constexpr int64_t kCount = 61;
  const std::vector<float> weights = {1.0f, 0.5f, 3.0f, 0.0f};
  Samples samples(kCount);
  Ignore(samples);
  for (const int64_t parts : {1, 2, 8}) {
    Context ctx({.threads = 1});
    Network net = Network::Bind(ctx, Sequential(Linear(kClasses)),
                                CrossEntropyLoss({.class_weights = weights}),
                                {.input = {CeilDiv(int64_t{64}, parts), kFeatures}, .shards = 8})
                      .value();
    const std::vector<float> w = Copy(net.parameters().value(0)),
                             b = Copy(net.parameters().value(1));
    double loss = 0.0, total = 0.0;
    std::array<double, kClasses> slope{};
    for (size_t i = 0; i < kCount; ++i) {
      const int32_t target = samples.classes[i];
      if (target < 0) continue;
      const double weight = weights[static_cast<size_t>(target)];
      std::array<double, kClasses> e{};
      double sum = 0.0, of_target = 0.0;
      for (size_t c = 0; c < kClasses; ++c) {
        double y = b[c];
        for (size_t f = 0; f < kFeatures; ++f)
          y += double{w[c * kFeatures + f]} * samples.features[i * kFeatures + f];
        if (static_cast<int32_t>(c) == target) of_target = y;
        sum += e[c] = std::exp(y);
      }
      loss += weight * (std::log(sum) - of_target);
      total += weight;
      for (size_t c = 0; c < kClasses; ++c)
        slope[c] += weight * (e[c] / sum - (static_cast<int32_t>(c) == target ? 1.0 : 0.0));
    }
    const auto step = TrainingStep::Make(net, {.parts = parts}).value();
    Sgd sgd;
    const std::array inputs{samples.x(), samples.ids()};
    const TrainingStepReport report =
        step->Run({.inputs = inputs, .samples = kCount, .global_samples = kCount}, 0, sgd, 1.0)
            .value();
    EXPECT_EQ(report.loss.weight, total);  // sums of halves
    // Terms of size 1, rounded as floats.
    EXPECT_FALSE(!(std::abs(report.loss.sum / report.loss.weight - loss / total) <= 1e-6));
    for (size_t c = 0; c < kClasses; ++c) {
      const double moved = double{b[c]} - net.parameters().value(1).f32()[c];
      EXPECT_FALSE(!(std::abs(moved - slope[c] / total) <= 1e-6)) << parts << " " << c;
    }
  }
}

TEST(PartsTest, ThatDoNotFitAreRefused) {
  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, Sequential(Linear(1)), MseLoss(), {.input = {8, kFeatures}, .shards = 4})
          .value();
  EXPECT_FALSE(TrainingStep::Make(net, {.parts = 0}).ok());
  EXPECT_FALSE(TrainingStep::Make(net, {.clip_norm = -1.0}).ok());
  const auto step = TrainingStep::Make(net, {.parts = 2}).value();
  EXPECT_EQ(step->largest_batch(), 16);
  const Samples samples(17);
  const std::array inputs{samples.x(), samples.numbers()};
  Sgd sgd;
  const uint64_t before = ModelHash(net);
  const Status status =
      step->Run({.inputs = inputs, .samples = 17, .global_samples = 17}, 0, sgd, 0.1).status();
  EXPECT_THAT(status.message(), HasSubstr("(16, 6) or fewer samples"));
  EXPECT_EQ(ModelHash(net), before);
}

// ---- Optimizers in turn -------------------------------------------------------------------------

Network SmallNetwork(Context& ctx) {
  return Network::Bind(ctx, BnMlp(8, 1), MseLoss(), {.input = {32, kFeatures}, .seed = 4}).value();
}

// TrainStep by its parts: what one optimizer remembers is not the other's.
void StepByHand(Network& net, Optimizer& optimizer, const Samples& samples, uint64_t index) {
  ASSERT_TRUE(net.Gradients(samples.x(), samples.numbers(), {.index = index}).ok());
  const ParameterWriter write = net.Write();
  if (!optimizer.bound()) {
    ASSERT_TRUE(optimizer.Bind(net.context(), *write).ok());
  }
  ASSERT_TRUE(optimizer.Update(net.context(), *write, optimizer.learning_rate()).ok());
}

TEST(OptimizersTest, TwoTakeTurns) {
  Context ctx({.threads = 1});
  Network net = SmallNetwork(ctx), by_hand = SmallNetwork(ctx);
  AdamW adam({.lr = 1e-2}), adam2({.lr = 1e-2});
  Sgd sgd({.lr = 1e-2, .momentum = 0.9}), sgd2({.lr = 1e-2, .momentum = 0.9});
  const Samples fresh(10, 50);
  for (uint64_t i = 0; i < 6; ++i) {
    const Samples samples(32, i);
    const bool first = i % 3 != 1;
    ASSERT_TRUE(
        net.TrainStep(samples.x(), samples.numbers(), first ? static_cast<Optimizer&>(adam) : sgd)
            .ok());
    StepByHand(by_hand, first ? static_cast<Optimizer&>(adam2) : sgd2, samples, i);
    ASSERT_EQ(ModelHash(net), ModelHash(by_hand)) << i;
    ASSERT_EQ(Predictions(net, fresh), Predictions(by_hand, fresh)) << i;
  }
  EXPECT_EQ(adam.step_count(), 4);
  EXPECT_EQ(sgd.step_count(), 2);
}

TEST(OptimizersTest, ANewOneForEveryEpoch) {
  Context ctx({.threads = 1});
  Network net = SmallNetwork(ctx), by_hand = SmallNetwork(ctx);
  uint64_t index = 0;
  for (int epoch = 0; epoch < 3; ++epoch) {
    const double lr = 1e-2 / (1 + epoch);
    // On the heap, where the next may well lie in the same place.
    const auto adam = std::make_unique<AdamW>(AdamWOptions{.lr = lr});
    const auto adam2 = std::make_unique<AdamW>(AdamWOptions{.lr = lr});
    for (int i = 0; i < 3; ++i, ++index) {
      const Samples samples(32, index);
      ASSERT_TRUE(net.TrainStep(samples.x(), samples.numbers(), *adam).ok());
      StepByHand(by_hand, *adam2, samples, index);
    }
    ASSERT_EQ(ModelHash(net), ModelHash(by_hand)) << epoch;
    EXPECT_EQ(adam->step_count(), 3);
  }
}

// ---- Arguments that are refused -----------------------------------------------------------------

class RefusedTest : public testing::Test {
 protected:
  void ExpectRefused(std::vector<ConstTensor> inputs, const std::string& message) {
    const uint64_t before = ModelHash(net_);
    const auto refused = [&](const char* call, const Status& status) {
      EXPECT_EQ(status.code(), Code::kInvalid) << call;
      EXPECT_THAT(status.message(), HasSubstr(message)) << call;
    };
    refused("TrainStep", net_.TrainStep(inputs, adam_).status());
    refused("Gradients", net_.Gradients(inputs).status());
    refused("Evaluate", net_.Evaluate(inputs).status());
    EXPECT_EQ(ModelHash(net_), before);
  }
  void ExpectNoPrediction(ConstTensor x, Tensor y, const std::string& message) {
    const Status status = net_.Predict(x, y);
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr(message));
  }

  Context ctx_{{.threads = 1}};
  Network net_ = SmallNetwork(ctx_);
  AdamW adam_;
  Samples samples_{32};
  std::vector<int32_t> ids_ = std::vector<int32_t>(32 * kFeatures);
};

TEST_F(RefusedTest, AnotherType) {
  ExpectRefused({ConstTensor(ids_.data(), {32, kFeatures}), samples_.numbers()}, "x is i32");
  ExpectRefused({samples_.x(), ConstTensor(ids_.data(), {32, 1})}, "target is i32");
  std::vector<float> y(32);
  ExpectNoPrediction(ConstTensor(ids_.data(), {32, kFeatures}), Tensor(y.data(), {32, 1}),
                     "x is i32");
  ExpectNoPrediction(samples_.x(), Tensor(ids_.data(), {32, 1}), "y ");
}

TEST_F(RefusedTest, NoData) {
  const float* none = nullptr;
  ExpectRefused({ConstTensor(none, {32, kFeatures}), samples_.numbers()}, "x is null");
  ExpectRefused({samples_.x(), ConstTensor(none, {32, 1})}, "target is null");
  ExpectRefused({ConstTensor(), samples_.numbers()}, "x is ");
  ExpectRefused({samples_.x(), ConstTensor()}, "target is ");
  std::vector<float> y(32);
  ExpectNoPrediction(ConstTensor(none, {32, kFeatures}), Tensor(y.data(), {32, 1}), "x is null");
  ExpectNoPrediction(samples_.x(), Tensor(static_cast<float*>(nullptr), {32, 1}), "y is null");
}

TEST_F(RefusedTest, OtherNumbersOfSamples) {
  const Samples more(33), fewer(31);
  ExpectRefused({samples_.x(), fewer.numbers()}, "target has 31 samples, x has 32");
  ExpectRefused({fewer.x(), samples_.numbers()}, "target has 32 samples, x has 31");
  ExpectRefused({more.x(), more.numbers()}, "x is f32 of shape (33, 6)");
  ExpectRefused({ConstTensor(samples_.features.data(), {0, kFeatures}),
                 ConstTensor(samples_.values.data(), {0, 1})},
                "batch is empty");
  std::vector<float> y(33);
  ExpectNoPrediction(more.x(), Tensor(y.data(), {33, 1}), "x is f32 of shape (33, 6)");
  ExpectNoPrediction(samples_.x(), Tensor(y.data(), {31, 1}), "y has the shape (31, 1)");
}

TEST_F(RefusedTest, AnotherShape) {
  ExpectRefused({ConstTensor(samples_.features.data(), {32, kFeatures - 1}), samples_.numbers()},
                "x is f32 of shape (32, 5)");
  ExpectRefused({ConstTensor(samples_.features.data(), {32 * kFeatures}), samples_.numbers()},
                "x is f32 of shape (192)");
  ExpectRefused({samples_.x(), ConstTensor(samples_.values.data(), {32})},
                "target is f32 of shape (32)");
}

TEST_F(RefusedTest, MissingTensors) {
  ExpectRefused({samples_.x()}, "x, target");
  ExpectRefused({}, "x, target");
  ExpectRefused({samples_.x(), samples_.numbers(), samples_.x()}, "x, target");
  const Status status = net_.Predict(std::span<const ConstTensor>(), std::span<const Tensor>());
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("(x)"));
}

}  // namespace
}  // namespace lockstep::toy
