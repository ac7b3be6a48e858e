#include "engine/parallel/context.h"

#include <dlfcn.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>
#include <oneapi/tbb/version.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/float_mode.h"
#include "engine/parallel/cpu_quota.h"
#include "engine/parallel/shared_loop.h"

#if defined(__has_feature)
#define LOCKSTEP_HAS_FEATURE(feature) __has_feature(feature)
#else
#define LOCKSTEP_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || LOCKSTEP_HAS_FEATURE(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
// TBB is not built for ThreadSanitizer, so the order that its queues keep is told here.
#define LOCKSTEP_HAPPENS_BEFORE(place) __tsan_release(place)
#define LOCKSTEP_HAPPENS_AFTER(place) __tsan_acquire(place)
#else
#define LOCKSTEP_HAPPENS_BEFORE(place) static_cast<void>(0)
#define LOCKSTEP_HAPPENS_AFTER(place) static_cast<void>(0)
#endif

namespace lockstep::inline v0_1 {
namespace {

using Clock = std::chrono::steady_clock;

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// A helper that finds no work spins this long before it hands its thread back to TBB. Long enough
// to bridge the serial stretches inside a training step, so that a step makes no system call; short
// enough that an idle engine costs a host program nothing it would notice.
constexpr auto kLinger = std::chrono::microseconds(200);
constexpr int kPausesPerClock = 64;
// One that finds work hands its thread back after this long all the same, and is asked for again:
// TBB then gives it to whoever needs it most, and what the host has limited meanwhile is kept to.
constexpr auto kShift = std::chrono::milliseconds(100);

size_t AllowedThreads() {
  return tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
}

// TBB starts no more workers than the machine has cores unless it is told to; whoever asks for more
// gets them (tests of the same bits on 8 threads do). Of several such settings TBB keeps to the
// least, so this one lifts none that the host program has made, and is so large that it is in the
// way of none. It ends with the Context.
constexpr size_t kLifted = 256;

// TBB's threads outlive whoever asked for them. A host that has nothing of TBB's itself and unloads
// us would unload TBB's library under them, which crashes (2021.8): the library stays in the process
// from the first team on, unless it is a part of our own file. (What is kept here is no state.)
void KeepTbbLoaded() {
  static const bool once = [] {
    Dl_info tbb, ours;
    const bool found =
        dladdr(reinterpret_cast<const void*>(&TBB_runtime_interface_version), &tbb) != 0 &&
        dladdr(reinterpret_cast<const void*>(&KeepTbbLoaded), &ours) != 0;
    if (found && tbb.dli_fbase != ours.dli_fbase)
      static_cast<void>(dlopen(tbb.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE));
    return true;
  }();
  static_cast<void>(once);
}

// In a process forked from one that has had a team, TBB counts on threads that are not there, which
// may hold its locks for ever. (What is kept here is a constant, set by the first team.)
bool IsForkedFromTeam() {
  static const pid_t first = getpid();
  return getpid() != first;
}

}  // namespace

int AvailableThreads() {
  const int masked = tbb::info::default_concurrency();
  const double quota = CpuQuota();
  if (quota >= masked) return masked;
  return std::max(1, static_cast<int>(std::ceil(quota)));
}

// The helpers: tasks of ours that TBB hands to threads of the arena, one for each thread but the
// caller's. They stay between loops (kLinger), so that a loop wakes nobody.
//
// What is asked of TBB here is that all of them can be taken back. A task that waits in an arena
// for a busy worker would outlive the Context, and the library too where a host unloads it. So they
// are spawned, not enqueued, within an isolated region of the team's own, and the destructor enters
// that region and waits: what no worker has taken it then runs itself, and nothing else, however
// much the host has queued. They are tasks as the algorithms in TBB's headers make them, not those
// of tbb::task_group, which still run code of whoever instantiated them when its wait may have
// returned. Here a store is all that follows.
class Context::Team {
 public:
  Team(int threads, bool join_current_arena, bool crowded,
       std::unique_ptr<tbb::global_control> lifted)
      : loop_(threads),
        crowded_(crowded),
        helpers_(static_cast<size_t>(threads)),
        lifted_(std::move(lifted)) {
    for (int slot = 0; slot < threads; ++slot) {
      helpers_[static_cast<size_t>(slot)].team = this;
      helpers_[static_cast<size_t>(slot)].slot = slot;
    }
    if (join_current_arena) {
      arena_.emplace(tbb::task_arena::attach());
    } else {
      arena_.emplace(threads, /*reserved_for_masters=*/1);
      arena_->initialize();
    }
  }

