// Work that waits for files, over threads of its own: a thread that waits inside the arena of the
// engine would keep a slot from one that computes. They end before the call does.
#ifndef LOCKSTEP_ENGINE_DATA_WAITING_THREADS_H_
#define LOCKSTEP_ENGINE_DATA_WAITING_THREADS_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace lockstep::inline v0_1 {

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

// read(item) fills the next item and says whether there was one, on one thread at a time;
// work(item) runs on up to `threads` threads side by side; take(item) gets the items on the
// caller's thread, in the order in which they were read, and says whether to go on. There are
// threads + 2 items, which are filled again and again. What read or work throws reaches the caller
// when it is the item's turn. All have ended when the call returns.
template <class Item, class Read, class Work, class Take>
void ForEachInOrder(int threads, const Read& read, const Work& work, const Take& take) {
  struct Slot {
    Item item{};
    std::exception_ptr exception{};
    bool ready = false, end = false;
  };
  std::vector<Slot> slots(static_cast<size_t>(threads) + 2);
  std::mutex reading;             // held by who reads
  bool ended = false;             // by `reading`
  std::mutex mutex;               // the other three
  uint64_t begun = 0, taken = 0;  // items; begun is written by who reads
  bool stopped = false;
  std::condition_variable changed;

  const auto run = [&] {
    for (;;) {
      Slot* slot = nullptr;
      bool failed = false;
      {
        const std::lock_guard reader(reading);
        if (ended) return;
        {
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return stopped || begun - taken < slots.size(); });
          if (stopped) return;
          slot = &slots[begun++ % slots.size()];
        }
        slot->exception = nullptr;
        try {
          slot->end = !read(slot->item);
        } catch (...) {
          slot->exception = std::current_exception();
          failed = true;
        }
        ended = slot->end || failed;
      }
      if (!slot->end && !failed) {
        try {
          work(slot->item);
        } catch (...) {
          slot->exception = std::current_exception();
        }
      }
      const std::lock_guard lock(mutex);
      slot->ready = true;
      changed.notify_all();
    }
  };
  // Declared behind what the threads use: they end first, whatever leaves this function.
  std::vector<std::jthread> workers;
  struct Stop {
    std::mutex& mutex;
    std::condition_variable& changed;
    bool& stopped;
    ~Stop() {
      const std::lock_guard lock(mutex);
      stopped = true;
      changed.notify_all();
    }
  } const stop{mutex, changed, stopped};
  for (int i = 0; i < threads; ++i) workers.emplace_back(run);
  for (;;) {
    Slot& slot = slots[taken % slots.size()];
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return slot.ready; });
    }
    if (slot.exception != nullptr) std::rethrow_exception(slot.exception);
    if (slot.end || !take(slot.item)) return;
    const std::lock_guard lock(mutex);
    slot.ready = false;
    ++taken;
    changed.notify_all();
  }
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_WAITING_THREADS_H_
