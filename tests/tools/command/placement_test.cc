#include "tools/command/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/scale/machine.h"

namespace lockstep::inline v0_1::tools {
namespace {

using scale::ListOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Place At(std::string host, std::vector<int> cpus, int wanted = 0) {
  const auto available = static_cast<int>(cpus.size());
  return {std::move(host), std::move(cpus), available, wanted};
}

TEST(PlacementTest, MasksAreWrittenAsListsOfRanges) {
  EXPECT_EQ(ListOf({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(ListOf({7}), "7");
  EXPECT_EQ(ListOf({}), "");
}

TEST(PlacementTest, APlaceReachesOtherRanksAsItIs) {
  for (const Place& place : {At("node 7", {0, 5, 6}, 3), At("x", {}), PlaceOfThisProcess(2)}) {
    const Result<Place> there = PlaceFrom(TextOf(place));
    ASSERT_TRUE(there.ok()) << there.status().message();
    EXPECT_EQ(there->host, place.host);
    EXPECT_EQ(there->cpus, place.cpus);
    EXPECT_EQ(there->available, place.available);
    EXPECT_EQ(there->wanted_threads, place.wanted_threads);
  }
  for (const char* text : {"", "1", "1 2", "1 2 3", "x 2 3 h", "1 x 3 h", "1 2 3,x h", "1 -2 3 h"})
    EXPECT_FALSE(PlaceFrom(text).ok()) << text;
  EXPECT_FALSE(PlaceOfThisProcess(0).cpus.empty());
}

// Ranks with one mask share it; ranks with masks of their own have them for themselves.
TEST(PlacementTest, ThreadsAreAShareOfTheMask) {
  const std::vector<Place> shared = {At("a", {0, 1, 2, 3}), At("a", {0, 1, 2, 3}),
                                     At("b", {0, 1, 2, 3})};
  EXPECT_EQ(ThreadsOf(shared, 0), 2);
  EXPECT_EQ(ThreadsOf(shared, 1), 2);
  EXPECT_EQ(ThreadsOf(shared, 2), 4);
  EXPECT_THAT(Remarks(shared), IsEmpty());
  EXPECT_THAT(Describe(shared), ElementsAre("ranks 0-1  a  CPUs 0-3  2 threads each",
                                            "rank 2  b  CPUs 0-3  4 threads"));
  const std::vector<Place> own = {At("a", {0, 1}), At("a", {2, 3})};
  EXPECT_EQ(ThreadsOf(own, 0), 2);
  EXPECT_THAT(Remarks(own), IsEmpty());
  const std::vector<Place> wanted = {At("a", {0, 1, 2, 3}, 1), At("a", {0, 1, 2, 3}, 1)};
  EXPECT_EQ(ThreadsOf(wanted, 0), 1);
  // Fewer CPUs than ranks: one thread at least.
  const std::vector<Place> crowd(3, At("a", {0, 1}));
  EXPECT_EQ(ThreadsOf(crowd, 0), 1);
  EXPECT_THAT(Remarks(crowd), ElementsAre(HasSubstr("3 threads on the 2 CPUs of a")));
}

TEST(PlacementTest, OverlapIsNamedWithTheFlagThatMendsIt) {
  const std::vector<Place> places = {At("a", {0, 1}), At("a", {1, 2}), At("b", {1, 2})};
  EXPECT_THAT(Remarks(places),
              ElementsAre(::testing::AllOf(
                              HasSubstr("ranks 0 and 1 on a"), HasSubstr("0-1 and 1-2"),
                              HasSubstr("--map-by slot:PE=2"), HasSubstr("--cpu-bind=cores -c 2")),
                          HasSubstr("4 threads on the 3 CPUs of a")));
}

}  // namespace
}  // namespace lockstep::tools
