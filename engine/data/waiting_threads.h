// Work that waits for files, over threads of its own: a thread that waits inside the arena of the
// engine would keep a slot from one that computes. They end before the call does.
#ifndef LOCKSTEP_ENGINE_DATA_WAITING_THREADS_H_
#define LOCKSTEP_ENGINE_DATA_WAITING_THREADS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace lockstep {

// body(i) for each i in [0, n), in any order on up to `threads` threads, the caller's among them.
// What body throws reaches the caller once all have ended.
template <class Body>
void ForEachWaiting(int64_t n, int threads, const Body& body) {
  std::atomic<int64_t> next{0};
  std::exception_ptr exception;
  std::mutex mutex;
  const auto run = [&] {
    try {
      for (int64_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) body(i);
    } catch (...) {
      next.store(n);
      const std::lock_guard lock(mutex);
      if (exception == nullptr) exception = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    const auto most = static_cast<int>(std::min<int64_t>(threads, n));
    for (int i = 1; i < most; ++i) others.emplace_back(run);
    run();
  }
  if (exception != nullptr) std::rethrow_exception(exception);
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_WAITING_THREADS_H_
