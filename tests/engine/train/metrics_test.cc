#include "engine/train/metrics.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// The definition, pair by pair.
double AucByPairs(const std::vector<float>& scores, const std::vector<float>& labels) {
  double wins = 0.0, pairs = 0.0;
  for (size_t i = 0; i < scores.size(); ++i) {
    for (size_t j = 0; j < scores.size(); ++j) {
      if (!(labels[i] > 0.5f && labels[j] < 0.5f)) continue;
      pairs += 1.0;
      wins += scores[i] > scores[j] ? 1.0 : scores[i] == scores[j] ? 0.5 : 0.0;
    }
  }
  return wins / pairs;
}

TEST(AucTest, CountsPairsExactlyTiesIncluded) {
  Random random(3, StreamOf("auc"));
  for (const uint64_t levels :
       {uint64_t{1}, uint64_t{3}, uint64_t{1000}}) {  // of ties: many to few
    std::vector<float> scores, labels;
    for (int i = 0; i < 301; ++i) {
      scores.push_back(static_cast<float>(random.Below(levels)) - 1.0f);
      labels.push_back(random.Below(4) == 0 ? 1.0f : 0.0f);
    }
    // Both are a whole number of halves over a whole number: no rounding before the division.
    EXPECT_EQ(Auc(scores, labels).value(), AucByPairs(scores, labels)) << levels;
  }
}

TEST(AucTest, IsOneWhenSeparatedZeroWhenReversedHalfWhenAllEqual) {
  const std::vector<float> labels = {0, 0, 1, 1};
  EXPECT_EQ(Auc(std::vector<float>{1, 2, 3, 4}, labels), 1.0);
  EXPECT_EQ(Auc(std::vector<float>{4, 3, 2, 1}, labels), 0.0);
  EXPECT_EQ(Auc(std::vector<float>{2, 2, 2, 2}, labels), 0.5);
  EXPECT_EQ(Auc(std::vector<float>{0.0f, -0.0f, 0.0f, -0.0f}, labels), 0.5);  // zeros are equal
}

TEST(AucTest, NeedsBothClasses) {
  EXPECT_EQ(Auc(std::vector<float>{1, 2}, std::vector<float>{1, 1}), std::nullopt);
  EXPECT_EQ(Auc(std::vector<float>{1, 2}, std::vector<float>{0, 0}), std::nullopt);
  EXPECT_EQ(Auc({}, {}), std::nullopt);
}

TEST(MetricTest, NamesGoBothWays) {
  for (const Metric metric : kMetrics) {
    EXPECT_EQ(*MetricFromName(NameOf(metric)), metric);
  }
  EXPECT_THAT(MetricFromName("f1").status().message(),
              HasSubstr("loss, accuracy, auc, mae, r2, exact, perplexity, bits_per_byte"));
  EXPECT_FALSE(LargerIsBetter(Metric::kLoss));
  EXPECT_FALSE(LargerIsBetter(Metric::kPerplexity));
  EXPECT_FALSE(LargerIsBetter(Metric::kBitsPerByte));
  EXPECT_TRUE(LargerIsBetter(Metric::kAuc));
  EXPECT_TRUE(LargerIsBetter(Metric::kExact));
}

template <class T>
ConstTensor View(const std::vector<T>& values, Shape shape) {
  return {values.data(), shape};
}

TEST(MetricsAccumulatorTest, BinaryPredictsPositiveAboveZero) {
  MetricsAccumulator metrics({.task = Task::kBinary, .samples = 5, .batch = 3});
  SingleProcess alone;
  const std::vector<float> y = {2.0f, -1.0f, 0.0f, 0.5f, -3.0f}, t = {1, 1, 0, 0, 0};
  for (int round = 0; round < 2; ++round) {  // Reset leaves nothing behind
    metrics.Reset();
    ASSERT_TRUE(
        metrics.Add(View(y, {5, 1}).Samples(0, 3), View(t, {5, 1}).Samples(0, 3), {6, 3}).ok());
    ASSERT_TRUE(
        metrics.Add(View(y, {5, 1}).Samples(3, 5), View(t, {5, 1}).Samples(3, 5), {4, 2}).ok());
    const EvaluationResult result = metrics.Finish(alone).value();
    EXPECT_EQ(result.samples, 5);
    EXPECT_EQ(result.predictions, 5);
    EXPECT_EQ(result.loss, 2.0);
    EXPECT_EQ(result.accuracy, 3.0 / 5.0);
    EXPECT_EQ(result.auc, AucByPairs(y, t));
    EXPECT_THAT(result.confusion, ElementsAre(2, 1, 1, 1));
    EXPECT_FALSE(result.mae || result.r2);
  }
}

