#include "engine/train/assess/interval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

Measure MeanOf(const std::vector<double>& x) {
  return [&x](std::span<const double> weights, std::span<double> values) {
    double sum = 0.0, n = 0.0;
    for (size_t i = 0; i < x.size(); ++i) sum += weights[i] * x[i], n += weights[i];
    values[0] = sum / n;
  };
}

TEST(Interval, QuantilesLieBetweenNeighbours) {
  EXPECT_EQ(Quantile({7}, 0.3), 7.0);
  EXPECT_EQ(Quantile({3, 1, 2}, 0.5), 2.0);
  EXPECT_EQ(Quantile({4, 1, 2, 3}, 0.5), 2.5);
  EXPECT_EQ(Quantile({1, 2}, 0.0), 1.0);
  EXPECT_EQ(Quantile({1, 2}, 1.0), 2.0);
  EXPECT_EQ(Quantile({5, 5, 5}, 0.77), 5.0);
}

TEST(Interval, AShareOfNothingOrAllHasRoomOnOneSideOnly) {
  EXPECT_EQ(ShareInterval(0, 10).low, 0.0);
  EXPECT_GT(ShareInterval(0, 10).high, 0.2);
  EXPECT_EQ(ShareInterval(10, 10).high, 1.0);
  EXPECT_LT(ShareInterval(10, 10).low, 0.8);
}

TEST(Interval, TheBootstrapHoldsTheTrueMeanInAbout95Of100Cases) {
  constexpr int kTrials = 400, kSamples = 60;
  int held = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    Random random(static_cast<uint64_t>(trial), StreamOf("trial"));
    std::vector<double> x;
    for (int i = 0; i < kSamples; ++i) x.push_back(random.Normal());
    const auto interval = Bootstrap(kSamples, 1, MeanOf(x), /*draws=*/400)[0];
    ASSERT_TRUE(interval.has_value());
    held += interval->low <= 0.0 && 0.0 <= interval->high;
  }
  // Binomial of 400 at 0.95 less the percentile method's 1 or 2 % at 60 samples: 374, deviation
  // 4.9; four of them either way.
  EXPECT_GE(held, 354);
  EXPECT_LE(held, 396);
}

TEST(Interval, SameSeedSameBitsOtherSeedOtherDraws) {
  std::vector<double> x;
  for (int i = 0; i < 37; ++i) x.push_back(std::sqrt(i));
  const auto once = *Bootstrap(37, 1, MeanOf(x), 100, 5)[0];
  const auto again = *Bootstrap(37, 1, MeanOf(x), 100, 5)[0];
  const auto other = *Bootstrap(37, 1, MeanOf(x), 100, 6)[0];
  EXPECT_EQ(once.low, again.low);
  EXPECT_EQ(once.high, again.high);
  EXPECT_NE(once.low, other.low);
}

TEST(Interval, EveryDrawCountsAsManySamplesAsThereAre) {
  const auto interval =
      Bootstrap(53, 1, [](std::span<const double> weights, std::span<double> values) {
        values[0] = 0.0;
        for (const double w : weights) values[0] += w;
      })[0];
  EXPECT_EQ(interval->low, 53.0);
  EXPECT_EQ(interval->high, 53.0);
}

TEST(Interval, WhatCannotBeMeasuredHasNone) {
  EXPECT_FALSE(Bootstrap(1, 1, MeanOf({1.0}))[0].has_value());
  EXPECT_FALSE(Bootstrap(0, 1, MeanOf({}))[0].has_value());
  int calls = 0;
  const auto intervals = Bootstrap(
      10, 2,
      [&](std::span<const double>, std::span<double> values) {
        values[0] = ++calls % 5 == 0 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
        values[1] = calls % 20 == 0 ? std::numeric_limits<double>::quiet_NaN() : 2.0;
      },
      100);
  EXPECT_FALSE(intervals[0].has_value());  // a fifth is missing
  ASSERT_TRUE(intervals[1].has_value());   // a twentieth
  EXPECT_EQ(intervals[1]->low, 2.0);
}

}  // namespace
}  // namespace lockstep
