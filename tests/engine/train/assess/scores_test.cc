#include "engine/train/assess/scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

std::map<std::string, Score> ByName(const std::vector<Score>& scores) {
  std::map<std::string, Score> by_name;
  for (const Score& score : scores) by_name[score.name] = score;
  return by_name;
}

Predictions Binary(std::vector<float> logits, std::vector<float> truths) {
  const auto size = static_cast<int64_t>(logits.size());
  return {.reading = Reading::kPositive,
          .columns = 1,
          .outputs = std::move(logits),
          .truths = std::move(truths),
          .indices = AllIndices(size)};
}

Predictions Values(std::vector<float> outputs, std::vector<float> truths, int64_t columns) {
  const auto size = static_cast<int64_t>(outputs.size()) / columns;
  return {.reading = Reading::kValues,
          .columns = columns,
          .outputs = std::move(outputs),
          .truths = std::move(truths),
          .indices = AllIndices(size)};
}

TEST(Scores, TheThresholdDecidesWhatIsSaidAndNotHowItIsRanked) {
  const Predictions predictions = Binary({-1, 0.2f, 1, 3}, {0, 1, 0, 1});
  const auto half = ByName(ScoresOf(predictions, {}, 0));
  const auto high = ByName(ScoresOf(predictions, {.threshold = 0.9f}, 0));
  EXPECT_EQ(half.at("auc").value, 0.75);
  EXPECT_EQ(high.at("auc").value, 0.75);
  EXPECT_EQ(half.at("recall").value, 1.0);
  EXPECT_EQ(half.at("specificity").value, 0.5);
  EXPECT_EQ(high.at("recall").value, 0.5);
  EXPECT_EQ(high.at("specificity").value, 1.0);
  EXPECT_EQ(high.at("precision").value, 1.0);
  EXPECT_EQ(half.at("brier").value, high.at("brier").value);
}

TEST(Scores, WithoutRanksAreasAloneAreMissing) {
  const Predictions binary = Binary({-1, 0.2f, 1, 3}, {0, 1, 0, 1});
  const Predictions classes = {.reading = Reading::kOneOf,
                               .columns = 3,
                               .outputs = {3, 1, 0, 0, 2, 1, 1, 0, 0, 0, 1, 5},
                               .classes = {0, 1, 2, 2},
                               .indices = AllIndices(4)};
  for (const Predictions& predictions : {binary, classes}) {
    const Scorer ranked = MakeScorer(predictions, {});
    const Scorer plain = MakeScorer(predictions, {}, /*ranked=*/false);
    const std::vector<double> with = ranked.Values(4), without = plain.Values(4);
    for (size_t s = 0; s < with.size(); ++s) {
      const bool area = ranked.names[s].ends_with("auc") || ranked.names[s] == "average_precision";
      EXPECT_FALSE(std::isnan(with[s])) << ranked.names[s];
      EXPECT_TRUE(area ? std::isnan(without[s]) : without[s] == with[s]) << ranked.names[s];
    }
  }
}

TEST(Scores, ATemperatureMovesProbabilitiesAndNoRank) {
  const Predictions predictions = Binary({-4, 0.5f, 2, 6}, {0, 1, 0, 1});
  const auto cold = ByName(ScoresOf(predictions, {}, 0));
  const auto warm = ByName(ScoresOf(predictions, {.temperature = 3.0f}, 0));
  EXPECT_EQ(cold.at("auc").value, warm.at("auc").value);
  EXPECT_EQ(cold.at("accuracy").value, warm.at("accuracy").value);
  EXPECT_NE(cold.at("brier").value, warm.at("brier").value);
}

TEST(Scores, OneClassLeavesUndefinedWhatNeedsBoth) {
  const auto ones = ByName(ScoresOf(Binary({1, -2, 3}, {1, 1, 1}), {}, 100));
  EXPECT_TRUE(std::isnan(ones.at("auc").value));
  EXPECT_FALSE(ones.at("auc").interval.has_value());
  EXPECT_TRUE(std::isnan(ones.at("specificity").value));
  EXPECT_EQ(ones.at("recall").value, 2.0 / 3);
  // Nothing is said to be positive.
  const auto none = ByName(ScoresOf(Binary({-1, -2, -3}, {1, 0, 0}), {}, 0));
  EXPECT_TRUE(std::isnan(none.at("precision").value));
  EXPECT_EQ(none.at("f1").value, 0.0);
}

TEST(Scores, EqualPredictionsAreGuessing) {
  const auto scores = ByName(ScoresOf(Binary({0.7f, 0.7f, 0.7f, 0.7f}, {1, 0, 1, 0}), {}, 100));
  EXPECT_EQ(scores.at("auc").value, 0.5);
  EXPECT_EQ(scores.at("average_precision").value, 0.5);
  EXPECT_EQ(scores.at("recall").value, 1.0);
}