  ~Team() {
    closing_.store(true);
    InRegion([&] { tbb::detail::d1::wait(unfinished_, group_); });
    for (const Helper& helper : helpers_) {
      while (helper.is_out.load(std::memory_order_acquire)) std::this_thread::yield();
    }
  }

  // Whether this is a forked process's copy of a team that lives in another: nothing of TBB may
  // then be called.
  bool IsCopy() const { return getpid() != process_; }

  void Run(int64_t tasks, const SharedLoop::Body& body) {
    // Helpers linger between loops, so this is almost always one comparison.
    if (summoned_.load(std::memory_order_relaxed) < threads() - 1) Summon();
    loop_.Start(tasks, body);
    loop_.Work(0);
    while (!loop_.IsDone()) Wait();
    loop_.Rethrow();
  }

 private:
  struct Helper final : tbb::detail::d1::task {
    tbb::detail::d1::task* execute(tbb::detail::d1::execution_data&) override {
      LOCKSTEP_HAPPENS_AFTER(this);
      if (slot > 0) team->HelpAs(slot);
      team->unfinished_.release();
      is_out.store(false, std::memory_order_release);  // nothing may follow: see ~Team
      return nullptr;
    }
    tbb::detail::d1::task* cancel(tbb::detail::d1::execution_data& data) override {
      return execute(data);  // never: nobody cancels the group
    }
    Team* team = nullptr;
    int slot = 0;                     // its number in the team
    std::atomic<bool> is_out{false};  // spawned, and not yet done
  };

  int threads() const { return static_cast<int>(helpers_.size()); }

  // With more threads than cores, spinning would keep the thread that has the work off its core.
  void Wait() const { crowded_ ? std::this_thread::yield() : Pause(); }

  // Asks for the helpers that are missing, as far as the host lets TBB have threads.
  void Summon() {
    if (IsCopy()) {  // nobody would come
      summoned_.store(threads(), std::memory_order_relaxed);
      return;
    }
    const int most = static_cast<int>(std::min(AllowedThreads(), helpers_.size())) - 1;
    if (summoned_.load(std::memory_order_relaxed) >= most) return;
    caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    InRegion([&] {
      for (int slot = 1; slot <= most; ++slot) Spawn(slot);
      // For want of a fence, TBB may overlook what is spawned while its last worker falls asleep.
      // What comes next is spawned when the others are seen (a read-modify-write counts it before)
      // and wakes a worker for all; it does nothing itself.
      Spawn(0);
    });
  }

  void Spawn(int slot) {
    Helper& helper = helpers_[static_cast<size_t>(slot)];
    if (helper.is_out.load(std::memory_order_acquire)) return;
    helper.is_out.store(true, std::memory_order_relaxed);
    unfinished_.reserve();
    if (slot > 0) summoned_.fetch_add(1, std::memory_order_relaxed);
    LOCKSTEP_HAPPENS_BEFORE(&helper);
    try {
      tbb::detail::d1::spawn(helper, group_);
    } catch (...) {  // out of memory
      if (slot > 0) summoned_.fetch_sub(1, std::memory_order_relaxed);
      unfinished_.release();
      helper.is_out.store(false, std::memory_order_relaxed);
      throw;
    }
  }

  void HelpAs(int slot) {
    // In the host's arena the caller itself may come across the task, in a wait of the host's.
    if (caller_.load(std::memory_order_relaxed) != std::this_thread::get_id()) Stay(slot);
    summoned_.fetch_sub(1, std::memory_order_relaxed);
  }

  void Stay(int slot) {
    const ScopedFloatMode mode;
    const Clock::time_point arrived = Clock::now();
    Clock::time_point last_work = arrived;
    while (!closing_.load()) {
      if (loop_.Work(slot)) {
        last_work = Clock::now();
        if (last_work - arrived > kShift) break;
        continue;
      }
      for (int i = 0; i < kPausesPerClock && !loop_.IsOpen(); ++i) Wait();
      if (!loop_.IsOpen() && Clock::now() - last_work > kLinger) break;
    }
  }

