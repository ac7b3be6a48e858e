#include "engine/train/assess/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/decision.h"

namespace lockstep::inline v0_1 {
namespace {

Predictions Binary(std::vector<float> logits, std::vector<float> truths) {
  const auto size = static_cast<int64_t>(logits.size());
  return {.reading = Reading::kPositive,
          .columns = 1,
          .outputs = std::move(logits),
          .truths = std::move(truths),
          .indices = AllIndices(size)};
}

TEST(Calibration, BinsHoldTheirUpperEndAndEmptyOnesAreLeftOut) {
  // 0.5 is exact, and 5 / 10 is the upper end of the fifth bin.
  const std::vector<float> p = {0.0f, 0.5f, 0.51f, 1.0f}, happened = {0, 1, 0, 1};
  const std::vector<CalibrationBin> curve = CalibrationCurve(p, happened);
  ASSERT_EQ(curve.size(), 4u);
  EXPECT_EQ(curve[0].low, 0.0);
  EXPECT_EQ(curve[1].high, 0.5);
  EXPECT_EQ(curve[2].low, 0.5);
  EXPECT_EQ(curve[3].high, 1.0);
  EXPECT_EQ(curve[1].so, 1.0);
  EXPECT_NEAR(ExpectedCalibrationError(curve), (0.0 + 0.5 + 0.51 + 0.0) / 4, 1e-7);
  EXPECT_TRUE(CalibrationCurve({}, {}).empty());
  EXPECT_EQ(ExpectedCalibrationError({}), 0.0);
}

TEST(Calibration, ProbabilitiesThatComeTrueAsOftenHaveNoError) {
  std::vector<float> p, happened;
  for (int i = 0; i < 1000; ++i) {
    p.push_back(0.25f);
    happened.push_back(i % 4 == 0 ? 1.0f : 0.0f);
  }
  const std::vector<CalibrationBin> curve = CalibrationCurve(p, happened);
  ASSERT_EQ(curve.size(), 1u);
  EXPECT_EQ(ExpectedCalibrationError(curve), 0.0);
  EXPECT_TRUE(curve[0].so_interval.low < 0.25 && curve[0].so_interval.high > 0.25);
}

TEST(Calibration, TheTemperatureUndoesTheOneThatOutputsWereDrawnWith) {
  // Labels are drawn by the probabilities of z; the network says 3 z.
  Random random(11, 0);
  std::vector<float> logits, labels, classes_logits;
  std::vector<int32_t> classes;
  for (int i = 0; i < 20000; ++i) {
    const double z = 1.5 * random.Normal();
    labels.push_back(random.Uniform() < 1.0 / (1.0 + std::exp(-z)) ? 1.0f : 0.0f);
    logits.push_back(static_cast<float>(3.0 * z));
    // Three classes, Gumbel's trick.
    double best = -1e9;
    int32_t truth = 0;
    for (int32_t c = 0; c < 3; ++c) {
      const double of = 1.5 * random.Normal();
      const double drawn = of - std::log(-std::log(random.Uniform() + 1e-300));
      if (drawn > best) best = drawn, truth = c;
      classes_logits.push_back(static_cast<float>(3.0 * of));
    }
    classes.push_back(truth);
  }
  // The deviation of T is about T / sqrt(samples * information), here below 0.05: four of them.
  const auto binary = FitTemperature(Binary(logits, labels));
  ASSERT_TRUE(binary.has_value());
  EXPECT_TRUE(std::abs(*binary - 3.0f) <= 0.2f) << *binary;
  const auto many = FitTemperature({.reading = Reading::kOneOf,
                                    .columns = 3,
                                    .outputs = classes_logits,
                                    .classes = classes,
                                    .indices = AllIndices(20000)});
  ASSERT_TRUE(many.has_value());
  EXPECT_TRUE(std::abs(*many - 3.0f) <= 0.2f) << *many;
}

TEST(Calibration, ThereIsNoTemperatureWhereEverySampleIsRightOrGuessingIsBetter) {
  EXPECT_FALSE(FitTemperature(Binary({3, 2, -1, -4}, {1, 1, 0, 0})));
  EXPECT_FALSE(FitTemperature(Binary({-3, -2, 1, 4}, {1, 1, 0, 0})));
  EXPECT_FALSE(FitTemperature(Binary({0, 0, 0, 0}, {1, 0, 1, 0})));  // nothing to scale
  EXPECT_FALSE(FitTemperature({.reading = Reading::kOneOf,
                               .columns = 2,
                               .outputs = {5, 1, 0, 2},
                               .classes = {0, 1},
                               .indices = {0, 1}}));
}

TEST(Calibration, TheLossIsFiniteWhereProbabilitiesRoundToNothing) {
  EXPECT_NEAR(LogLoss(Binary({200, -300}, {0, 1}), 1.0), 250.0, 1e-9);
  EXPECT_NEAR(LogLoss(Binary({200, -300}, {0, 1}), 10.0), 25.0 + 0.5 * std::log1p(std::exp(-20.0)),
              1e-11);
  EXPECT_NEAR(LogLoss({.reading = Reading::kOneOf,
                       .columns = 3,
                       .outputs = {500, 0, 0},
                       .classes = {2},
                       .indices = {0}},
                      1.0),
              500.0, 1e-9);
}

TEST(Calibration, ClaimsOfManyClassesAreThoseOfThePredictedOne) {
  const Predictions predictions{.reading = Reading::kOneOf,
                                .columns = 3,
                                .outputs = {2, 0, 0, 0, 0, 1},
                                .classes = {0, 1},
                                .indices = {0, 1}};
  const std::vector<float> p = predictions.Probabilities(1.0f);
  const Claims claims = ClaimsOf(predictions, p);
  EXPECT_EQ(claims.p, (std::vector<float>{p[0], p[5]}));
  EXPECT_EQ(claims.happened, (std::vector<float>{1.0f, 0.0f}));
  // At a temperature that is nearly endless all classes are alike.
  for (const float v : predictions.Probabilities(kMostTemperature)) EXPECT_NEAR(v, 1.0 / 3, 0.01);
}

}  // namespace
}  // namespace lockstep
