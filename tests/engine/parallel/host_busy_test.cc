// A host that needs all of TBB's threads for itself: nothing of a Context waits for it, and nothing
// stays behind in its arenas. Old memory is poisoned here and never used again, so that a task left
// behind would end this program.
#include <gtest/gtest.h>
#include <malloc.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <thread>

#include "engine/parallel/context.h"

// What tasks are made in, and nothing else here: memory aligned to cache lines.
static std::atomic<void*> kept[1 << 14];
static std::atomic<unsigned> kept_count{0};
void* operator new(size_t bytes, std::align_val_t alignment) {
  const auto line = static_cast<size_t>(alignment);
  void* const memory = std::aligned_alloc(line, (bytes + line - 1) / line * line);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory, std::align_val_t) noexcept {
  if (memory == nullptr) return;
  std::memset(memory, 0xee, malloc_usable_size(memory));
  kept[kept_count++ % std::size(kept)] = memory;  // no leak to a sanitizer
}
void operator delete(void* memory, size_t, std::align_val_t alignment) noexcept {
  operator delete(memory, alignment);
}

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kWorth = Context::kInlineWork;
constexpr int kWorkers = 3;
// A worker is free when all rounds are over, not before. Whoever waits for one, and gives up after
// half a second, meets the time limit of a test.
constexpr int kRounds = 1000;
constexpr int kSomeRounds = 50;
constexpr int kLastTasks = 100;

// What tasks of the host touch is not on a stack or in an object: ThreadSanitizer cannot see that
// TBB hands on what was there before.
std::atomic<int> held{0}, ended{0}, ran{0};
std::atomic<bool> released{false};

// All workers that TBB has are inside tasks of the host's arena.
class BusyHost {
 public:
  BusyHost() {
    released = false;
    ended = ran = 0;
    for (int i = 0; i < kWorkers; ++i) {
      arena.enqueue([] {
        ++held;
        while (!released) std::this_thread::yield();
        --held;
      });
    }
    while (held < kWorkers) std::this_thread::yield();
  }
  // Then whatever was left in a queue has its chance to run.
  ~BusyHost() {
    released = true;
    while (held > 0) std::this_thread::yield();
    for (int i = 0; i < kLastTasks; ++i) {
      arena.enqueue([] {
        std::this_thread::yield();
        ++ended;
      });
    }
    while (ended < kLastTasks) std::this_thread::yield();
  }

  tbb::task_arena arena{kWorkers + 1};

 private:
  const tbb::global_control allowed_{tbb::global_control::max_allowed_parallelism, kWorkers + 1};
};

void NoMore() {}

template <class Last = void (*)()>
void UseOnce(const ContextOptions& options, const Last& last = NoMore) {
  Context ctx(options);
  EXPECT_EQ(ctx.threads(), options.threads);
  std::atomic<int64_t> sum{0};
  for (int loop = 0; loop < 3; ++loop) ctx.For(10, kWorth, [&](int64_t i) { sum += i; });
  EXPECT_EQ(sum.load(), 3 * 45);
  last();
}

TEST(HostBusy, AContextOfItsOwnArenaEndsWithoutAWorker) {
  BusyHost host;
  for (int round = 0; round < kRounds; ++round) UseOnce({.threads = 2 + round % 3});
}

TEST(HostBusy, AContextInTheHostsArenaEndsWithoutAWorkerAndRunsNothingOfTheHosts) {
  auto host = std::make_unique<BusyHost>();
  host->arena.execute([&] {
    tbb::task_group group;
    for (int i = 0; i < 20; ++i) {
      group.run([] { ++ran; });
      host->arena.enqueue([] { ++ran; });
    }
    for (int round = 0; round < kRounds; ++round) {
      // On top of the helpers, for which nobody has come, and below the next.
      UseOnce({.threads = 2 + round % 3, .join_current_arena = true},
              [&] { group.run([] { ++ran; }); });
    }
    EXPECT_EQ(ran.load(), 0);
    group.wait();
  });
  host.reset();
  while (ran < 40 + kRounds) std::this_thread::yield();  // nothing of the host's is lost, either
}

TEST(HostBusy, AContextMayEndOnAnotherThread) {
  BusyHost host;
  for (int round = 0; round < kSomeRounds; ++round) {
    auto ctx = std::make_unique<Context>(ContextOptions{.threads = 3});
    ctx->For(10, kWorth, [](int64_t) {});
    std::thread([&] { ctx.reset(); }).join();
  }
}

TEST(HostBusy, HelpersThatWorkLeaveBeforeTheEnd) {
  const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, kWorkers + 1);
  std::atomic<int> inside{0};
  for (int round = 0; round < kSomeRounds; ++round) {
    {
      Context ctx({.threads = 4});
      for (int loop = 0; loop < 1 + round % 10; ++loop) {
        ctx.For(16, kWorth, [&](int64_t) {
          ++inside;
          std::this_thread::yield();
          --inside;
        });
      }
    }
    ASSERT_EQ(inside.load(), 0);
  }
}

TEST(HostBusy, WorkersComeOnceTheHostLetsThemGo) {
  auto host = std::make_unique<BusyHost>();
  Context ctx({.threads = 2});
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> helped{false};
  const auto loop = [&] {
    ctx.For(8, kWorth, [&](int64_t) {
      if (std::this_thread::get_id() != caller) helped = true;
      std::this_thread::yield();
    });
  };
  for (int i = 0; i < 100; ++i) loop();
  EXPECT_FALSE(helped);
  host.reset();
  while (!helped) loop();  // for ever, where the summons has been lost
}

}  // namespace
}  // namespace lockstep