TEST(MetricsAccumulatorTest, ClassesTakeTheFirstLargestAndLeaveIgnoredTargetsOut) {
  // Two sequences of two positions, three classes.
  MetricsAccumulator metrics({.task = Task::kClasses, .columns = 3, .samples = 2, .batch = 2});
  SingleProcess alone;
  metrics.Reset();
  const std::vector<float> y = {1, 5, 5, /**/ 9, 0, 0, /**/ 0, 0, 1, /**/ 3, 2, 1};
  const std::vector<int32_t> t = {1, kIgnoredTarget, 2, 2};
  ASSERT_TRUE(metrics.Add(View(y, {2, 2, 3}), View(t, {2, 2}), {3, 3}).ok());
  const EvaluationResult result = metrics.Finish(alone).value();
  EXPECT_EQ(result.samples, 2);
  EXPECT_EQ(result.predictions, 3);
  EXPECT_EQ(result.accuracy, 2.0 / 3.0);
  EXPECT_EQ(result.classes, 3);
  EXPECT_THAT(result.confusion, ElementsAre(0, 0, 0, 0, 1, 0, 1, 0, 1));
  EXPECT_FALSE(result.auc);
}

// Tokens 0, 1, 2 stand for 1, 2 and 5 bytes.
TEST(MetricsAccumulatorTest, SequencesAreExactWhereAllThatCountsIsRight) {
  MetricsAccumulator metrics(
      {.task = Task::kClasses, .columns = 3, .samples = 4, .batch = 3, .token_bytes = {1, 2, 5}});
  SingleProcess alone;
  // Predicted: 1 0 | 2 2 | 0 0 | 1 1
  const std::vector<float> y = {0,      1, 0, 1, 0, 0, /**/ 0, 0, 1, 0, 0, 1,
                                /**/ 1, 0, 0, 1, 0, 0, /**/ 0, 1, 0, 0, 1, 0};
  const std::vector<int32_t> t = {1,
                                  kIgnoredTarget,
                                  /**/ 2,
                                  1,
                                  /**/ kIgnoredTarget,
                                  kIgnoredTarget,
                                  /**/ 1,
                                  1};
  for (int round = 0; round < 2; ++round) {
    metrics.Reset();
    ASSERT_TRUE(
        metrics.Add(View(y, {4, 2, 3}).Samples(0, 3), View(t, {4, 2}).Samples(0, 3), {3.0, 3})
            .ok());
    ASSERT_TRUE(
        metrics.Add(View(y, {4, 2, 3}).Samples(3, 4), View(t, {4, 2}).Samples(3, 4), {1.5, 2})
            .ok());
    const EvaluationResult result = metrics.Finish(alone).value();
    EXPECT_EQ(result.predictions, 5);
    EXPECT_EQ(result.accuracy, 4.0 / 5.0);
    EXPECT_EQ(result.exact, 2.0 / 3.0);  // nothing of the third counts
    EXPECT_EQ(result.loss, 0.9);
    EXPECT_EQ(result.perplexity, std::exp(0.9));
    EXPECT_EQ(result.bits_per_byte, 4.5 / (std::log(2.0) * (2 + 5 + 2 + 2 + 2)));
  }
}

TEST(MetricTest, SequencesHaveMetricsThatSingleClassesHaveNot) {
  DatasetInfo one{.task = Task::kClasses, .classes = 3};
  EXPECT_EQ(MetricsText(one), "loss or accuracy");
  EXPECT_FALSE(HasMetric(one, Metric::kPerplexity));
  DatasetInfo many = one;
  many.target_shape = {5};
  EXPECT_EQ(MetricsText(many), "loss, accuracy, exact or perplexity");
  EXPECT_FALSE(HasMetric(many, Metric::kBitsPerByte));  // nobody says what tokens stand for
  DatasetInfo soft = many;
  soft.target_dtype = DType::kF32;  // probabilities of classes
  EXPECT_EQ(MetricsText(soft), "loss or accuracy");
}

