#include "tools/scale/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1::scale {
namespace {

// From tables of the binomial distribution: Le Boudec's annex A gives the ranks of 95 % intervals.
TEST(IntervalOf, HasTheRanksOfTheTables) {
  const std::pair<int64_t, int64_t> known[] = {{6, 1},   {7, 1},   {8, 1},  {9, 2},
                                               {12, 3},  {15, 4},  {20, 6}, {25, 8},
                                               {30, 10}, {50, 18}, {70, 27}};
  for (const auto& [count, rank] : known) EXPECT_EQ(IntervalRank(count), rank) << count;
}

TEST(IntervalOf, OfKnownSamples) {
  std::vector<double> values(15);
  std::iota(values.begin(), values.end(), 1.0);
  std::swap(values[0], values[9]);
  const MedianInterval interval = IntervalOf(values);
  EXPECT_EQ(interval.median, 8.0);
  EXPECT_EQ(interval.low, 4.0);
  EXPECT_EQ(interval.high, 12.0);
  // 1 - 2 (C(15,0) + C(15,1) + C(15,2) + C(15,3)) / 2^15. The logarithms of a handful of factorials
  // are right to 1e-15 of about 30, their exponentials to 1e-13.
  EXPECT_NEAR(interval.confidence, 1.0 - 2.0 * (1 + 15 + 105 + 455) / 32768.0, 1e-12);
  EXPECT_EQ(interval.width(), 1.0);
  EXPECT_TRUE(interval.unstable(0.05));
  EXPECT_FALSE(interval.unstable(1.0));
}

TEST(IntervalOf, AnEvenNumberHasTheMeanOfTheMiddleTwo) {
  EXPECT_EQ(MedianOf({4.0, 1.0, 3.0, 2.0}), 2.5);
  EXPECT_EQ(MedianOf({}), 0.0);
}

TEST(IntervalOf, TooFewMeasurementsAreNeverStable) {
  for (size_t count = 0; count < 6; ++count) {
    const MedianInterval interval = IntervalOf(std::vector<double>(count, 1.0));
    EXPECT_LT(interval.confidence, 0.95) << count;
    EXPECT_TRUE(interval.unstable(1e9)) << count;
  }
  EXPECT_FALSE(IntervalOf(std::vector<double>(6, 1.0)).unstable(0.05));
}

TEST(IntervalOf, NanIsNeverStable) {
  std::vector<double> values(9, 1.0);
  values[0] = values[1] = std::numeric_limits<double>::quiet_NaN();
  MedianInterval interval = IntervalOf(values);
  interval.high = std::nan("");
  EXPECT_TRUE(interval.unstable(0.05));
}

// What the interval promises, on a distribution with a long tail whose median is known: of an
// exponential one, log 2.
TEST(IntervalOf, HoldsTheTrueMedianAsOftenAsItSays) {
  Random random(7, StreamOf("exponential"));
  constexpr int kTrials = 4000, kCount = 15;
  int held = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> values;
    for (int i = 0; i < kCount; ++i) values.push_back(-std::log((random.Word() + 0.5) * 0x1p-32));
    const MedianInterval interval = IntervalOf(values);
    held += interval.low <= std::log(2.0) && std::log(2.0) <= interval.high;
  }
  // The promise for 15 is 0.9648; the share of 4000 trials deviates by sqrt(p (1 - p) / 4000) =
  // 0.0029, of which four either way.
  EXPECT_NEAR(static_cast<double>(held) / kTrials, 0.9648, 0.0117);
}

}  // namespace
}  // namespace lockstep::scale
