// The same predictions as scikit-learn and SciPy saw them: tests/golden/make_assessment.py.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/train/assess/calibration.h"
#include "engine/train/assess/interval.h"
#include "engine/train/assess/residuals.h"
#include "engine/train/assess/scores.h"
#include "engine/train/assess/threshold.h"

namespace lockstep::inline v0_1 {
namespace {

using Json = nlohmann::json;

const Json& Golden() {
  static const Json golden = [] {
    std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/assessment.json");
    EXPECT_TRUE(in);
    return Json::parse(in);
  }();
  return golden;
}

// Written so that NaN fails.
void ExpectNear(double value, double expected, double tolerance, const std::string& what) {
  EXPECT_TRUE(std::abs(value - expected) <= tolerance)
      << what << ": " << value << ", expected " << expected;
}

// Probabilities are floats here: each is within 4e-7 of its own (the kernel's sigmoid and softmax),
// and sums of them and of their squares move by twice that at most.
constexpr double kOfFloats = 1e-6;

void ExpectScores(const Predictions& predictions, const Json& expected, double tolerance,
                  bool by_weight = false) {
  const std::vector<Score> scores = ScoresOf(predictions, {}, /*interval_samples=*/0, by_weight);
  ASSERT_EQ(scores.size(), expected.size());
  for (const Score& score : scores)
    ExpectNear(score.value, expected.at(score.name).get<double>(), tolerance, score.name);
}

Predictions BinaryFrom(const Json& json) {
  Predictions predictions{.reading = Reading::kPositive,
                          .columns = 1,
                          .outputs = json.at("logits").get<std::vector<float>>(),
                          .truths = json.at("labels").get<std::vector<float>>()};
  predictions.indices = AllIndices(static_cast<int64_t>(predictions.outputs.size()));
  return predictions;
}

Predictions ClassesFrom(const Json& json) {
  Predictions predictions{.reading = Reading::kOneOf,
                          .columns = json.at("columns").get<int64_t>(),
                          .outputs = json.at("logits").get<std::vector<float>>(),
                          .classes = json.at("truths").get<std::vector<int32_t>>()};
  predictions.indices = AllIndices(static_cast<int64_t>(predictions.classes.size()));
  return predictions;
}

Predictions ValuesFrom(const Json& json) {
  Predictions predictions{.reading = Reading::kValues,
                          .columns = 1,
                          .outputs = json.at("outputs").get<std::vector<float>>(),
                          .truths = json.at("truths").get<std::vector<float>>()};
  predictions.indices = AllIndices(static_cast<int64_t>(predictions.outputs.size()));
  return predictions;
}

TEST(AssessGolden, TwoClassesAreScoredAsScikitLearnDoes) {
  for (const Json& json : Golden().at("binary")) {
    const Predictions predictions = BinaryFrom(json);
    ExpectScores(predictions, json.at("scores"), kOfFloats);
    ExpectNear(LogLoss(predictions, 1.0), json.at("log_loss").get<double>(), 1e-12, "log loss");
    const std::vector<float> p = predictions.Probabilities(1.0f);
    const std::vector<CalibrationBin> curve = CalibrationCurve(p, predictions.truths);
    const auto said = json.at("said").get<std::vector<double>>();
    const auto so = json.at("so").get<std::vector<double>>();
    ASSERT_EQ(curve.size(), said.size());
    for (size_t b = 0; b < curve.size(); ++b) {
      ExpectNear(curve[b].said, said[b], kOfFloats, "said");
      ExpectNear(curve[b].so, so[b], 1e-8, "so");  // nine digits are written
    }
    ExpectNear(ExpectedCalibrationError(curve), json.at("ece").get<double>(), kOfFloats, "ECE");
  }
}

// As sample_weight does, where some weights are 0.
TEST(AssessGolden, WeightedSamplesAreScoredAsScikitLearnDoes) {
  const Json& golden = Golden();
  const auto expect = [](Predictions predictions, const Json& json, double tolerance) {
    predictions.weights = json.at("weights").get<std::vector<float>>();
    ExpectScores(predictions, json.at("weighted"), tolerance, /*by_weight=*/true);
    if (predictions.reading == Reading::kValues) return;
    ExpectNear(LogLoss(predictions, 1.0, predictions.weights),
               json.at("weighted_log_loss").get<double>(), 1e-12, "log loss");
    const Claims claims = ClaimsOf(predictions, predictions.Probabilities(1.0f));
    const auto curve = CalibrationCurve(claims.p, claims.happened, predictions.weights);
    ExpectNear(ExpectedCalibrationError(curve), json.at("weighted_ece").get<double>(), kOfFloats,
               "ECE");
  };
  for (const Json& json : golden.at("binary")) expect(BinaryFrom(json), json, kOfFloats);
  for (const Json& json : golden.at("classes")) expect(ClassesFrom(json), json, 2e-6);
  expect(ValuesFrom(golden.at("values")), golden.at("values"), 1e-10);
}

TEST(AssessGolden, TheThresholdByYoudenReachesTheLargestIndex) {
  for (const Json& json : Golden().at("binary")) {
    const Predictions predictions = BinaryFrom(json);
    const std::vector<float> p = predictions.Probabilities(1.0f);
    const Result<float> threshold =
        ChooseThreshold(p, predictions.truths, {.rule = ThresholdRule::kYouden});
    ASSERT_TRUE(threshold.ok());
    const Outcome outcome = OutcomeAt(p, predictions.truths, *threshold);
    const double index = static_cast<double>(outcome.true_positives) /
                             static_cast<double>(outcome.true_positives + outcome.false_negatives) -
                         static_cast<double>(outcome.false_positives) /
                             static_cast<double>(outcome.false_positives + outcome.true_negatives);
    ExpectNear(index, json.at("youden").get<double>(), 1e-12, "Youden's index");
  }
}

TEST(AssessGolden, TheTemperatureIsTheOneWithTheLeastLoss) {
  // Rounded to four digits behind the point, from a minimum found to 1e-8 or so.
  constexpr double kRounded = 0.5e-4 + 1e-6;
  for (const Json& json : Golden().at("binary")) {
    const auto temperature = FitTemperature(BinaryFrom(json));
    ASSERT_TRUE(temperature.has_value());
    ExpectNear(*temperature, json.at("temperature").get<double>(), kRounded, "temperature");
  }
  for (const Json& json : Golden().at("classes")) {
    const auto temperature = FitTemperature(ClassesFrom(json));
    ASSERT_TRUE(temperature.has_value());
    ExpectNear(*temperature, json.at("temperature").get<double>(), kRounded, "temperature");
  }
}

TEST(AssessGolden, ManyClassesAreScoredAsScikitLearnDoes) {
  for (const Json& json : Golden().at("classes")) {
    const Predictions predictions = ClassesFrom(json);
    ExpectScores(predictions, json.at("scores"), 2e-6);
    ExpectNear(LogLoss(predictions, 1.0), json.at("log_loss").get<double>(), 1e-12, "log loss");
    const std::vector<ClassScores> classes =
        ScoresByClass(predictions, predictions.Probabilities(1.0f));
    ASSERT_EQ(static_cast<int64_t>(classes.size()), predictions.columns);
    for (size_t c = 0; c < classes.size(); ++c) {
      const auto expected = [&](const char* what) { return json.at(what)[c].get<double>(); };
      ExpectNear(classes[c].recall, expected("recall"), 1e-8, "recall");
      ExpectNear(classes[c].precision, expected("precision"), 1e-8, "precision");
      ExpectNear(classes[c].f1, expected("f1"), 1e-8, "f1");
      ASSERT_TRUE(classes[c].auc.has_value());
      ExpectNear(*classes[c].auc, expected("auc"), 1e-8, "auc");
      EXPECT_EQ(classes[c].samples, json.at("support")[c].get<int64_t>());
    }
  }
}

TEST(AssessGolden, NumbersAreScoredAsScikitLearnDoes) {
  const Json& json = Golden().at("values");
  const Predictions predictions = ValuesFrom(json);
  ExpectScores(predictions, json.at("scores"), 1e-10);
  const Residuals residuals = ResidualsOf(predictions, 0);
  const auto quantiles = json.at("quantiles").get<std::vector<double>>();
  const double ours[] = {residuals.least, residuals.q05, residuals.median, residuals.q95,
                         residuals.most};
  // Nine digits are written of numbers below 1000.
  for (size_t q = 0; q < 5; ++q) ExpectNear(ours[q], quantiles[q], 1e-6, "quantile");
  ASSERT_EQ(residuals.largest.size(), 10u);
  EXPECT_EQ(residuals.largest[0].index, json.at("largest").get<int64_t>());
}

TEST(AssessGolden, IntervalsAreSciPys) {
  const Json& golden = Golden();
  for (const Json& row : golden.at("wilson")) {
    const Interval interval = ShareInterval(row[0].get<int64_t>(), row[1].get<int64_t>());
    ExpectNear(interval.low, row[2].get<double>(), 1e-9, "low");
    ExpectNear(interval.high, row[3].get<double>(), 1e-9, "high");
  }
  const Json& json = golden.at("bootstrap");
  const auto x = json.at("x").get<std::vector<double>>();
  const Measure mean = [&](std::span<const double> weights, std::span<double> values) {
    values[0] = 0.0;
    for (size_t i = 0; i < x.size(); ++i)
      values[0] += weights[i] * x[i] / static_cast<double>(x.size());
  };
  const auto interval = Bootstrap(static_cast<int64_t>(x.size()), 1, mean, /*draws=*/20000)[0];
  ASSERT_TRUE(interval.has_value());
  const double low = json.at("low").get<double>(), high = json.at("high").get<double>();
  // Other draws: the 2.5th percentile of n draws from about a normal distribution of deviation s
  // has the deviation s sqrt(q (1 - q) / n) / density = 2.67 s / sqrt(n), of 20,000 of ours and
  // 100,000 of theirs 0.0207 s; four of these, s = (high - low) / 3.92.
  const double tolerance = 4 * 0.0207 * (high - low) / 3.92;
  ExpectNear(interval->low, low, tolerance, "low");
  ExpectNear(interval->high, high, tolerance, "high");
}

}  // namespace
}  // namespace lockstep
