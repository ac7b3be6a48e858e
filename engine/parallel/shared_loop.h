// One loop after another, shared by the threads of a team without a lock or a system call: the
// caller publishes a loop, threads that look at it claim its tasks. tbb::parallel_for was measured
// first: 2 to 4 microseconds for each loop on two cores against 0.3 here, which decides whether a
// step of a small network gains from a second thread at all.
//
// The tasks are dealt as one contiguous block to each thread, so that the same thread meets the
// same rows in loop after loop; who has finished its own block takes from the others'. A claim
// counts down the tasks left in a block. It can only succeed while the loop is open, and the loop
// stays open until every claimed task has been counted as done, so the fields a claimant reads
// after a successful claim belong to the loop it claimed from, however late it woke.
#ifndef LOCKSTEP_ENGINE_PARALLEL_SHARED_LOOP_H_
#define LOCKSTEP_ENGINE_PARALLEL_SHARED_LOOP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/parallel/function_ref.h"

namespace lockstep::inline v0_1 {

class SharedLoop {
 public:
  using Body = FunctionRef<void(int64_t task, int thread)>;

  explicit SharedLoop(int threads) : blocks_(static_cast<size_t>(threads)) {}

  // Begins a loop. Start, IsDone and Rethrow are the caller's alone, in this order; between IsDone
  // and the next Start nobody is inside `body`, which lives until then.
  void Start(int64_t tasks, const Body& body) {
    body_ = &body;
    tasks_ = tasks;
    done_.store(0, std::memory_order_relaxed);
    const int64_t threads = this->threads();
    for (int64_t t = 0; t < threads; ++t) {
      Block& block = blocks_[static_cast<size_t>(t)];
      block.end = tasks * (t + 1) / threads;
      block.left.store(block.end - tasks * t / threads, std::memory_order_release);
    }
  }

  // Runs tasks until none is left to claim, beginning with the block of `thread`; returns whether
  // there was one.
  bool Work(int thread) {
    int64_t count = 0;
    for (int64_t i = 0; i < threads(); ++i) {
      Block& block = blocks_[static_cast<size_t>((thread + i) % threads())];
      int64_t left = block.left.load(std::memory_order_acquire);
      while (left > 0) {
        if (!block.left.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
          continue;
        }
        RunTask(block.end - left, thread);
        ++count;
        left = block.left.load(std::memory_order_acquire);
      }
    }
    if (count > 0) done_.fetch_add(count, std::memory_order_acq_rel);
    return count > 0;
  }

  bool IsOpen() const {
    for (const Block& block : blocks_) {
      if (block.left.load(std::memory_order_relaxed) > 0) return true;
    }
    return false;
  }
  bool IsDone() const { return done_.load(std::memory_order_acquire) == tasks_; }

  // Throws what a task threw. Of several it is that of the lowest task, whatever the timing: tasks
  // above one that threw may be left out, tasks below it are not.
  void Rethrow() {
    if (failed_.load(std::memory_order_relaxed) == kNone) return;
    failed_.store(kNone, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  static constexpr size_t kCacheLine = 64;
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

  struct alignas(kCacheLine) Block {
    std::atomic<int64_t> left{0};  // tasks nobody has claimed; the next one is end - left
    int64_t end = 0;
  };

  int64_t threads() const { return static_cast<int64_t>(blocks_.size()); }

  void RunTask(int64_t task, int thread) {
    if (task > failed_.load(std::memory_order_relaxed)) return;
    try {
      (*body_)(task, thread);
    } catch (...) {
      const std::lock_guard lock(failure_mutex_);
      if (task > failed_.load(std::memory_order_relaxed)) return;
      failed_.store(task, std::memory_order_relaxed);
      failure_ = std::current_exception();
    }
  }

  std::vector<Block> blocks_;
  const Body* body_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> failed_{kNone};  // the lowest task that threw
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  alignas(kCacheLine) std::atomic<int64_t> done_{0};
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PARALLEL_SHARED_LOOP_H_
