// What a step promises: it happens as a whole or not at all, and optimizers may take turns.
#include "engine/train/training_step.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/optim/schedule.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/dropout.h"
#include "layers/loss/mse.h"
#include "tests/engine/train/everything.h"
#include "tests/engine/train/samples.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// ---- A step that fails --------------------------------------------------------------------------

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
      EXPECT_TRUE(copy.TakeFrom(net).ok());
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
    if (prepare) {
      ASSERT_TRUE(good.ApplyTo(net).ok());
    }
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

// Forward, the last norm has nothing to normalise (what comes in is its bias alone, 0) and gives
// its own bias, 1e-25, which the last layer brings back to sums of 1. Backward, 1e25 of the last
// layer meets 1e25 of the norm.
void MakeGradientsOverflow(Network& net) {
  ParameterWriter write = net.Write();
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
}

TEST_P(FailedStepTest, AGradientThatOverflowsChangesNothing) {
  ExpectNothingHappens([](Samples&) {}, Code::kNonFinite, "gradient of ", MakeGradientsOverflow);
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

// ---- Optimizers in turn -------------------------------------------------------------------------

// TrainStep by its parts: what one optimizer remembers is not the other's.
void StepByHand(Network& net, Optimizer& optimizer, const Samples& samples, uint64_t index) {
  ASSERT_TRUE(net.Gradients(samples.x(), samples.numbers(), {.index = index}).ok());
  ParameterWriter write = net.Write();
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

// An address says nothing: one network goes and the next may have its place.
TEST(OptimizersTest, OneOfAnotherNetworkIsRefusedThoughAllShapesAreTheSame) {
  Context ctx({.threads = 1});
  const Samples samples(32);
  AdamW adam({.lr = 1e-2});
  {
    Network first = SmallNetwork(ctx);
    ASSERT_TRUE(first.TrainStep(samples.x(), samples.numbers(), adam).ok());
    const Network moved = std::move(first);  // stays the same network
    EXPECT_TRUE(adam.CheckUpdate(moved.store().ParametersToWrite(), 0.1).ok());
  }
  for (int other = 0; other < 3; ++other) {
    Network net = SmallNetwork(ctx);
    const uint64_t before = ModelHash(net);
    const Status status = net.TrainStep(samples.x(), samples.numbers(), adam).status();
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr("an optimizer of its own"));
    EXPECT_EQ(ModelHash(net), before);
    EXPECT_EQ(adam.step_count(), 1);
    AdamW own;
    EXPECT_TRUE(net.TrainStep(samples.x(), samples.numbers(), own).ok());
  }
}

TEST(OptimizersTest, TheLearningRateChangesBetweenSteps) {
  Context ctx({.threads = 1});
  Network net = SmallNetwork(ctx), by_hand = SmallNetwork(ctx);
  const OneCycleSchedule schedule;
  AdamW adam({.lr = 1e-2, .weight_decay = 0.1}), adam2({.lr = 1e-2, .weight_decay = 0.1});
  auto step = TrainingStep::Make(by_hand, {}).value();
  for (uint64_t i = 0; i < 6; ++i) {
    const Samples samples(32, i);
    const double rate = 1e-2 * ScheduleFactor(schedule, static_cast<int64_t>(i), 6);
    ASSERT_TRUE(adam.set_learning_rate(rate).ok());
    EXPECT_EQ(adam.learning_rate(), rate);
    ASSERT_TRUE(net.TrainStep(samples.x(), samples.numbers(), adam).ok());
    const std::array inputs{samples.x(), samples.numbers()};
    ASSERT_TRUE(
        step->Run({.inputs = inputs, .samples = 32, .global_samples = 32}, i, adam2, rate).ok());
    ASSERT_EQ(ModelHash(net), ModelHash(by_hand)) << i;
  }
  for (const double bad : {-1.0, static_cast<double>(kNan), HUGE_VAL}) {
    const Status status = adam.set_learning_rate(bad);
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr("0 or more"));
    const Samples samples(32);
    const std::array inputs{samples.x(), samples.numbers()};
    const uint64_t before = ModelHash(by_hand);
    EXPECT_EQ(step->Run({.inputs = inputs, .samples = 32, .global_samples = 32}, 6, adam2, bad)
                  .status()
                  .code(),
              Code::kInvalid);
    EXPECT_EQ(ModelHash(by_hand), before);
  }
}

}  // namespace
}  // namespace lockstep::toy
