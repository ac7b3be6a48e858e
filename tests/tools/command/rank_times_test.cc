#include "tools/command/rank_times.h"

#include <gtest/gtest.h>

namespace lockstep::inline v0_1::tools {
namespace {

TEST(RankTimesTest, TheRankThatComputesMuchLongerIsNamed) {
  EXPECT_EQ(SlowRank({{10.0, 3.0}, {10.0, 3.1}, {10.0, 0.1}, {10.0, 2.9}}),
            "rank 2 is slow: it computed 9.9 s of this epoch, the rank in the middle 7.0 s");
  // Of two, the other one.
  EXPECT_NE(SlowRank({{10.0, 0.0}, {10.0, 5.0}}).find("rank 0"), std::string::npos);
  EXPECT_EQ(SlowRank({{10.0, 1.0}, {10.0, 0.1}}), "");   // a tenth more
  EXPECT_EQ(SlowRank({{0.02, 0.0}, {0.02, 0.01}}), "");  // too short to tell
  EXPECT_EQ(SlowRank({{10.0, 0.0}}), "");
  EXPECT_EQ(SlowRank({}), "");
}

TEST(RankTimesTest, TheShareThatWaitedIsOfAllRanks) {
  EXPECT_DOUBLE_EQ(WaitedShare({{10.0, 1.0}, {10.0, 3.0}}), 0.2);
  EXPECT_EQ(WaitedShare({}), 0.0);
}

}  // namespace
}  // namespace lockstep::tools
