#include "engine/plan/planner.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep {
namespace {

struct Booked {
  int id = 0;
  int64_t bytes = 0;
  int from = 0, to = 0;  // in one course of time: forward ticks, then backward ones in reverse
};

// The course of a step over `last` ticks.
int TimeOf(Moment m, int last) { return m.backward ? 2 * last - m.tick : m.tick; }

// Random lifetimes, as layers would book them: two buffers that live at the same time never
// overlap, and all lie inside the arena.
TEST(PlannerTest, BuffersThatLiveTogetherNeverOverlap) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed, StreamOf("planner"));
    Planner plan({});
    std::vector<Booked> booked;
    constexpr int kLayers = 12;
    constexpr int kLast = 1000;
    for (int layer = 0; layer < kLayers; ++layer) {
      Planner::Scope scope(plan, std::to_string(layer), "Layer", {1});
      for (uint64_t n = random.Below(4); n > 0; --n) {
        const auto floats = static_cast<int64_t>(random.Below(200));
        const Moment first{static_cast<int>(random.Below(2 * kLayers)) + 1, random.Below(3) == 0};
        Moment last{static_cast<int>(random.Below(2 * kLayers)) + 1, random.Below(2) == 0};
        if (TimeOf(last, kLast) < TimeOf(first, kLast)) last = first;
        booked.push_back({plan.BookBetween(floats, first, last).id, floats * 4,
                          TimeOf(first, kLast), TimeOf(last, kLast)});
      }
      const int begin = scope.begin();
      booked.push_back({plan.Book<double>(5, Life::kStep).id, 40, begin, 2 * kLast - begin});
      booked.push_back({plan.Book(7, Life::kBound).id, 28, 0, 2 * kLast});
    }
    const Planner::Layout layout = plan.LayOut();
    EXPECT_LE(layout.bytes, layout.unshared_bytes);
    for (size_t i = 0; i < booked.size(); ++i) {
      const Booked& a = booked[i];
      const int64_t a_begin = layout.offsets[static_cast<size_t>(a.id)];
      EXPECT_EQ(a_begin % 64, 0);
      EXPECT_LE(a_begin + a.bytes, layout.bytes);
      for (size_t j = 0; j < i; ++j) {
        const Booked& b = booked[j];
        if (a.from > b.to || b.from > a.to) continue;
        const int64_t b_begin = layout.offsets[static_cast<size_t>(b.id)];
        EXPECT_TRUE(a_begin + a.bytes <= b_begin || b_begin + b.bytes <= a_begin)
            << "seed " << seed << ", buffers " << a.id << " and " << b.id;
      }
    }
  }
}

TEST(PlannerTest, ScratchIsSharedByLayersSideBySideAndNotByThoseWithinEachOther) {
  Planner plan({});
  Planner::Scope outer(plan, "", "Outer", {1});
  const int outside = plan.Book(16, Life::kCall).id;
  int first = 0, second = 0;
  {
    Planner::Scope inner(plan, "0", "Inner", {1});
    first = plan.Book(32, Life::kCall).id;
  }
  {
    Planner::Scope inner(plan, "1", "Inner", {1});
    second = plan.Book(48, Life::kCall).id;
  }
  outer.Close();
  const Planner::Layout layout = plan.LayOut();
  const auto offset = [&](int id) { return layout.offsets[static_cast<size_t>(id)]; };
  EXPECT_EQ(offset(first), offset(second));
  EXPECT_EQ(offset(first), offset(outside) + 64);
  EXPECT_EQ(layout.bytes, 64 + 192);
}

TEST(PlannerTest, WithoutSharingEveryBufferHasItsOwn) {
  Planner plan({.share = false});
  for (int layer = 0; layer < 3; ++layer) {
    Planner::Scope scope(plan, std::to_string(layer), "Layer", {1});
    plan.Book(16, Life::kCall);
    plan.Book(16, Life::kStep);
    const Moment now{plan.now(), false};
    plan.BookBetween(16, now, now);
  }
  Planner::Layout layout = plan.LayOut();
  EXPECT_EQ(layout.bytes, 9 * 64);
  EXPECT_EQ(layout.bytes, layout.unshared_bytes);
  std::sort(layout.offsets.begin(), layout.offsets.end());
  for (size_t i = 0; i < layout.offsets.size(); ++i)
    EXPECT_EQ(layout.offsets[i], static_cast<int64_t>(i) * 64);
}

TEST(PlannerTest, NamesFollowThePathAndParametersStartAtCacheLines) {
  Planner plan({});
  {
    Planner::Scope outer(plan, "3", "Residual", {2, 4});
    Planner::Scope inner(plan, "body", "Linear", {2, 4});
    plan.AddParameter("weight", {3, 4}, Init::Constant(0.0f), Decay::kYes);
    plan.AddParameter("bias", {3}, Init::Constant(0.0f), Decay::kNo);
    plan.AddState("running_mean", {3}, 0.0f);
    inner.Close({2, 3}, 24.0);
  }
  EXPECT_EQ(plan.parameters()[0].name, "3.body.weight");
  EXPECT_EQ(plan.parameters()[1].name, "3.body.bias");
  EXPECT_EQ(plan.states()[0].name, "3.body.running_mean");
  EXPECT_EQ(plan.parameters()[1].offset, 16);
  EXPECT_EQ(plan.parameter_floats(), 32);
  ASSERT_EQ(plan.report().size(), 2u);
  EXPECT_EQ(plan.report()[0].parameters, 15);
  EXPECT_EQ(plan.report()[1].depth, 1);
  EXPECT_EQ(plan.report()[1].flops, 24.0);
}

}  // namespace
}  // namespace lockstep
