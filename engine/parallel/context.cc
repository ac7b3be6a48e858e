#include "engine/parallel/context.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/denormals.h"

#if defined(__has_feature)
#define LOCKSTEP_HAS_FEATURE(feature) __has_feature(feature)
#else
#define LOCKSTEP_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || LOCKSTEP_HAS_FEATURE(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define LOCKSTEP_HAPPENS_BEFORE(place) \
  __tsan_release(const_cast<void*>(static_cast<const void*>(place)))
#define LOCKSTEP_HAPPENS_AFTER(place) \
  __tsan_acquire(const_cast<void*>(static_cast<const void*>(place)))
#else
#define LOCKSTEP_HAPPENS_BEFORE(place) static_cast<void>(0)
#define LOCKSTEP_HAPPENS_AFTER(place) static_cast<void>(0)
#endif

namespace lockstep {
namespace {

// Quota over period of the cgroup this process is in, or infinity: cgroup v2 (cpu.max), then v1
// (cfs_quota_us).
double CgroupCpus() {
  std::string quota;
  double period = 0.0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max");
      v2 >> quota >> period && quota != "max" && period > 0.0) {
    return std::strtod(quota.c_str(), nullptr) / period;
  }
  double microseconds = 0.0;
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1_quota >> microseconds && v1_period >> period && microseconds > 0.0 && period > 0.0) {
    return microseconds / period;
  }
  return HUGE_VAL;
}

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

constexpr size_t kCacheLine = 64;

// A helper that finds no work spins this long before it hands its thread back to TBB. Long enough
// to bridge the serial stretches inside a training step, so that a step makes no system call; short
// enough that an idle engine costs a host program nothing it would notice.
constexpr auto kLinger = std::chrono::microseconds(200);
constexpr int kPausesPerClock = 64;
constexpr auto kPatience = std::chrono::milliseconds(500);

}  // namespace

int AvailableThreads() {
  const int masked = tbb::info::default_concurrency();
  const double quota = CgroupCpus();
  if (quota >= masked) return masked;
  return std::max(1, static_cast<int>(std::ceil(quota)));
}

// Fork and join without a lock or a system call: the caller publishes a loop, helpers that are
// already awake inside the arena claim its tasks. tbb::parallel_for was measured first: 2 to 4
// microseconds for each loop on two cores against 0.3 here, which decides whether a step of a small
// network gains from a second thread at all.
//
// The tasks are dealt as one contiguous block to each thread, so that the same thread meets the
// same rows in loop after loop; who has finished its own block takes from the others'. A claim
// counts down the tasks left in a block. It can only succeed while the loop is open, and the loop
// stays open until every claimed task has been counted as done, so the fields a claimant reads
// after a successful claim belong to the loop it claimed from, however late it woke.
class Context::Team {
 public:
  Team(int threads, bool join_current_arena) : state_(std::make_shared<State>(threads)) {
    if (join_current_arena) {
      arena_.emplace(tbb::task_arena::attach());
    } else {
      // TBB starts no more workers than the machine has cores unless it is told to; whoever asks
      // for more gets them (tests of the same bits on 8 threads do). The setting ends with the
      // Context.
      if (threads > tbb::info::default_concurrency()) {
        allow_.emplace(tbb::global_control::max_allowed_parallelism, static_cast<size_t>(threads));
      }
      arena_.emplace(threads, /*reserved_for_masters=*/1);
      arena_->initialize();
    }
  }

  // Helpers that are inside leave at once. Those that were asked for but have not been given a
  // thread yet find `closing` set when they are; the state is theirs too, so they are only waited
  // for as long as a busy machine may reasonably take.
  ~Team() {
    state_->closing.store(true);
    const auto start = std::chrono::steady_clock::now();
    while (state_->inside.load() > 0 ||
           (state_->summoned.load() > 0 && std::chrono::steady_clock::now() - start < kPatience)) {
      std::this_thread::yield();
    }
  }

  void Run(int64_t tasks, FunctionRef<void(int64_t, int)> body) {
    State& s = *state_;
    s.body = &body;
    s.done.store(0, std::memory_order_relaxed);
    for (int64_t t = 0; t < s.threads; ++t) {
      Block& block = s.blocks[static_cast<size_t>(t)];
      block.end = tasks * (t + 1) / s.threads;
      block.left.store(block.end - tasks * t / s.threads, std::memory_order_release);
    }
    // Helpers linger between loops, so this is almost always one comparison.
    while (s.summoned.load(std::memory_order_relaxed) < s.threads - 1) {
      s.summoned.fetch_add(1, std::memory_order_relaxed);
      arena_->enqueue(Summons(state_));
    }
    if (const int64_t count = s.Work(0); count > 0)
      s.done.fetch_add(count, std::memory_order_acq_rel);
    while (s.done.load(std::memory_order_acquire) != tasks) s.Wait();
  }

