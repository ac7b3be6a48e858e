// What a user sees of a network: probabilities, from raw features, one sample at a time or many.
#include "engine/train/predictor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "layers/loss/pinball.h"
#include "models/mlp.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kInputs = 20, kSamples = 37;

std::vector<float> Features() {
  Random random(5, StreamOf("features"));
  std::vector<float> x(static_cast<size_t>(kSamples * kInputs));
  for (float& v : x) v = static_cast<float>(100.0 + 10.0 * random.Normal());
  return x;
}

Standardizer Measured() {
  return Standardizer::FromVectors(std::vector<float>(kInputs, 100.0f),
                                   std::vector<float>(kInputs, 10.0f))
      .value();
}

Network Make(Context& ctx, int64_t outputs, MlpOptions::Norm norm) {
  return Network::Bind(ctx, Mlp({.hidden = {64, 32}, .outputs = outputs, .norm = norm}),
                       {.input = {kSamples, kInputs}, .seed = 2})
      .value();
}

TEST(PredictorTest, ASampleGetsTheSameBitsAloneAsInABatch) {
  Context ctx({.threads = 2});
  const std::vector<float> x = Features();
  for (const auto norm : {MlpOptions::Norm::kBatch, MlpOptions::Norm::kNone}) {
    for (const int64_t outputs : {1, 3, 10}) {
      Network net = Make(ctx, outputs, norm);
      const Task task = outputs == 1 ? Task::kBinary : Task::kClasses;
      Predictor predictor = Predictor::Make(net, task, Measured()).value();
      std::vector<float> all(static_cast<size_t>(kSamples * outputs)), some(all.size());
      ASSERT_TRUE(predictor
                      .Run(ConstTensor(x.data(), {kSamples, kInputs}),
                           Tensor(all.data(), {kSamples, outputs}))
                      .ok());
      for (const int64_t count : {1, 2, 5}) {
        for (int64_t i = 0; i < kSamples; i += count) {
          const int64_t n = std::min(count, kSamples - i);
          ASSERT_TRUE(predictor
                          .Run(ConstTensor(x.data() + i * kInputs, {n, kInputs}),
                               Tensor(some.data() + i * outputs, {n, outputs}))
                          .ok());
        }
        EXPECT_EQ(some, all) << outputs << " outputs, " << count << " at a time";
      }
    }
  }
}

TEST(PredictorTest, GivesProbabilitiesOfStandardisedFeatures) {
  Context ctx({.threads = 1});
  const std::vector<float> x = Features();
  std::vector<float> standardized = x;
  Measured().Apply(Tensor(standardized.data(), {kSamples, kInputs}));
  const ConstTensor raw(x.data(), {kSamples, kInputs});
  Network net = Make(ctx, 1, MlpOptions::Norm::kBatch);
  std::vector<float> logits(kSamples), p(kSamples), value(kSamples);
  ASSERT_TRUE(net.Predict(ConstTensor(standardized.data(), {kSamples, kInputs}),
                          Tensor(logits.data(), {kSamples, 1}))
                  .ok());
  Predictor binary = Predictor::Make(net, Task::kBinary, Measured()).value();
  ASSERT_TRUE(binary.Run(raw, Tensor(p.data(), {kSamples, 1})).ok());
  Predictor regression = Predictor::Make(net, Task::kRegression, Measured()).value();
  ASSERT_TRUE(regression.Run(raw, Tensor(value.data(), {kSamples, 1})).ok());
  EXPECT_EQ(value, logits);
  for (size_t i = 0; i < p.size(); ++i) {
    // The kernel's sigmoid is within a few units in the last place.
    const double expected = 1.0 / (1.0 + std::exp(-static_cast<double>(logits[i])));
    EXPECT_TRUE(std::abs(p[i] - expected) <= 4e-7) << i;
  }
}

TEST(PredictorTest, QuantilesOfEachTargetComeInAscendingOrder) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Linear(6)), PinballLoss({0.1, 0.5, 0.9}),
                              {.input = {kSamples, kInputs}, .seed = 3})
                    .value();
  const std::vector<float> x = Features();
  const ConstTensor samples(x.data(), {kSamples, kInputs});
  std::vector<float> raw(kSamples * 6), y(kSamples * 6);
  ASSERT_TRUE(net.Predict(samples, {raw.data(), {kSamples, 6}}).ok());
  Predictor predictor = Predictor::Make(net, Task::kRegression).value();
  ASSERT_TRUE(predictor.Run(samples, {y.data(), {kSamples, 6}}).ok());
  EXPECT_NE(y, raw);  // some do cross in a network that has not learned
  for (auto at = raw.begin(); at != raw.end(); at += 3) std::sort(at, at + 3);
  EXPECT_EQ(y, raw);
}

