#include "engine/train/assess/threshold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;

float Chosen(const std::vector<float>& p, const std::vector<float>& labels,
             const ThresholdOptions& options) {
  const Result<float> threshold = ChooseThreshold(p, labels, options);
  EXPECT_TRUE(threshold.ok()) << threshold.status().message();
  return threshold.ok() ? *threshold : NAN;
}

struct Drawn {
  std::vector<float> p, labels;
};
Drawn Draw(uint64_t seed, int size, int levels) {
  Random random(seed, StreamOf("threshold"));
  Drawn drawn;
  for (int i = 0; i < size; ++i) {
    const bool positive = random.Below(3) == 0;
    const double score = std::min(1.0, random.Uniform() * 0.7 + (positive ? 0.3 : 0.0));
    drawn.p.push_back(static_cast<float>(std::round(score * levels) / levels));
    drawn.labels.push_back(positive ? 1.0f : 0.0f);
  }
  drawn.labels[0] = 1.0f;
  drawn.labels[1] = 0.0f;
  return drawn;
}

// Every threshold that could matter, tried.
template <class Better>
double BestOf(const Drawn& drawn, Better&& better) {
  double best = -1e300;
  for (int i = 0; i <= 4000; ++i) {
    const Outcome outcome = OutcomeAt(drawn.p, drawn.labels, static_cast<float>(i) / 4000.0f);
    best = std::max(best, better(outcome));
  }
  return best;
}

TEST(Threshold, EachRuleReachesTheBestThereIs) {
  for (const int levels : {2, 7, 1000}) {
    for (const uint64_t seed : {1, 2, 3}) {
      const Drawn drawn = Draw(seed, 83, levels);
      const auto youden = [](const Outcome& o) {
        return static_cast<double>(o.true_positives) /
                   static_cast<double>(o.true_positives + o.false_negatives) +
               static_cast<double>(o.true_negatives) /
                   static_cast<double>(o.true_negatives + o.false_positives);
      };
      const auto at = [&](const ThresholdOptions& options) {
        return OutcomeAt(drawn.p, drawn.labels, Chosen(drawn.p, drawn.labels, options));
      };
      EXPECT_NEAR(youden(at({.rule = ThresholdRule::kYouden})), BestOf(drawn, youden), 1e-12);
      for (const double cost : {0.2, 1.0, 12.5}) {
        const auto gain = [&](const Outcome& o) {
          return -cost * static_cast<double>(o.false_negatives) -
                 static_cast<double>(o.false_positives);
        };
        EXPECT_NEAR(gain(at({.rule = ThresholdRule::kCost, .false_negative_cost = cost})),
                    BestOf(drawn, gain), 1e-12);
      }
      for (const double recall : {0.1, 0.5, 0.9, 1.0}) {
        const auto alarms = [&](const Outcome& o) {
          const auto positives = static_cast<double>(o.true_positives + o.false_negatives);
          return static_cast<double>(o.true_positives) >= recall * positives - 1e-9
                     ? -static_cast<double>(o.false_positives)
                     : -1e9;
        };
        EXPECT_EQ(alarms(at({.rule = ThresholdRule::kRecall, .recall = recall})),
                  BestOf(drawn, alarms));
      }
    }
  }
}

TEST(Threshold, LiesMidwayAndNearestToOneHalf) {
  const std::vector<float> p = {0.125f, 0.25f, 0.375f, 0.75f}, labels = {0, 0, 1, 1};
  EXPECT_EQ(Chosen(p, labels, {.rule = ThresholdRule::kYouden}), 0.3125f);
  EXPECT_EQ(Chosen(p, labels, {.rule = ThresholdRule::kHalf}), 0.5f);
  // One positive of two is enough, without an alarm either way: between 0.375 and 0.75.
  EXPECT_EQ(Chosen(p, labels, {.rule = ThresholdRule::kRecall, .recall = 0.5}), 0.5625f);
}

TEST(Threshold, SeparatesNeighboursInTheLastBit) {
  const float low = 0.7f, high = std::nextafter(low, 1.0f);
  const std::vector<float> p = {low, high}, labels = {0, 1};
  const float threshold = Chosen(p, labels, {.rule = ThresholdRule::kYouden});
  const Outcome outcome = OutcomeAt(p, labels, threshold);
  EXPECT_EQ(outcome.true_positives, 1);
  EXPECT_EQ(outcome.true_negatives, 1);
}

TEST(Threshold, ProbabilitiesOfNothingAndAllAreNoSpecialCase) {
  // A positive at 0 cannot be found by any threshold of at least 0: all others are.
  const std::vector<float> p = {0.0f, 0.0f, 0.5f, 1.0f}, labels = {1, 0, 1, 0};
  const float threshold = Chosen(p, labels, {.rule = ThresholdRule::kRecall, .recall = 1.0});
  EXPECT_EQ(OutcomeAt(p, labels, threshold).true_positives, 1);
  const std::vector<float> equal(4, 0.5f);
  for (const auto rule : {ThresholdRule::kYouden, ThresholdRule::kCost, ThresholdRule::kRecall}) {
    const float of_equal = Chosen(equal, labels, {.rule = rule});
    EXPECT_TRUE(of_equal >= 0.0f && of_equal <= 1.0f);
  }
  EXPECT_EQ(OutcomeAt(equal, labels,
                      Chosen(equal, labels, {.rule = ThresholdRule::kRecall, .recall = 0.9}))
                .true_positives,
            2);
}

TEST(Threshold, NeedsBothClassesAndSaysWhichIsThere) {
  const std::vector<float> p = {0.1f, 0.9f};
  const auto ones = ChooseThreshold(p, std::vector<float>{1, 1}, {.rule = ThresholdRule::kCost});
  ASSERT_FALSE(ones.ok());
  EXPECT_THAT(ones.status().message(), HasSubstr("all 2 are positive"));
  EXPECT_FALSE(ChooseThreshold(p, std::vector<float>{0, 0}, {.rule = ThresholdRule::kYouden}).ok());
  EXPECT_FALSE(ChooseThreshold({}, {}, {.rule = ThresholdRule::kYouden}).ok());
  EXPECT_EQ(*ChooseThreshold({}, {}, {.rule = ThresholdRule::kHalf}), 0.5f);
}

}  // namespace
}  // namespace lockstep