 private:
  struct alignas(kCacheLine) Block {
    std::atomic<int64_t> left{0};  // tasks nobody has claimed; the next one is end - left
    int64_t end = 0;
  };

  struct State {
    explicit State(int team_size)
        : threads(team_size),
          crowded(team_size > AvailableThreads()),
          blocks(Count()),
          slot_taken(Count()) {}

    size_t Count() const { return static_cast<size_t>(threads); }

    // With more threads than cores, spinning would keep the thread that has the work off its core.
    void Wait() const { crowded ? std::this_thread::yield() : Pause(); }

    // Runs tasks until none is left to claim; returns how many. Thread `t` begins with its own
    // block.
    int64_t Work(int t) {
      int64_t count = 0;
      for (int64_t i = 0; i < threads; ++i) {
        Block& block = blocks[static_cast<size_t>((t + i) % threads)];
        int64_t left = block.left.load(std::memory_order_acquire);
        while (left > 0) {
          if (!block.left.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                                std::memory_order_acquire)) {
            continue;
          }
          (*body)(block.end - left, t);
          ++count;
          left = block.left.load(std::memory_order_acquire);
        }
      }
      return count;
    }

    bool Open() const {
      for (const Block& block : blocks) {
        if (block.left.load(std::memory_order_relaxed) > 0) return true;
      }
      return false;
    }

    void Help() {
      inside.fetch_add(1);
      size_t slot = 1;
      while (slot < Count() && slot_taken[slot].exchange(true)) ++slot;
      if (slot < Count()) {
        HelpAs(static_cast<int>(slot));
        slot_taken[slot].store(false);
      }
      summoned.fetch_sub(1);
      inside.fetch_sub(1);
    }

    void HelpAs(int slot) {
      ScopedFlushDenormals flush;
      auto last_work = std::chrono::steady_clock::now();
      while (!closing.load()) {
        if (const int64_t count = Work(slot); count > 0) {
          done.fetch_add(count, std::memory_order_acq_rel);
          last_work = std::chrono::steady_clock::now();
          continue;
        }
        for (int i = 0; i < kPausesPerClock && !Open(); ++i) Wait();
        if (!Open() && std::chrono::steady_clock::now() - last_work > kLinger) break;
      }
    }

    const int64_t threads;
    const bool crowded;
    std::vector<Block> blocks;
    std::vector<std::atomic<bool>> slot_taken;
    const FunctionRef<void(int64_t, int)>* body = nullptr;
    alignas(kCacheLine) std::atomic<int64_t> done{0};
    alignas(kCacheLine) std::atomic<int64_t> summoned{0};  // asked for, and not yet gone again
    std::atomic<int64_t> inside{0};
    std::atomic<bool> closing{false};
  };

  // What TBB's queue hands to a thread of the arena. TBB is not built for ThreadSanitizer, so the
  // order that the queue keeps is told here: a task is made before it runs, and has ended before
  // its memory becomes another task's.
  struct Lifetime {
    Lifetime() { LOCKSTEP_HAPPENS_AFTER(this); }
    ~Lifetime() { LOCKSTEP_HAPPENS_BEFORE(this); }
  };
  class Summons : Lifetime {
   public:
    explicit Summons(std::shared_ptr<State> state) : state_(std::move(state)) {}
    Summons(Summons&& other) noexcept : Lifetime(), state_(std::move(other.state_)) {
      LOCKSTEP_HAPPENS_BEFORE(this);
    }
    void operator()() const {
      LOCKSTEP_HAPPENS_AFTER(this);
      state_->Help();
    }

   private:
    std::shared_ptr<State> state_;
  };

  std::shared_ptr<State> state_;
  std::optional<tbb::global_control> allow_;
  std::optional<tbb::task_arena> arena_;
};

Context::Context(ContextOptions options) {
  LOCKSTEP_CHECK_GE(options.threads, 0);
  threads_ = options.threads > 0 ? options.threads : AvailableThreads();
  if (options.join_current_arena)
    threads_ = std::min(threads_, tbb::this_task_arena::max_concurrency());
  if (threads_ > 1) team_ = std::make_unique<Team>(threads_, options.join_current_arena);
}

Context::~Context() = default;

void Context::For(int64_t tasks, int64_t work, FunctionRef<void(int64_t)> body) {
  ForWithThread(tasks, work, [&](int64_t task, int) { body(task); });
}

void Context::ForWithThread(int64_t tasks, int64_t work, FunctionRef<void(int64_t, int)> body) {
  ScopedFlushDenormals flush;
  if (team_ == nullptr || tasks <= 1 || work < kInlineWork) {
    for (int64_t i = 0; i < tasks; ++i) body(i, 0);
  } else {
    team_->Run(tasks, body);
  }
}

}  // namespace lockstep
