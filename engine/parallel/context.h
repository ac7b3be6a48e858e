// Where work runs: a team of threads inside one oneTBB arena.
//
// Every parallel loop of the engine goes through Context::For. Its tasks are fixed by shapes; which
// thread runs which task is not, so no result may depend on it. Loops that are too small to gain
// from a second thread run inline.
#ifndef LOCKSTEP_ENGINE_PARALLEL_CONTEXT_H_
#define LOCKSTEP_ENGINE_PARALLEL_CONTEXT_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/parallel/function_ref.h"

namespace lockstep::inline v0_1 {

struct ContextOptions {
  // Threads in the team, the caller's included. 0: as many as this process may use (affinity mask,
  // cgroup quota). Never more than the host lets TBB have
  // (tbb::global_control::max_allowed_parallelism).
  int threads = 0;
  // Run in the arena that the constructing thread is in (the host program's) instead of one of our
  // own. `threads` is then limited to that arena's concurrency, and the threads that drive and
  // destroy the Context should be inside the arena: one from elsewhere waits for a place in it.
  bool join_current_arena = false;
};

// Thread-safety: one thread at a time drives a Context. Separate Contexts do not disturb each
// other.
//
// A guest: the destructor waits for no thread that is busy elsewhere, and after it neither a task
// nor memory of ours is left in any arena, so that a library may be unloaded.
// After fork(), a Context that was made before runs in the new process on the caller alone, and so
// does a new one (threads() is then 1) if the process before had any of several threads.
class Context {
 public:
  explicit Context(ContextOptions options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int threads() const { return threads_; }

  // Runs body(i) once for each i in [0, tasks) and returns when all have ended. `work` is about how
  // many elementary operations (touched floats, multiply-adds / 8) the whole loop holds; below
  // kInlineWork it runs on the caller alone. Tasks run in any order, on any thread, in the engine's
  // floating-point mode (engine/base/float_mode.h); each must write places of its own.
  //
  // What body throws is thrown here once no thread is in the loop any more: of several exceptions
  // that of the lowest i, as on one thread. Tasks above it may then not have run.
  // A loop that begins while another runs on the same Context, in its body or on another thread,
  // fails a check; so does, nearly always, one of two that are both too small to be spread.
  void For(int64_t tasks, int64_t work, FunctionRef<void(int64_t)> body);

  // The same, with the number of the thread in the team, in [0, threads()): only to pick scratch
  // memory.
  void ForWithThread(int64_t tasks, int64_t work, FunctionRef<void(int64_t task, int thread)> body);

  static constexpr int64_t kInlineWork = 16384;

 private:
  class Team;
  class Turn;
  void ForgetTurnOfParent();

  int process_;  // that made it
  int threads_;
  std::atomic<bool> busy_{false};  // with a loop
  std::unique_ptr<Team> team_;
};

// The number of threads this process may keep busy: the affinity mask, lowered by the CPU quota of
// its cgroups (engine/parallel/cpu_quota.h) where there is one.
int AvailableThreads();

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PARALLEL_CONTEXT_H_
