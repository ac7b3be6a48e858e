// Derivatives of what a user is told, by features as the user has them.
#include "engine/train/prediction_jacobian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/predictor.h"
#include "layers/activation.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/pinball.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kInputs = 4, kSamples = 9, kBatch = 5;

std::vector<float> Features() {
  Random random(5, StreamOf("features"));
  std::vector<float> x(static_cast<size_t>(kSamples * kInputs));
  for (float& v : x) v = static_cast<float>(100.0 + 10.0 * random.Normal());
  return x;
}

// The third feature is constant.
Standardizer Measured() {
  return Standardizer::FromVectors({100.0f, 90.0f, 7.0f, 110.0f}, {10.0f, 20.0f, 0.0f, 5.0f})
      .value();
}

Network Make(Context& ctx, int64_t outputs) {
  return Network::Bind(ctx, Sequential(Linear(8), Tanh(), Linear(outputs)),
                       {.input = {kBatch, kInputs}, .seed = 2})
      .value();
}

// What the Jacobian says of feature i of sample s against differences of Predictor::Run. Features
// are around 100 and predictions p around `size`, both floats: a difference over h is off by about
// 2^-24 (100 p' + size) / h, and by h^2 p'''.
void ExpectDifferences(Network& net, const DatasetInfo& samples, const Decision& decision,
                       double size) {
  Predictor predictor = Predictor::Make(net, samples, Measured(), decision).value();
  PredictionJacobian jacobian =
      PredictionJacobian::Make(net, samples, Measured(), decision).value();
  const int64_t outputs = jacobian.outputs();
  std::vector<float> x = Features();
  std::vector<float> j(static_cast<size_t>(kSamples * outputs * kInputs), NAN);
  std::vector<float> p(static_cast<size_t>(kSamples * outputs), NAN), q(p.size());
  const Shape in{kSamples, kInputs}, out{kSamples, outputs};
  ASSERT_TRUE(
      jacobian.Run({x.data(), in}, {j.data(), {kSamples, outputs, kInputs}}, {p.data(), out}).ok());
  const auto run = [&](std::vector<float>& to) {
    for (int64_t s = 0; s < kSamples; s += kBatch) {
      const int64_t n = std::min(kBatch, kSamples - s);
      ASSERT_TRUE(
          predictor
              .Run({x.data() + s * kInputs, {n, kInputs}}, {to.data() + s * outputs, {n, outputs}})
              .ok());
    }
  };
  run(q);
  EXPECT_EQ(p, q);  // there is no norm that could be folded
  double largest = 0.0;
  for (const float v : j) largest = std::max(largest, std::abs(static_cast<double>(v)));
  EXPECT_GT(largest, 0.0);
  std::vector<float> above(p.size()), below(p.size());
  for (int64_t i = 0; i < kInputs; ++i) {
    constexpr float kStep = 0.25f;
    for (int64_t s = 0; s < kSamples; ++s) x[static_cast<size_t>(s * kInputs + i)] += kStep;
    run(above);
    for (int64_t s = 0; s < kSamples; ++s) x[static_cast<size_t>(s * kInputs + i)] -= 2 * kStep;
    run(below);
    x = Features();
    for (int64_t at = 0; at < kSamples * outputs; ++at) {
      const auto k = static_cast<size_t>(at);
      const double slope = static_cast<double>(above[k] - below[k]) / (2 * kStep);
      const double got = j[static_cast<size_t>(at * kInputs + i)];
      EXPECT_TRUE(std::abs(got - slope) <= 4e-3 * largest + 4 * 0x1p-24 * size / kStep)
          << at << " by " << i << ": " << got << " and " << slope;
      if (i == 2) {
        EXPECT_EQ(got, 0.0);
      }
    }
  }
}

TEST(PredictionJacobianTest, IsInTheUnitsOfTheData) {
  Context ctx({.threads = 1});
  Network net = Make(ctx, 2);
  DatasetInfo samples{.task = Task::kRegression};
  samples.target_offset = 100.0;
  samples.target_scale = 8.0;
  ExpectDifferences(net, samples, {}, 100.0);
}

