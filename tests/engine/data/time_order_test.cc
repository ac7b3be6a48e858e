#include "engine/data/time_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::vector<int64_t>> Cut(const std::vector<double>& times,
                                      const std::vector<int64_t>& sizes) {
  return CutByTime(times, sizes).value();
}

TEST(TimeOrderTest, BlocksFollowEachOtherInTime) {
  const std::vector<double> times = {5, 1, 4, 2, 3, 0};
  EXPECT_THAT(Cut(times, {2, 3, 1}),
              ElementsAre(ElementsAre(5, 1), ElementsAre(3, 4, 2), ElementsAre(0)));
}

TEST(TimeOrderTest, MomentsStayTogetherAndTheNearestCutIsTaken) {
  // 1 1 1 1 | 2 2 | 3
  const std::vector<double> times = {1, 2, 1, 1, 3, 2, 1};
  EXPECT_THAT(Cut(times, {3, 4}), ElementsAre(ElementsAre(0, 2, 3, 6), ElementsAre(1, 5, 4)));
  EXPECT_THAT(Cut(times, {6, 1}), ElementsAre(ElementsAre(0, 2, 3, 6, 1, 5), ElementsAre(4)));
  // Each block gets a moment, though four samples are alike.
  EXPECT_THAT(Cut(times, {1, 1, 5}),
              ElementsAre(ElementsAre(0, 2, 3, 6), ElementsAre(1, 5), ElementsAre(4)));
  EXPECT_THAT(Cut(times, {7, 0, 0}),
              ElementsAre(ElementsAre(0, 2, 3, 6), ElementsAre(1, 5), ElementsAre(4)));
}

TEST(TimeOrderTest, NoTimeIsOnBothSidesOfACut) {
  Random random(1, 2);
  for (int trial = 0; trial < 200; ++trial) {
    const auto n = static_cast<int64_t>(3 + random.Below(60));
    std::vector<double> times;
    for (int64_t i = 0; i < n; ++i) times.push_back(static_cast<double>(random.Below(12)));
    std::vector<double> moments = times;
    std::sort(moments.begin(), moments.end());
    moments.erase(std::unique(moments.begin(), moments.end()), moments.end());
    if (moments.size() < 3) continue;
    const auto a = static_cast<int64_t>(random.Below(static_cast<uint64_t>(n)));
    const auto b = static_cast<int64_t>(random.Below(static_cast<uint64_t>(n - a)));
    const auto blocks = Cut(times, {a, b, n - a - b});
    ASSERT_EQ(blocks.size(), 3u);
    size_t all = 0;
    double latest = -1.0;
    for (const auto& block : blocks) {
      ASSERT_FALSE(block.empty());
      all += block.size();
      EXPECT_LT(latest, times[static_cast<size_t>(block.front())]);
      for (const int64_t i : block) latest = std::max(latest, times[static_cast<size_t>(i)]);
      EXPECT_EQ(latest, times[static_cast<size_t>(block.back())]);
    }
    EXPECT_EQ(all, times.size());
  }
}

TEST(TimeOrderTest, SaysWhatIsMissing) {
  const std::vector<double> none = {1, std::nan(""), 3};
  const std::vector<int64_t> sizes = {1, 2};
  EXPECT_THAT(CutByTime(none, sizes).status().message(), HasSubstr("sample 1 has no time"));
  const std::vector<double> alike = {4, 4, 4};
  EXPECT_THAT(CutByTime(alike, sizes).status().message(),
              HasSubstr("1 different times are too few for 2 parts"));
}

}  // namespace
}  // namespace lockstep