  // Calls body inside the arena and the team's own region of it.
  template <class F>
  void InRegion(const F& body) {
    struct Call final : tbb::detail::d1::delegate_base {
      explicit Call(const F& f) : body(f) {}
      bool operator()() const override {
        body();
        return true;
      }
      const F& body;
    };
    const ScopedFloatMode mode;  // put back, for the arena may have a mode of its own
    arena_->execute([&] {
      Call call(body);
      tbb::detail::r1::isolate_within_arena(call, reinterpret_cast<std::intptr_t>(this));
    });
  }

  const pid_t process_ = getpid();
  SharedLoop loop_;
  const bool crowded_;
  std::vector<Helper> helpers_;  // by slot; that of the caller's own slot only knocks
  // Helpers that were asked for and are not yet gone again.
  alignas(64) std::atomic<int> summoned_{0};
  std::atomic<decltype(std::this_thread::get_id())> caller_;  // who summoned last
  std::atomic<bool> closing_{false};
  tbb::task_group_context group_{tbb::task_group_context::isolated};
  tbb::detail::d1::wait_context unfinished_{0};
  std::unique_ptr<tbb::global_control> lifted_;
  std::optional<tbb::task_arena> arena_;
};

Context::Context(ContextOptions options) : process_(getpid()) {
  LOCKSTEP_CHECK_GE(options.threads, 0);
  threads_ = options.threads > 0 ? options.threads : AvailableThreads();
  if (options.join_current_arena)
    threads_ = std::min(threads_, tbb::this_task_arena::max_concurrency());
  if (threads_ == 1) return;
  if (IsForkedFromTeam()) {
    threads_ = 1;
    return;
  }
  std::unique_ptr<tbb::global_control> lifted;
  const auto wanted = static_cast<size_t>(threads_);
  if (wanted > AllowedThreads() && !options.join_current_arena) {
    lifted = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism,
                                                   std::max(wanted, kLifted));
  }
  if (wanted > AllowedThreads()) {  // the host's own limit
    threads_ = static_cast<int>(AllowedThreads());
    lifted.reset();
  }
  if (threads_ == 1) return;
  KeepTbbLoaded();
  team_ = std::make_unique<Team>(threads_, options.join_current_arena,
                                 options.threads > 0 && threads_ > AvailableThreads(),
                                 std::move(lifted));
}

Context::~Context() {
  if (team_ != nullptr && team_->IsCopy()) static_cast<void>(team_.release());
}

// Marks a Context as busy with a loop.
class Context::Turn {
 public:
  // An exchange takes 8 ns, more than half of what a small loop costs by itself; those that share
  // nothing between threads go without.
  Turn(Context& ctx, bool shared) : busy_(ctx.busy_) {
    if (shared ? busy_.exchange(true, std::memory_order_acquire)
               : busy_.load(std::memory_order_relaxed)) {
      ctx.ForgetTurnOfParent();
    }
    busy_.store(true, std::memory_order_relaxed);
  }
  ~Turn() { busy_.store(false, std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& busy_;
};

// A loop that ran in another thread when this process was forked has no end here. Any other is in
// the way.
void Context::ForgetTurnOfParent() {
  LOCKSTEP_CHECK(process_ != getpid(),
                 "a loop began on a Context that is busy with one: either two threads drive it, or "
                 "the body of a loop begins another; a Context for each lets them");
  process_ = getpid();
}

void Context::For(int64_t tasks, int64_t work, FunctionRef<void(int64_t)> body) {
  ForWithThread(tasks, work, [&](int64_t task, int) { body(task); });
}

void Context::ForWithThread(int64_t tasks, int64_t work, FunctionRef<void(int64_t, int)> body) {
  const bool is_shared = team_ != nullptr && tasks > 1 && work >= kInlineWork;
  const Turn turn(*this, is_shared);
  std::optional<ScopedFloatMode> mode;
  if (!ScopedFloatMode::IsSet()) mode.emplace();
  if (is_shared) {
    team_->Run(tasks, body);
  } else {
    for (int64_t i = 0; i < tasks; ++i) body(i, 0);
  }
}

}  // namespace lockstep