TEST(PredictionJacobianTest, IsOfProbabilities) {
  Context ctx({.threads = 1});
  for (const float temperature : {1.0f, 2.5f}) {
    Network one = Make(ctx, 1), three = Make(ctx, 3);
    ExpectDifferences(one, {.task = Task::kBinary}, {.temperature = temperature}, 1.0);
    ExpectDifferences(three, {.task = Task::kClasses}, {.temperature = temperature}, 1.0);
  }
}

TEST(PredictionJacobianTest, RowsOfQuantilesGoWithThem) {
  Context ctx({.threads = 1});
  const Shape in{kBatch, kInputs}, out{kBatch, 6};
  Network net = Network::Bind(ctx, Sequential(Linear(6)), PinballLoss({0.1, 0.5, 0.9}),
                              {.input = in, .seed = 3})
                    .value();
  const std::vector<float> x = Features();
  PredictionJacobian jacobian =
      PredictionJacobian::Make(net, DatasetInfo{.task = Task::kRegression}).value();
  std::vector<float> j(kBatch * 6 * kInputs), p(kBatch * 6), raw(p.size());
  ASSERT_TRUE(jacobian.Run({x.data(), in}, {j.data(), {kBatch, 6, kInputs}}, {p.data(), out}).ok());
  ASSERT_TRUE(net.Predict({x.data(), in}, {raw.data(), out}).ok());
  const float* weight = net.parameters().value(0).f32();  // (6, inputs)
  bool crossed = false;
  for (size_t s = 0; s < kBatch; ++s) {
    for (size_t k = 0; k < 6; ++k) {
      // Which output this is.
      const auto begin = raw.begin() + static_cast<std::ptrdiff_t>(6 * s + k / 3 * 3);
      const auto from = static_cast<size_t>(std::find(begin, begin + 3, p[6 * s + k]) - begin);
      ASSERT_LT(from, 3u);
      crossed = crossed || from != k % 3;
      for (size_t i = 0; i < kInputs; ++i) {
        EXPECT_EQ(j[(6 * s + k) * kInputs + i], weight[(k / 3 * 3 + from) * kInputs + i])
            << s << k << i;
      }
    }
  }
  EXPECT_TRUE(crossed);
}

TEST(PredictionJacobianTest, AMissingFeatureHasNoDerivative) {
  Context ctx({.threads = 1});
  Network net = Make(ctx, 1);
  PredictionJacobian jacobian =
      PredictionJacobian::Make(net, DatasetInfo{.task = Task::kRegression}, Measured()).value();
  std::vector<float> x = Features(), j(kInputs);
  x[1] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(jacobian.Run({x.data(), {1, kInputs}}, {j.data(), {1, 1, kInputs}}).ok());
  EXPECT_NE(j[0], 0.0f);
  EXPECT_EQ(j[1], 0.0f);
}

TEST(PredictionJacobianTest, SaysWhatDoesNotFit) {
  Context ctx({.threads = 1});
  Network net = Make(ctx, 1);
  const Standardizer other = Standardizer::FromVectors({0.0f}, {1.0f}).value();
  EXPECT_FALSE(PredictionJacobian::Make(net, DatasetInfo{.task = Task::kRegression}, other).ok());
  PredictionJacobian jacobian =
      PredictionJacobian::Make(net, DatasetInfo{.task = Task::kRegression}, Measured()).value();
  std::vector<float> x = Features(), j(kInputs);
  EXPECT_THAT(jacobian.Run({x.data(), {1, 3}}, {j.data(), {1, 1, kInputs}}).message(),
              HasSubstr("expected f32 (1, 4)"));
  EXPECT_THAT(jacobian.Run({x.data(), {1, kInputs}}, {j.data(), {1, 1, 3}}).message(),
              HasSubstr("(1, 1, 4)"));
  EXPECT_TRUE(jacobian.Run({x.data(), {0, kInputs}}, {j.data(), {0, 1, kInputs}}).ok());
}

}  // namespace
}  // namespace lockstep