TEST(Scores, IntervalsHoldTheValueAndNarrowWithTheSamples) {
  Random random(3, 0);
  const auto width = [&](int size) {
    std::vector<float> logits, truths;
    for (int i = 0; i < size; ++i) {
      truths.push_back(i % 2 == 0 ? 1.0f : 0.0f);
      logits.push_back(truths.back() + static_cast<float>(random.Normal()));
    }
    double widest = 0.0;
    for (const Score& score : ScoresOf(Binary(logits, truths), {}, 20000)) {
      EXPECT_TRUE(score.interval.has_value()) << score.name;
      if (!score.interval) continue;
      EXPECT_TRUE(score.interval->low <= score.value && score.value <= score.interval->high)
          << score.name;
      widest = std::max(widest, score.interval->high - score.interval->low);
    }
    return widest;
  };
  const double few = width(100), many = width(1600);
  // Sixteen times the samples, a quarter of the width; the intervals themselves vary by a tenth.
  EXPECT_NEAR(few / many, 4.0, 1.5);
}

TEST(Scores, ClassesThatHaveNoSamplesCountForNoMean) {
  // Class 2 is predicted once and never true; class 1 is true and never predicted.
  const Predictions predictions{.reading = Reading::kOneOf,
                                .columns = 3,
                                .outputs = {3, 0, 0, 3, 0, 0, 0, 0, 3, 3, 0, 0},
                                .classes = {0, 0, 0, 1},
                                .indices = {0, 1, 2, 3}};
  const auto scores = ByName(ScoresOf(predictions, {}, 0));
  EXPECT_EQ(scores.at("accuracy").value, 0.5);
  EXPECT_NEAR(scores.at("macro_recall").value, (2.0 / 3 + 0.0) / 2, 1e-15);
  EXPECT_NEAR(scores.at("macro_precision").value, (2.0 / 3 + 0.0) / 2, 1e-15);
  const std::vector<ClassScores> classes =
      ScoresByClass(predictions, predictions.Probabilities(1.0f));
  EXPECT_TRUE(std::isnan(classes[2].recall));
  EXPECT_EQ(classes[2].precision, 0.0);
  EXPECT_FALSE(classes[2].auc.has_value());
  EXPECT_TRUE(std::isnan(classes[1].precision));
  EXPECT_TRUE(classes[1].auc.has_value());
}

TEST(Scores, EqualTargetsHaveNoR2WhateverRounding) {
  const auto equal = ByName(ScoresOf(Values({1, 2, 3}, {0.1f, 0.1f, 0.1f}, 1), {}, 100));
  EXPECT_TRUE(std::isnan(equal.at("r2").value));
  EXPECT_FALSE(equal.at("r2").interval.has_value());
  EXPECT_TRUE(equal.at("mae").interval.has_value());
  const auto far =
      ByName(ScoresOf(Values({1e6f, 1e6f + 1, 1e6f + 2}, {1e6f, 1e6f + 1, 1e6f + 2}, 1), {}, 0));
  EXPECT_EQ(far.at("r2").value, 1.0);
  EXPECT_EQ(far.at("rmse").value, 0.0);
}

TEST(Scores, SeveralColumnsAreJudgedTogether) {
  const Predictions two = Values({1, 10, 2, 30, 4, 20}, {1, 10, 2, 20, 3, 30}, 2);
  const auto scores = ByName(ScoresOf(two, {}, 0));
  EXPECT_NEAR(scores.at("r2").value, ((1.0 - 1.0 / 2.0) + (1.0 - 200.0 / 200.0)) / 2, 1e-12);
  EXPECT_NEAR(scores.at("mae").value, 21.0 / 6, 1e-12);
  EXPECT_NEAR(scores.at("bias").value, 1.0 / 6, 1e-12);
}

TEST(Scores, ManySamplesLendSomeToTheIntervals) {
  std::vector<float> logits, truths;
  for (int i = 0; i < 500; ++i) {
    truths.push_back(i % 3 == 0 ? 1.0f : 0.0f);
    logits.push_back(static_cast<float>((i * 7) % 11) - 5.0f);
  }
  const Predictions predictions = Binary(logits, truths);
  const auto all = ScoresOf(predictions, {}, 500), some = ScoresOf(predictions, {}, 50);
  EXPECT_EQ(all[0].value, some[0].value);
  EXPECT_GT(some[0].interval->high - some[0].interval->low,
            all[0].interval->high - all[0].interval->low);
}

}  // namespace
}  // namespace lockstep
