#include "engine/data/assign_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

std::vector<SampleGroup> OfSizes(const std::vector<int64_t>& sizes) {
  std::vector<SampleGroup> groups;
  for (const int64_t size : sizes) groups.push_back({.size = size, .classes = {{0, size}}});
  return groups;
}

std::vector<int64_t> SizesOf(const std::vector<SampleGroup>& groups,
                             const std::vector<int32_t>& part, size_t parts) {
  std::vector<int64_t> sizes(parts);
  for (size_t g = 0; g < groups.size(); ++g) sizes[static_cast<size_t>(part[g])] += groups[g].size;
  return sizes;
}

// The lowest sum of squares that any assignment reaches, by trying all.
double Best(const std::vector<SampleGroup>& groups, const std::vector<int64_t>& wanted) {
  const size_t parts = wanted.size();
  std::vector<int32_t> part(groups.size());
  double best = INFINITY;
  for (;;) {
    std::vector<int64_t> held(parts), sizes = SizesOf(groups, part, parts);
    for (const int32_t p : part) ++held[static_cast<size_t>(p)];
    if (std::count(held.begin(), held.end(), 0) == 0) {
      double sum = 0.0;
      for (size_t p = 0; p < parts; ++p) sum += std::pow(sizes[p] - wanted[p], 2);
      best = std::min(best, sum);
    }
    size_t g = 0;
    while (g < part.size() && ++part[g] == static_cast<int32_t>(parts)) part[g++] = 0;
    if (g == part.size()) return best;
  }
}

TEST(AssignGroupsTest, AGroupThatHoldsNothingChangesNothing) {
  const auto held = OfSizes({5, 3, 8, 2, 6});
  const auto with_empty = OfSizes({0, 5, 3, 0, 8, 2, 6, 0});
  const std::vector<int64_t> wanted = {12, 12};
  const auto part = AssignGroups(held, wanted, Random(1, 0));
  EXPECT_EQ(AssignGroups(with_empty, wanted, Random(1, 0)),
            (std::vector<int32_t>{-1, part[0], part[1], -1, part[2], part[3], part[4], -1}));
  EXPECT_EQ(HeldGroups(with_empty), 5);
}

TEST(AssignGroupsTest, SizesAreNearTheBestThereIs) {
  Random random(3, 4);
  int perfect = 0;
  constexpr int kTrials = 60;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<int64_t> sizes;
    for (int g = 0; g < 9; ++g) sizes.push_back(static_cast<int64_t>(1 + random.Below(20)));
    const int64_t all = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    const std::vector<int64_t> wanted = {all - 2 * (all / 5), all / 5, all / 5};
    const auto groups = OfSizes(sizes);
    const auto part = AssignGroups(groups, wanted, Random(static_cast<uint64_t>(trial), 0));
    const auto got = SizesOf(groups, part, 3);
    double sum = 0.0;
    for (size_t p = 0; p < 3; ++p) sum += std::pow(got[p] - wanted[p], 2);
    const double best = Best(groups, wanted);
    EXPECT_LE(sum, best + 6.0) << trial;  // one sample off in each part
    perfect += sum == best ? 1 : 0;
  }
  EXPECT_GE(perfect, kTrials * 3 / 4);
}

TEST(AssignGroupsTest, EqualGroupsFillPartsExactly) {
  const auto groups = OfSizes(std::vector<int64_t>(20, 7));
  const std::vector<int64_t> wanted = {98, 21, 21};
  EXPECT_EQ(SizesOf(groups, AssignGroups(groups, wanted, Random(1, 1)), 3), wanted);
}

TEST(AssignGroupsTest, NoPartIsEmptyHoweverLittleItWants) {
  const auto groups = OfSizes({50, 40, 30});
  const auto part = AssignGroups(groups, std::vector<int64_t>{118, 1, 1}, Random(1, 1));
  EXPECT_EQ(std::vector<int32_t>({0, 1, 2}), [&] {
    auto sorted = part;
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  }());
}

TEST(AssignGroupsTest, ClassesAreSpread) {
  // Of 40 groups of ten samples 20 are all of one class, 20 all of the other.
  std::vector<SampleGroup> groups;
  for (int32_t g = 0; g < 40; ++g) groups.push_back({.size = 10, .classes = {{g % 2, 10}}});
  const std::vector<int64_t> wanted = {240, 80, 80};
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto part = AssignGroups(groups, wanted, Random(seed, 0));
    std::vector<int64_t> ones(3);
    for (size_t g = 1; g < 40; g += 2) ++ones[static_cast<size_t>(part[g])];
    EXPECT_EQ(ones, std::vector<int64_t>({12, 4, 4})) << seed;
  }
}

TEST(AssignGroupsTest, ChanceDecidesByTheSeedAlone) {
  std::vector<int64_t> sizes;
  for (int64_t g = 0; g < 200; ++g) sizes.push_back(1 + g % 7);
  const auto groups = OfSizes(sizes);
  const std::vector<int64_t> wanted = {600, 100, 94};
  EXPECT_EQ(AssignGroups(groups, wanted, Random(5, 0)), AssignGroups(groups, wanted, Random(5, 0)));
  EXPECT_NE(AssignGroups(groups, wanted, Random(5, 0)), AssignGroups(groups, wanted, Random(6, 0)));
}

TEST(AssignGroupsTest, CountsSamplesAndClassesOfEachGroup) {
  const std::vector<int32_t> of_sample = {2, 0, 2, 2, 0}, classes = {1, 0, 0, 1, 3};
  const auto groups = GroupSamples(of_sample, classes);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].size, 2);
  EXPECT_EQ(groups[1].size, 0);
  EXPECT_EQ(groups[2].size, 3);
  using Counts = std::vector<std::pair<int32_t, int64_t>>;
  EXPECT_EQ(groups[0].classes, Counts({{0, 1}, {3, 1}}));
  EXPECT_EQ(groups[2].classes, Counts({{0, 1}, {1, 2}}));
}

}  // namespace
}  // namespace lockstep