TEST(PredictorTest, AnswersAsTheDecisionSaysAndInTheUnitOfTheTargets) {
  Context ctx({.threads = 1});
  const std::vector<float> x = Features();
  const ConstTensor raw(x.data(), {kSamples, kInputs});
  Network net = Make(ctx, 1, MlpOptions::Norm::kNone);
  std::vector<float> logits(kSamples), p(kSamples), value(kSamples);
  Predictor plain = Predictor::Make(net, Task::kRegression, Measured()).value();
  ASSERT_TRUE(plain.Run(raw, Tensor(logits.data(), {kSamples, 1})).ok());
  Predictor binary =
      Predictor::Make(net, Task::kBinary, Measured(), {.temperature = 2.5f, .threshold = 0.25f})
          .value();
  ASSERT_TRUE(binary.Run(raw, Tensor(p.data(), {kSamples, 1})).ok());
  DatasetInfo samples{.task = Task::kRegression};
  samples.target_offset = 100.0;
  samples.target_scale = 8.0;
  Predictor regression = Predictor::Make(net, samples, Measured()).value();
  ASSERT_TRUE(regression.Run(raw, Tensor(value.data(), {kSamples, 1})).ok());
  for (size_t i = 0; i < p.size(); ++i) {
    const double expected = 1.0 / (1.0 + std::exp(-static_cast<double>(logits[i]) / 2.5));
    EXPECT_TRUE(std::abs(p[i] - expected) <= 4e-7) << i;
    EXPECT_EQ(value[i], static_cast<float>(logits[i] * 8.0 + 100.0)) << i;
  }
  EXPECT_EQ(binary.ClassOf(std::vector<float>{0.25f}), 0);
  EXPECT_EQ(binary.ClassOf(std::vector<float>{0.26f}), 1);
  binary.set_decision({});
  EXPECT_EQ(binary.ClassOf(std::vector<float>{0.26f}), 0);
}

TEST(PredictorTest, StandardisesAsManySamplesAsAreEvaluatedAtATime) {
  Context ctx({.threads = 1});
  const std::vector<float> x = Features();
  Network net = Network::Bind(ctx, Mlp({.hidden = {8}, .outputs = 1}),
                              {.input = {5, kInputs}, .seed = 2, .evaluation_batch = kSamples})
                    .value();
  Predictor predictor = Predictor::Make(net, Task::kBinary, Measured()).value();
  std::vector<float> all(kSamples), one(kSamples);
  ASSERT_TRUE(predictor.Run({x.data(), {kSamples, kInputs}}, {all.data(), {kSamples, 1}}).ok());
  for (int64_t i = 0; i < kSamples; ++i)
    ASSERT_TRUE(
        predictor
            .Run({x.data() + i * kInputs, {1, kInputs}}, {&one[static_cast<size_t>(i)], {1, 1}})
            .ok());
  EXPECT_EQ(one, all);
}

TEST(PredictorTest, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1});
  Network net = Make(ctx, 1, MlpOptions::Norm::kBatch);
  EXPECT_FALSE(
      Predictor::Make(net, Task::kBinary, Standardizer::FromVectors({0.0f}, {1.0f}).value()).ok());
  Predictor predictor = Predictor::Make(net, Task::kBinary, Measured()).value();
  std::vector<float> x(static_cast<size_t>((kSamples + 1) * kInputs)), y(kSamples + 1);
  EXPECT_FALSE(
      predictor
          .Run(ConstTensor(x.data(), {kSamples + 1, kInputs}), Tensor(y.data(), {kSamples + 1, 1}))
          .ok());
  EXPECT_FALSE(
      predictor.Run(ConstTensor(x.data(), {1, kInputs + 1}), Tensor(y.data(), {1, 1})).ok());
}

// Between the bound batch and the larger one for evaluation, features are standardised, too.
TEST(PredictorTest, StandardisesAsManySamplesAsTheNetworkTakes) {
  Context ctx({.threads = 1});
  const std::vector<float> x = Features();
  const auto p = [&](int64_t batch, int64_t evaluation_batch) {
    Network net =
        Network::Bind(ctx, Mlp({.hidden = {8}, .outputs = 1}),
                      {.input = {batch, kInputs}, .seed = 2, .evaluation_batch = evaluation_batch})
            .value();
    Predictor predictor = Predictor::Make(net, Task::kBinary, Measured()).value();
    std::vector<float> y(kSamples);
    EXPECT_TRUE(
        predictor.Run(ConstTensor(x.data(), {kSamples, kInputs}), Tensor(y.data(), {kSamples, 1}))
            .ok());
    return y;
  };
  EXPECT_EQ(p(4, kSamples), p(kSamples, 0));
}

TEST(PredictorTest, RefusesWhatDoesNotFitAndSaysWhat) {
  Context ctx({.threads = 1});
  const std::vector<float> x = Features();
  const std::vector<double> doubles(x.begin(), x.end());
  Network net = Make(ctx, 1, MlpOptions::Norm::kBatch);
  std::vector<float> y(kSamples), both(static_cast<size_t>(kSamples * kInputs));
  for (const bool standardizes : {false, true}) {
    Predictor predictor =
        Predictor::Make(net, Task::kBinary, standardizes ? std::optional(Measured()) : std::nullopt)
            .value();
    const Tensor all(y.data(), {kSamples, 1});
    const auto refused = [&](ConstTensor in, Tensor out, const char* message) {
      const Status status = predictor.Run(in, out);
      EXPECT_EQ(status.code(), Code::kInvalid);
      EXPECT_NE(status.message().find(message), std::string::npos) << status.message();
    };
    refused(ConstTensor(doubles.data(), {kSamples, kInputs}), all, "convert it to floats");
    refused(ConstTensor(static_cast<const float*>(nullptr), {kSamples, kInputs}), all, "x is null");
    refused(ConstTensor(x.data(), {kSamples, kInputs - 1}), all, "x is f32 of shape");
    refused(ConstTensor(x.data(), {0, kInputs}), Tensor(y.data(), {0, 1}), "the batch is empty");
    refused(ConstTensor(x.data(), {kSamples, kInputs}), Tensor(), "y has the shape");
    refused(ConstTensor(), all, "x is f32 of shape ()");
    if (!standardizes)
      refused(ConstTensor(both.data(), {kSamples, kInputs}), Tensor(both.data(), {kSamples, 1}),
              "y lies in the memory of x");
    const Predictor moved = std::move(predictor);
    refused(ConstTensor(x.data(), {kSamples, kInputs}), all, "moved from");  // NOLINT
  }
}

}  // namespace
}  // namespace lockstep
