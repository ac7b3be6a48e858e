// tbb::global_control of the host program: kept to, and left alone.
#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "engine/parallel/context.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kWorth = Context::kInlineWork;

std::unique_ptr<tbb::global_control> Allow(size_t threads) {
  return std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism,
                                               threads);
}
size_t Allowed() {
  return tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
}

// The threads that some loops ran on.
size_t ThreadsUsed(Context& ctx) {
  std::mutex mutex;
  std::set<std::thread::id> used;
  for (int loop = 0; loop < 200; ++loop) {
    ctx.For(32, kWorth, [&](int64_t) {
      const std::lock_guard lock(mutex);
      used.insert(std::this_thread::get_id());
    });
  }
  return used.size();
}

TEST(HostLimit, ATeamIsNoLargerThanTheHostAllows) {
  for (const size_t allowed : {1, 2, 3}) {
    const auto limit = Allow(allowed);
    Context ctx({.threads = 8});
    EXPECT_EQ(ctx.threads(), static_cast<int>(allowed));
    EXPECT_LE(ThreadsUsed(ctx), allowed);
    EXPECT_EQ(Allowed(), allowed);
    EXPECT_LE(Context().threads(), static_cast<int>(allowed));
    tbb::task_arena arena(4);
    arena.execute([&] {
      Context guest({.threads = 8, .join_current_arena = true});
      EXPECT_EQ(guest.threads(), static_cast<int>(allowed));
      EXPECT_LE(ThreadsUsed(guest), allowed);
    });
    EXPECT_EQ(Allowed(), allowed);
  }
}

TEST(HostLimit, WithoutOneAContextHasTheThreadsItWasAskedFor) {
  const size_t before = Allowed();
  const int many = static_cast<int>(before) + 6;
  {
    Context first({.threads = many});
    Context second({.threads = many + 1});
    EXPECT_EQ(first.threads(), many);
    EXPECT_EQ(second.threads(), many + 1);
    std::atomic<int64_t> sum{0};
    first.For(10, kWorth, [&](int64_t i) { sum += i; });
    second.For(10, kWorth, [&](int64_t i) { sum += i; });
    EXPECT_EQ(sum.load(), 90);
  }
  EXPECT_EQ(Allowed(), before);
}

TEST(HostLimit, IsTheHostsOwnWhileAContextOfMoreThreadsLives) {
  Context ctx({.threads = static_cast<int>(Allowed()) + 6});
  for (const size_t allowed : {1, 2, 12}) {
    const auto limit = Allow(allowed);
    EXPECT_EQ(Allowed(), allowed);
  }
}

TEST(HostLimit, ThatComesLaterHoldsForTheHelpersThatAreAskedForThen) {
  Context ctx({.threads = 4});
  const auto limit = Allow(1);
  EXPECT_EQ(ThreadsUsed(ctx), 1u);
}

}  // namespace
}  // namespace lockstep
