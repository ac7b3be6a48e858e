#include "engine/base/shuffle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <span>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

std::vector<int64_t> ByBlocks(size_t n, size_t block, size_t blocks, uint64_t seed) {
  std::vector<int64_t> items(n), to(n, -1);
  std::iota(items.begin(), items.end(), int64_t{0});
  std::vector<size_t> order;
  Random random(seed, StreamOf("blocks"));
  ShuffleByBlocks(std::span<const int64_t>(items), block, blocks, random, order, std::span(to));
  return to;
}

TEST(Shuffle, ByBlocksKeepsEveryItemOnce) {
  for (const size_t n : {0, 1, 7, 8, 9, 63, 64, 65, 1000}) {
    std::vector<int64_t> to = ByBlocks(n, 8, 4, n);
    std::sort(to.begin(), to.end());
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(to[i], static_cast<int64_t>(i)) << n;
  }
}

TEST(Shuffle, ByBlocksAStretchComesFromFewBlocks) {
  constexpr size_t kBlock = 16, kBlocks = 8;
  const std::vector<int64_t> to = ByBlocks(64 * kBlock * kBlocks, kBlock, kBlocks, 3);
  std::vector<int64_t> least;  // of each stretch
  for (size_t begin = 0; begin < to.size(); begin += kBlock * kBlocks) {
    std::set<int64_t> places;
    for (size_t i = begin; i < begin + kBlock * kBlocks; ++i)
      places.insert(to[i] / static_cast<int64_t>(kBlock));
    EXPECT_EQ(places.size(), kBlocks);
    least.push_back(*places.begin());
  }
  // Blocks are drawn from everywhere, and items within a stretch.
  EXPECT_FALSE(std::is_sorted(least.begin(), least.end()));
  EXPECT_FALSE(std::is_sorted(to.begin(), to.begin() + kBlock));
  EXPECT_NE(to, ByBlocks(to.size(), kBlock, kBlocks, 4));
}

// Over 4000 seeds each of 12 items comes to each place 333.3 times, with a standard deviation of
// sqrt(4000 / 12 * 11 / 12) = 17.5. Five of them for 144 counts: once in 10^4 seeds.
TEST(Shuffle, ByBlocksEveryItemIsAsLikelyInEveryPlace) {
  std::vector<std::vector<int>> counts(12, std::vector<int>(12));
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    const std::vector<int64_t> to = ByBlocks(12, 2, 3, seed);
    for (size_t i = 0; i < 12; ++i) ++counts[i][static_cast<size_t>(to[i])];
  }
  for (const auto& place : counts) {
    for (const int count : place) EXPECT_TRUE(std::abs(count - 333.3) <= 5 * 17.5) << count;
  }
}

}  // namespace
}  // namespace lockstep
