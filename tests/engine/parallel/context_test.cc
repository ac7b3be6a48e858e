#include "engine/parallel/context.h"

#include <gtest/gtest.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#include "engine/base/denormals.h"

namespace lockstep {
namespace {

constexpr int64_t kWorth = Context::kInlineWork;  // enough work to be spread over threads

TEST(Context, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    SCOPED_TRACE(threads);
    Context ctx({.threads = threads});
    EXPECT_EQ(ctx.threads(), threads);
    for (const int64_t tasks : {0, 1, 2, 3, 7, 64, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      for (int round = 0; round < 20; ++round) {
        ctx.For(tasks, kWorth, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
      }
      for (const auto& count : runs) EXPECT_EQ(count.load(), 20);
    }
  }
}

TEST(Context, NumbersItsThreadsSoThatScratchIsNeverShared) {
  Context ctx({.threads = 3});
  std::vector<std::atomic<int>> inside(3);
  std::atomic<bool> clash{false};
  for (int round = 0; round < 200; ++round) {
    ctx.ForWithThread(50, kWorth, [&](int64_t, int thread) {
      if (inside[static_cast<size_t>(thread)]++ != 0) clash = true;
      --inside[static_cast<size_t>(thread)];
    });
  }
  EXPECT_FALSE(clash);
}

TEST(Context, SmallLoopsStayOnTheCaller) {
  Context ctx({.threads = 4});
  const std::thread::id caller = std::this_thread::get_id();
  for (int round = 0; round < 100; ++round) {
    ctx.For(8, Context::kInlineWork - 1,
            [&](int64_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
  }
}

// What a task writes is seen by the caller, and by the tasks of the next loop, whichever thread
// runs them.
TEST(Context, LoopsHappenOneAfterTheOther) {
  Context ctx({.threads = 2});
  constexpr int64_t kTasks = 16;
  std::vector<int64_t> values(kTasks, 0);
  for (int64_t round = 0; round < 5000; ++round) {
    ctx.For(kTasks, kWorth, [&](int64_t i) {
      const auto neighbour = static_cast<size_t>((i + 1) % kTasks);
      const auto own = static_cast<size_t>(i);
      if (round % 2 == 0) {
        values[own] = round;
      } else {
        EXPECT_GE(values[neighbour], round - 1);
      }
    });
    if (round % 2 == 0) {
      for (const int64_t v : values) ASSERT_EQ(v, round);
    }
  }
}

TEST(Context, FlushesDenormalsAndRestoresTheCallersMode) {
  Context ctx({.threads = 2});
  volatile float tiny = std::numeric_limits<float>::denorm_min();
  std::vector<float> products(64, 1.0f);
  ctx.For(64, kWorth, [&](int64_t i) { products[static_cast<size_t>(i)] = tiny + tiny; });
#if defined(__x86_64__) || defined(__aarch64__)
  for (const float p : products) EXPECT_EQ(p, 0.0f);
#endif
  const float after = tiny + tiny;
  EXPECT_GT(after, 0.0f);
}

TEST(Context, SeveralWorkSideBySide) {
  std::vector<std::thread> hosts;
  std::atomic<int64_t> sum{0};
  for (int h = 0; h < 3; ++h) {
    hosts.emplace_back([&] {
      Context ctx({.threads = 2});
      for (int round = 0; round < 500; ++round) {
        ctx.For(10, kWorth, [&](int64_t i) { sum += i; });
      }
    });
  }
  for (std::thread& host : hosts) host.join();
  EXPECT_EQ(sum.load(), 3 * 500 * 45);
}

TEST(Context, JoinsTheArenaOfItsHost) {
  tbb::task_arena arena(2);
  arena.execute([] {
    Context ctx({.threads = 8, .join_current_arena = true});
    EXPECT_LE(ctx.threads(), 2);
    std::atomic<int64_t> sum{0};
    for (int round = 0; round < 200; ++round) {
      ctx.For(10, kWorth, [&](int64_t i) { sum += i; });
    }
    EXPECT_EQ(sum.load(), 200 * 45);
  });
}

// Helpers that were asked for and come late, or never, keep nobody waiting and touch nothing that
// has ended.
TEST(Context, EndsAtOnceAfterALoop) {
  for (int round = 0; round < 300; ++round) {
    Context ctx({.threads = 1 + round % 4});
    std::atomic<int64_t> count{0};
    ctx.For(4, kWorth, [&](int64_t) { ++count; });
    ASSERT_EQ(count.load(), 4);
  }
}

TEST(AvailableThreads, IsAtLeastOne) { EXPECT_GE(AvailableThreads(), 1); }

}  // namespace
}  // namespace lockstep
