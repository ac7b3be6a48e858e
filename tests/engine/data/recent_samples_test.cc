#include "engine/data/recent_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "models/testing/count_heap.h"

namespace lockstep::inline v0_1 {
namespace {

using lockstep::checks::HeapCalls;
using lockstep::checks::kCountsHeap;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

RecentSamples Ring(int64_t capacity, int64_t batch, uint64_t seed = 1) {
  return RecentSamples::Make(
             {.capacity = capacity, .batch = batch, .x = {2}, .target = {1}, .seed = seed})
      .value();
}

// Sample n is x = (n, -n), target 10 n.
void Add(RecentSamples& ring, int first, int count) {
  std::vector<float> x, target;
  for (int n = first; n < first + count; ++n) {
    x.push_back(static_cast<float>(n));
    x.push_back(static_cast<float>(-n));
    target.push_back(10.0f * static_cast<float>(n));
  }
  const Status status = ring.Add({x.data(), {count, 2}}, {target.data(), {count, 1}});
  ASSERT_TRUE(status.ok()) << status.message();
}

std::vector<int> Remembered(const RecentSamples& ring) {
  std::vector<int> numbers;
  for (int64_t i = 0; i < ring.size(); ++i) {
    const SampleBatch sample = ring.Sample(i);
    const auto n = static_cast<int>(sample.x.f32()[0]);
    EXPECT_EQ(sample.x.f32()[1], static_cast<float>(-n));
    EXPECT_EQ(sample.target.f32()[0], 10.0f * static_cast<float>(n));
    numbers.push_back(n);
  }
  return numbers;
}

std::vector<int> Drawn(RecentSamples& ring, uint64_t step, int64_t newest = 0) {
  const SampleBatch batch = ring.Draw(step, newest).value();
  std::vector<int> numbers;
  for (int64_t i = 0; i < batch.x.shape().batch(); ++i) {
    const float n = batch.x.f32()[2 * i];
    EXPECT_EQ(batch.x.f32()[2 * i + 1], -n);
    EXPECT_EQ(batch.target.f32()[i], 10.0f * n);
    numbers.push_back(static_cast<int>(n));
  }
  return numbers;
}

TEST(RecentSamplesTest, ForgetsTheOldest) {
  RecentSamples ring = Ring(4, 2);
  EXPECT_EQ(ring.Draw(0).status().code(), Code::kInvalid);
  Add(ring, 0, 3);
  EXPECT_THAT(Remembered(ring), ElementsAre(0, 1, 2));
  Add(ring, 3, 2);
  EXPECT_THAT(Remembered(ring), ElementsAre(1, 2, 3, 4));
  Add(ring, 5, 0);
  EXPECT_THAT(Remembered(ring), ElementsAre(1, 2, 3, 4));
  Add(ring, 5, 11);  // more than there is room for
  EXPECT_THAT(Remembered(ring), ElementsAre(12, 13, 14, 15));
  EXPECT_EQ(ring.size(), 4);
  EXPECT_EQ(ring.added(), 16);
  RecentSamples moved = std::move(ring);
  Add(moved, 16, 1);
  EXPECT_THAT(Remembered(moved), ElementsAre(13, 14, 15, 16));
}

TEST(RecentSamplesTest, DrawsAreDistinctAndFunctionsOfSeedAndStep) {
  RecentSamples ring = Ring(50, 8), same = Ring(50, 8), other = Ring(50, 8, 2);
  for (RecentSamples* one : {&ring, &same, &other}) Add(*one, 0, 70);
  (void)Drawn(same, 99);  // what was drawn before does not matter
  std::set<std::vector<int>> seen;
  for (uint64_t step = 0; step < 20; ++step) {
    const std::vector<int> numbers = Drawn(ring, step);
    EXPECT_EQ(Drawn(same, step), numbers);
    EXPECT_NE(Drawn(other, step), numbers);
    EXPECT_EQ(std::set<int>(numbers.begin(), numbers.end()).size(), 8u);
    seen.insert(numbers);
  }
  EXPECT_EQ(seen.size(), 20u);
}

TEST(RecentSamplesTest, FewerThanABatchAreAllDrawn) {
  RecentSamples ring = Ring(50, 8);
  Add(ring, 0, 5);
  const std::vector<int> numbers = Drawn(ring, 0);
  EXPECT_EQ(std::set<int>(numbers.begin(), numbers.end()), (std::set<int>{0, 1, 2, 3, 4}));
}

TEST(RecentSamplesTest, TheNewestAreInTheBatchThatAsksForThem) {
  RecentSamples ring = Ring(50, 8);
  Add(ring, 0, 60);
  for (uint64_t step = 0; step < 20; ++step) {
    const std::vector<int> numbers = Drawn(ring, step, 3);
    EXPECT_EQ(std::set<int>(numbers.begin(), numbers.end()).size(), 8u);
    EXPECT_THAT(std::vector<int>(numbers.begin(), numbers.begin() + 3), ElementsAre(57, 58, 59));
  }
  EXPECT_EQ(Drawn(ring, 0, 100).size(), 8u);  // a batch of the newest alone
  EXPECT_THAT(Drawn(ring, 0, 100), ::testing::Contains(52));
  EXPECT_FALSE(ring.Draw(0, -1).ok());
}

// Each of n samples comes in a share b / n of T draws: 5 sd of sqrt(T p (1 - p)).
TEST(RecentSamplesTest, EachSampleIsAsLikely) {
  constexpr int kDraws = 4000, kSamples = 20, kBatch = 6;
  RecentSamples ring = Ring(kSamples, kBatch);
  Add(ring, 0, kSamples);
  std::array<int, kSamples> counts{};
  for (uint64_t step = 0; step < kDraws; ++step) {
    for (const int n : Drawn(ring, step)) ++counts[static_cast<size_t>(n)];
  }
  const double p = static_cast<double>(kBatch) / kSamples, sd = std::sqrt(kDraws * p * (1.0 - p));
  for (const int count : counts) EXPECT_NEAR(count, kDraws * p, 5.0 * sd);
}

TEST(RecentSamplesTest, WhatIsNotFiniteOrDoesNotFitIsRefusedAndNothingIsAdded) {
  RecentSamples ring = Ring(10, 4);
  Add(ring, 0, 3);
  std::vector<float> x(6, 1.0f), target(3, 1.0f);
  x[3] = NAN;
  const Status nan = ring.Add({x.data(), {3, 2}}, {target.data(), {3, 1}});
  EXPECT_EQ(nan.code(), Code::kNonFinite);
  EXPECT_EQ(nan.message(), "x of sample 1 is nan at place 1");
  x[3] = 1.0f;
  target[2] = INFINITY;
  EXPECT_THAT(ring.Add({x.data(), {3, 2}}, {target.data(), {3, 1}}).message(),
              HasSubstr("target of sample 2 is infinite"));
  EXPECT_THAT(ring.Add({x.data(), {2, 3}}, {target.data(), {2, 1}}).message(),
              HasSubstr("x is f32 (2, 3), expected f32 (2, 2)"));
  EXPECT_THAT(ring.Add({x.data(), {2, 2}}, {target.data(), {3, 1}}).message(),
              HasSubstr("expected f32 (2, 1)"));
  EXPECT_THAT(
      ring.Add({static_cast<const float*>(nullptr), {2, 2}}, {target.data(), {2, 1}}).message(),
      HasSubstr("null"));
  EXPECT_THAT(Remembered(ring), ElementsAre(0, 1, 2));
  EXPECT_FALSE(RecentSamples::Make({.capacity = 3, .batch = 4, .x = {1}, .target = {1}}).ok());
  EXPECT_FALSE(RecentSamples::Make({.capacity = 3, .batch = 2, .x = {0}, .target = {1}}).ok());
}

TEST(RecentSamplesTest, ClassNumbersAndTokensAreRemembered) {
  RecentSamples ring = RecentSamples::Make({.capacity = 3,
                                            .batch = 2,
                                            .x = {2},
                                            .target = {},
                                            .x_dtype = DType::kI32,
                                            .target_dtype = DType::kI32})
                           .value();
  const std::vector<int32_t> tokens = {1, 2, 3, 4}, classes = {7, 8};
  ASSERT_TRUE(ring.Add({tokens.data(), {2, 2}}, {classes.data(), {2}}).ok());
  EXPECT_EQ(ring.Sample(1).target.as<int32_t>()[0], 8);
  const SampleBatch batch = ring.Draw(0).value();
  EXPECT_EQ(batch.target.shape(), (Shape{2}));
  EXPECT_EQ(batch.x.shape(), (Shape{2, 2}));
}

TEST(RecentSamplesTest, TakesNothingFromTheHeap) {
  if (!kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  RecentSamples ring = Ring(50, 8);
  const std::vector<float> x(20, 1.0f), target(10, 2.0f);
  const int64_t before = HeapCalls();
  for (uint64_t step = 0; step < 20; ++step) {
    ASSERT_TRUE(ring.Add({x.data(), {10, 2}}, {target.data(), {10, 1}}).ok());
    ASSERT_TRUE(ring.Draw(step, 2).ok());
  }
  EXPECT_EQ(HeapCalls(), before);
}

}  // namespace
}  // namespace lockstep