TEST(MetricsAccumulatorTest, ManyClassesAreCountedWithoutAMatrix) {
  const int64_t classes = kMaxConfusionClasses + 1;
  MetricsAccumulator metrics(
      {.task = Task::kClasses, .columns = classes, .samples = 2, .batch = 2});
  SingleProcess alone;
  metrics.Reset();
  std::vector<float> y(static_cast<size_t>(2 * classes), 0.0f);
  y.back() = 1.0f;  // predictions: 0 and the last
  const std::vector<int32_t> t = {1, static_cast<int32_t>(classes) - 1};
  ASSERT_TRUE(metrics.Add(View(y, {2, classes}), View(t, {2}), {1, 2}).ok());
  const EvaluationResult result = metrics.Finish(alone).value();
  EXPECT_EQ(result.accuracy, 0.5);
  EXPECT_THAT(result.confusion, IsEmpty());
}

// Offsets are where sums of squares would cancel; batches of 1 and 2 where merging counts.
TEST(MetricsAccumulatorTest, RegressionMatchesTheTwoPassFormulas) {
  constexpr int64_t kSamples = 101, kColumns = 2;
  Random random(5, StreamOf("regression"));
  std::vector<float> y, t;
  for (int64_t i = 0; i < kSamples * kColumns; ++i) {
    t.push_back(static_cast<float>((i % 2 == 0 ? 1e4 : 0.0) + random.Normal()));
    y.push_back(t.back() + static_cast<float>(0.3 * random.Normal()));
  }
  double mae = 0.0, r2 = 0.0;
  for (size_t c = 0; c < kColumns; ++c) {
    double mean = 0.0, total = 0.0, errors = 0.0;
    for (size_t i = c; i < t.size(); i += kColumns) mean += t[i] / double{kSamples};
    for (size_t i = c; i < t.size(); i += kColumns) {
      total += (t[i] - mean) * (t[i] - mean);
      errors += (double{y[i]} - t[i]) * (double{y[i]} - t[i]);
      mae += std::abs(double{y[i]} - t[i]) / double{kSamples * kColumns};
    }
    r2 += (1.0 - errors / total) / double{kColumns};
  }
  SingleProcess alone;
  for (const int64_t batch : {1, 2, 32, 101}) {
    MetricsAccumulator metrics(
        {.task = Task::kRegression, .columns = kColumns, .samples = kSamples, .batch = batch});
    metrics.Reset();
    for (int64_t begin = 0; begin < kSamples; begin += batch) {
      const int64_t end = std::min(begin + batch, kSamples);
      ASSERT_TRUE(metrics
                      .Add(View(y, {kSamples, kColumns}).Samples(begin, end),
                           View(t, {kSamples, kColumns}).Samples(begin, end), {0.0, 1.0})
                      .ok());
    }
    const EvaluationResult result = metrics.Finish(alone).value();
    // Some hundred additions in double, of values up to 1e4 for the mean of unit deviations.
    EXPECT_NEAR(*result.mae, mae, 1e-13) << batch;
    EXPECT_NEAR(*result.r2, r2, 1e-9) << batch;
    EXPECT_FALSE(result.accuracy || result.auc);
    EXPECT_THAT(result.confusion, IsEmpty());
  }
}

// What a sample says is its quantiles in ascending order, whatever the order of the outputs.
TEST(MetricsAccumulatorTest, QuantilesAreMeasuredByTheirMedianAndTheirInterval) {
  const std::vector<float> t = {1, 2, 3, 4, 5};
  const std::vector<float> y = {0, 1,   2,   // in the middle of it
                                4, 2.5, 3,   // below it, and crossed: the median is 3
                                3, 3.5, 4,   // at its end
                                6, 5,   4,   // crossed
                                0, 1,   4};  // above it
  SingleProcess alone;
  for (const int64_t batch : {1, 2, 5}) {
    MetricsAccumulator metrics({.task = Task::kRegression,
                                .columns = 3,
                                .samples = 5,
                                .batch = batch,
                                .quantiles = {0.1, 0.5, 0.9}});
    metrics.Reset();
    for (int64_t begin = 0; begin < 5; begin += batch) {
      const int64_t end = std::min<int64_t>(begin + batch, 5);
      ASSERT_TRUE(metrics
                      .Add(View(y, {5, 3}).Samples(begin, end), View(t, {5, 1}).Samples(begin, end),
                           {0.0, 1.0})
                      .ok());
    }
    const EvaluationResult result = metrics.Finish(alone).value();
    EXPECT_EQ(result.predictions, 5);
    EXPECT_EQ(*result.coverage, 3.0 / 5.0);
    // Errors 0, 1, 0.5, 1 and -4; the squares of the targets' deviations sum to 10.
    EXPECT_NEAR(*result.mae, 6.5 / 5.0, 1e-15);
    EXPECT_NEAR(*result.r2, 1.0 - 18.25 / 10.0, 1e-14);
  }
}

