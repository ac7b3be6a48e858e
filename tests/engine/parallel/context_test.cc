#include "engine/parallel/context.h"

#include <gtest/gtest.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <cfenv>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
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

#if defined(__x86_64__) || defined(__aarch64__)
TEST(Context, BodiesRunInTheEnginesModeOnAnyThread) {
  for (const int threads : {1, 3}) {
    for (const int64_t work : {int64_t{0}, kWorth}) {
      Context ctx({.threads = threads});
      volatile float tiny = std::numeric_limits<float>::denorm_min();
      const int before = std::fegetround();
      std::fesetround(FE_UPWARD);
      std::feclearexcept(FE_ALL_EXCEPT);
      std::atomic<int> wrong{0};
      for (int round = 0; round < 100; ++round) {
        ctx.For(64, work, [&](int64_t) {
          volatile float one = 1.0f, zero = 0.0f;
          volatile float infinite = one / zero;
          if (std::fegetround() != FE_TONEAREST || tiny + tiny != 0.0f || infinite < one) ++wrong;
        });
      }
      const int rounding = std::fegetround(), flags = std::fetestexcept(FE_ALL_EXCEPT);
      const float after = tiny + tiny;
      std::fesetround(before);
      EXPECT_EQ(wrong.load(), 0);
      EXPECT_EQ(rounding, FE_UPWARD);
      EXPECT_EQ(flags, 0);
      EXPECT_GT(after, 0.0f);
    }
  }
}
#endif

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

TEST(Context, WhatABodyThrowsReachesTheCaller) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int64_t work : {int64_t{0}, kWorth}) {
      SCOPED_TRACE(std::to_string(threads) + " threads, work " + std::to_string(work));
      Context ctx({.threads = threads});
      for (int round = 0; round < 100; ++round) {
        std::atomic<int> inside{0};
        std::string caught;
        try {
          ctx.For(40, work, [&](int64_t i) {
            ++inside;
            std::this_thread::yield();
            --inside;
            if (i == 11 || i == 12 || i == 29)
              throw std::runtime_error("task " + std::to_string(i));
          });
        } catch (const std::runtime_error& error) {
          EXPECT_EQ(inside.load(), 0);
          caught = error.what();
        }
        ASSERT_EQ(caught, "task 11");  // the lowest, whatever the timing
        // And the next loop knows nothing of it.
        std::atomic<int64_t> sum{0};
        ctx.For(40, work, [&](int64_t i) { sum += i; });
        ASSERT_EQ(sum.load(), 780);
      }
    }
  }
}

TEST(Context, AnExceptionOfAnyTypeReachesTheCaller) {
  Context ctx({.threads = 2});
  EXPECT_THROW(ctx.For(8, kWorth, [](int64_t) { throw 7; }), int);
}

// For within For would run with another thread's scratch, or wait for itself.
TEST(Context, ALoopWithinALoopFailsACheck) {
  for (const int threads : {1, 2, 3}) {
    for (const int64_t outer : {int64_t{0}, kWorth}) {
      for (const int64_t inner : {int64_t{0}, kWorth}) {
        SCOPED_TRACE(std::to_string(threads) + " threads, work " + std::to_string(outer) + ", " +
                     std::to_string(inner));
        Context ctx({.threads = threads});
        EXPECT_THROW(ctx.For(4, outer, [&](int64_t) { ctx.For(4, inner, [](int64_t) {}); }),
                     CheckFailure);
        Context other({.threads = threads});
        std::atomic<int> count{0};
        std::atomic<bool> busy{false};
        ctx.For(4, outer, [&](int64_t) {
          while (busy.exchange(true)) std::this_thread::yield();
          other.For(4, inner, [&](int64_t) { ++count; });
          busy = false;
        });
        EXPECT_EQ(count.load(), 16);
      }
    }
  }
}

TEST(Context, TwoThreadsAtOnceFailACheck) {
  for (const int threads : {1, 2}) {
    Context ctx({.threads = threads});
    std::atomic<bool> is_inside{false}, may_end{false};
    std::thread first([&] {
      ctx.For(2, kWorth, [&](int64_t) {
        is_inside = true;
        while (!may_end) std::this_thread::yield();
      });
    });
    while (!is_inside) std::this_thread::yield();
    for (const int64_t work : {int64_t{0}, kWorth}) {
      try {
        ctx.For(2, work, [](int64_t) { ADD_FAILURE() << "two loops at once"; });
        ADD_FAILURE() << "no check failed";
      } catch (const CheckFailure& failure) {
        EXPECT_NE(std::string(failure.what()).find("two threads drive it"), std::string::npos);
      }
    }
    may_end = true;
    first.join();  // undisturbed
    std::atomic<int> count{0};
    ctx.For(2, kWorth, [&](int64_t) { ++count; });
    EXPECT_EQ(count.load(), 2);
  }
}

TEST(AvailableThreads, IsAtLeastOne) { EXPECT_GE(AvailableThreads(), 1); }

}  // namespace
}  // namespace lockstep
