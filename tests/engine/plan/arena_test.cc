#include "engine/plan/arena.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/base/random.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

struct Booked {
  int buffer = 0;
  int64_t bytes = 0;
  int first = 0, last = 0;
  int again = 1, again_last = 0;  // of none
};

bool Meet(const Booked& a, const Booked& b) {
  for (int time = 0; time < 200; ++time) {
    const auto lives = [time](const Booked& c) {
      return (c.first <= time && time <= c.last) || (c.again <= time && time <= c.again_last);
    };
    if (lives(a) && lives(b)) return true;
  }
  return false;
}

// Random lifetimes: two buffers that live at the same time never overlap, and all lie inside.
TEST(ArenaTest, BuffersThatLiveTogetherNeverOverlap) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed, StreamOf("arena"));
    ArenaPlan plan;
    std::vector<Booked> booked;
    constexpr int kTimes = 24;
    int64_t scratch = 0;
    for (int n = 0; n < 40; ++n) {
      const auto bytes = static_cast<int64_t>(random.Below(2000));
      const int first = static_cast<int>(random.Below(kTimes));
      const int last = first + static_cast<int>(random.Below(kTimes));
      booked.push_back({plan.Book(bytes, first, last), bytes, first, last});
      if (n % 3 != 0) continue;
      Booked& twice = booked.back();
      twice.again = last + 1 + static_cast<int>(random.Below(kTimes));
      twice.again_last = twice.again + static_cast<int>(random.Below(kTimes));
      plan.BookAgain(twice.buffer, twice.again, twice.again_last);
    }
    // Scratch may be in use at any time.
    for (int n = 0; n < 3; ++n) {
      booked.push_back({plan.BookScratch(100, scratch), 100, 0, 4 * kTimes});
      scratch += plan.bytes(booked.back().buffer);
    }
    const ArenaPlan::Layout layout = plan.LayOut(/*share=*/true);
    EXPECT_LE(layout.bytes, layout.unshared_bytes);
    for (size_t i = 0; i < booked.size(); ++i) {
      const Booked& a = booked[i];
      const int64_t a_begin = layout.offsets[static_cast<size_t>(a.buffer)];
      EXPECT_EQ(a_begin % ArenaPlan::kAlignment, 0);
      EXPECT_LE(a_begin + a.bytes, layout.bytes);
      for (size_t j = 0; j < i; ++j) {
        const Booked& b = booked[j];
        if (!Meet(a, b)) continue;
        const int64_t b_begin = layout.offsets[static_cast<size_t>(b.buffer)];
        EXPECT_TRUE(a_begin + a.bytes <= b_begin || b_begin + b.bytes <= a_begin)
            << "seed " << seed << ", buffers " << a.buffer << " and " << b.buffer;
      }
    }
  }
}

TEST(ArenaTest, BuffersThatDoNotMeetShareMemory) {
  ArenaPlan plan;
  const int first = plan.Book(640, 0, 1), second = plan.Book(640, 2, 3);
  const ArenaPlan::Layout layout = plan.LayOut(/*share=*/true);
  EXPECT_EQ(layout.offsets[static_cast<size_t>(first)],
            layout.offsets[static_cast<size_t>(second)]);
  EXPECT_EQ(layout.bytes, 640);
  EXPECT_EQ(layout.unshared_bytes, 1280);
}

TEST(ArenaTest, InBetweenItsTwoLivesABuffersMemoryIsFree) {
  ArenaPlan plan;
  const int twice = plan.Book(640, 0, 1), between = plan.Book(640, 2, 4);
  plan.BookAgain(twice, 5, 6);
  const int in_both = plan.Book(64, 4, 5);
  const ArenaPlan::Layout layout = plan.LayOut(/*share=*/true);
  const auto offset = [&](int buffer) { return layout.offsets[static_cast<size_t>(buffer)]; };
  EXPECT_EQ(offset(twice), offset(between));
  EXPECT_EQ(offset(in_both), 640);
  EXPECT_EQ(layout.bytes, 704);
}

TEST(ArenaTest, ScratchIsOneRegionInFrontOfEverything) {
  ArenaPlan plan;
  const int of_one = plan.BookScratch(100, 0), more = plan.BookScratch(100, 128);
  const int of_another = plan.BookScratch(300, 0);
  const int value = plan.Book(64, 5, 6);
  const ArenaPlan::Layout layout = plan.LayOut(/*share=*/true);
  const auto offset = [&](int buffer) { return layout.offsets[static_cast<size_t>(buffer)]; };
  EXPECT_EQ(offset(of_one), 0);
  EXPECT_EQ(offset(more), 128);
  EXPECT_EQ(offset(of_another), 0);
  EXPECT_EQ(offset(value), 320);
  EXPECT_EQ(layout.bytes, 384);
}

TEST(ArenaTest, WhatIsKeptHasMemoryOfItsOwn) {
  ArenaPlan plan;
  const int a = plan.BookForever(100), b = plan.BookForever(10);
  plan.Book(64, 0, 0);
  const ArenaPlan::Layout layout = plan.LayOut(/*share=*/true);
  EXPECT_TRUE(plan.is_kept(a) && plan.is_kept(b));
  EXPECT_EQ(layout.offsets[static_cast<size_t>(b)], 128);
  EXPECT_EQ(layout.kept_bytes, 192);
  EXPECT_EQ(layout.bytes, 64);
}

TEST(ArenaTest, WhatIsDerivedLiesByItself) {
  ArenaPlan plan;
  const int kept = plan.BookForever(100), a = plan.BookDerived(65), b = plan.BookDerived(10);
  for (const bool share : {true, false}) {
    const ArenaPlan::Layout layout = plan.LayOut(share);
    EXPECT_EQ(layout.offsets[static_cast<size_t>(kept)], 0);
    EXPECT_EQ(layout.offsets[static_cast<size_t>(a)], 0);
    EXPECT_EQ(layout.offsets[static_cast<size_t>(b)], 128);
    EXPECT_EQ(layout.kept_bytes, 128);
    EXPECT_EQ(layout.derived_bytes, 192);
    EXPECT_EQ(layout.bytes, 0);
  }
  EXPECT_TRUE(plan.is_derived(a) && !plan.is_derived(kept) && !plan.is_kept(a));
}

TEST(ArenaTest, WithoutSharingEveryBufferHasItsOwn) {
  ArenaPlan plan;
  for (int i = 0; i < 3; ++i) {
    plan.Book(16, i, i);
    plan.BookScratch(16, 0);
  }
  ArenaPlan::Layout layout = plan.LayOut(/*share=*/false);
  EXPECT_EQ(layout.bytes, 6 * 64);
  EXPECT_EQ(layout.bytes, layout.unshared_bytes);
  std::sort(layout.offsets.begin(), layout.offsets.end());
  for (size_t i = 0; i < layout.offsets.size(); ++i)
    EXPECT_EQ(layout.offsets[i], static_cast<int64_t>(i) * 64);
}

}  // namespace
}  // namespace lockstep