TEST(MetricsAccumulatorTest, ConstantTargetsHaveNoR2) {
  MetricsAccumulator metrics({.task = Task::kRegression, .samples = 4, .batch = 2});
  SingleProcess alone;
  metrics.Reset();
  const std::vector<float> y = {1, 2, 3, 4}, t = {0.1f, 0.1f, 0.1f, 0.1f};
  for (int64_t b = 0; b < 4; b += 2) {
    ASSERT_TRUE(
        metrics.Add(View(y, {4, 1}).Samples(b, b + 2), View(t, {4, 1}).Samples(b, b + 2), {1, 2})
            .ok());
  }
  const EvaluationResult result = metrics.Finish(alone).value();
  EXPECT_TRUE(result.mae);
  EXPECT_FALSE(result.r2);
}

TEST(MetricsAccumulatorTest, WhatIsNotFiniteIsAnErrorThatNamesTheSample) {
  SingleProcess alone;
  for (const float bad : {kNan, kInf, -kInf}) {
    {
      MetricsAccumulator metrics({.task = Task::kBinary, .samples = 4, .batch = 2});
      metrics.Reset();
      const std::vector<float> y = {1, 2, 1, bad}, t = {0, 1, 0, 1};
      ASSERT_TRUE(
          metrics.Add(View(y, {4, 1}).Samples(0, 2), View(t, {4, 1}).Samples(0, 2), {1, 2}).ok());
      const Status status =
          metrics.Add(View(y, {4, 1}).Samples(2, 4), View(t, {4, 1}).Samples(2, 4), {1, 2});
      EXPECT_EQ(status.code(), Code::kNonFinite);
      EXPECT_THAT(status.message(), HasSubstr("sample 3"));
      EXPECT_EQ(metrics.Finish(alone, status).status().code(), Code::kNonFinite);
    }
    {
      MetricsAccumulator metrics({.task = Task::kClasses, .columns = 3, .samples = 2, .batch = 2});
      metrics.Reset();
      const std::vector<float> y = {1, 2, 3, /**/ 9, bad, 1};
      const std::vector<int32_t> t = {0, 1};
      const Status status = metrics.Add(View(y, {2, 3}), View(t, {2}), {1, 2});
      EXPECT_EQ(status.code(), Code::kNonFinite);
      EXPECT_THAT(status.message(), HasSubstr("sample 1"));
    }
    {
      MetricsAccumulator metrics(
          {.task = Task::kRegression, .columns = 2, .samples = 2, .batch = 2});
      metrics.Reset();
      const std::vector<float> y = {1, 2, bad, 1}, t = {1, 2, 3, 4};
      const Status status = metrics.Add(View(y, {2, 2}), View(t, {2, 2}), {1, 2});
      EXPECT_EQ(status.code(), Code::kNonFinite);
      EXPECT_THAT(status.message(), HasSubstr("sample 1"));
    }
  }
}

TEST(MetricsAccumulatorTest, ALossThatIsNotFiniteIsAnError) {
  MetricsAccumulator metrics({.task = Task::kBinary, .samples = 1, .batch = 1});
  metrics.Reset();
  const std::vector<float> y = {1}, t = {1};
  EXPECT_EQ(metrics.Add(View(y, {1, 1}), View(t, {1, 1}), {double{kNan}, 1}).code(),
            Code::kNonFinite);
}

TEST(MetricsAccumulatorTest, OnlyIgnoredTargetsAreAnErrorAndNotANumber) {
  MetricsAccumulator metrics({.task = Task::kClasses, .columns = 2, .samples = 1, .batch = 1});
  SingleProcess alone;
  metrics.Reset();
  const std::vector<float> y = {1, 2};
  const std::vector<int32_t> t = {kIgnoredTarget};
  ASSERT_TRUE(metrics.Add(View(y, {1, 2}), View(t, {1}), {0, 0}).ok());
  EXPECT_EQ(metrics.Finish(alone).status().code(), Code::kInvalid);
}

}  // namespace
}  // namespace lockstep
