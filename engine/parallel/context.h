// Where work runs: a team of threads inside one oneTBB arena.
//
// Every parallel loop of the engine goes through Context::For. Its tasks are fixed by shapes; which
// thread runs which task is not, so no result may depend on it. Loops that are too small to gain
// from a second thread run inline.
#ifndef LOCKSTEP_ENGINE_PARALLEL_CONTEXT_H_
#define LOCKSTEP_ENGINE_PARALLEL_CONTEXT_H_

#include <cstdint>
#include <memory>

#include "engine/parallel/function_ref.h"

namespace lockstep {

struct ContextOptions {
  // Threads in the team, the caller's included. 0: as many as this process may use (affinity mask,
  // cgroup quota).
  int threads = 0;
  // Run in the arena that the constructing thread is in (the host program's) instead of one of our
  // own. `threads` is then limited to that arena's concurrency.
  bool join_current_arena = false;
};

// Thread-safety: one thread at a time drives a Context. Separate Contexts do not disturb each
// other.
class Context {
 public:
  explicit Context(ContextOptions options = {});
  ~Context();  // returns after the last helper has left
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int threads() const { return threads_; }

  // Runs body(i) once for each i in [0, tasks) and returns when all have ended. `work` is about how
  // many elementary operations (touched floats, multiply-adds / 8) the whole loop holds; below
  // kInlineWork it runs on the caller alone. Tasks run in any order, on any thread, with denormals
  // flushed; each must write places of its own. body must not throw and must not call For on the
  // same Context.
  void For(int64_t tasks, int64_t work, FunctionRef<void(int64_t)> body);

  // The same, with the number of the thread in the team, in [0, threads()): only to pick scratch
  // memory.
  void ForWithThread(int64_t tasks, int64_t work, FunctionRef<void(int64_t task, int thread)> body);

  static constexpr int64_t kInlineWork = 16384;

 private:
  class Team;
  int threads_;
  std::unique_ptr<Team> team_;
};

// The number of threads this process may keep busy: the affinity mask, lowered by a cgroup CPU
// quota where there is one.
int AvailableThreads();

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PARALLEL_CONTEXT_H_
