// A host on TBB that loads plugins, lets each train and predict, and unloads it, 100 times while its
// own work keeps TBB's threads busy:
//
//   unload_host PLUGIN...
//
// A plugin is `int plugin_run(int join_host_arena)`, 0 if it trained and predicted. After it is
// unloaded nothing of it may be left: not its file in the process (some symbols and destructors of
// threads pin a library), and no task in any queue, which TBB would run when its code is gone.
#include <dlfcn.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <new>
#include <thread>

#include "tests/hosts/mapped.h"

namespace {

constexpr int kLoads = 100;

// Work of the host's own on all of TBB's threads from construction to destruction: in loops, between
// which a thread may go elsewhere, or in one that lets none go.
class Busy {
 public:
  explicit Busy(bool one_loop) : thread_([this, one_loop] { Run(one_loop); }) {
    while (started_.load() == 0) std::this_thread::yield();
  }
  ~Busy() {
    stop_.store(true);
    thread_.join();
  }

 private:
  void Run(bool one_loop) {
    tbb::task_arena arena;
    const int width = arena.max_concurrency();
    while (!stop_.load()) {
      arena.execute([&] {
        tbb::parallel_for(
            0, width,
            [&](int) {
              started_.fetch_add(1);
              const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(200);
              while (one_loop ? !stop_.load() : std::chrono::steady_clock::now() < end)
                std::this_thread::yield();
            },
            tbb::simple_partitioner());
      });
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<int> started_{0};
  std::thread thread_;
};

bool LoadRunUnload(const char* path, bool join_host_arena) {
  void* plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) {
    std::printf("%s\n", dlerror());
    return false;
  }
  const auto run = reinterpret_cast<int (*)(int)>(dlsym(plugin, "plugin_run"));
  const bool ran = run != nullptr && run(join_host_arena) == 0;
  if (!ran) std::printf("%s: it did not train\n", path);
  const auto page = reinterpret_cast<uintptr_t>(run) & ~uintptr_t{4095};
  const bool closed = dlclose(plugin) == 0;
  // The next one comes to lie elsewhere: what this one has left behind does not find its code again.
  mmap(reinterpret_cast<void*>(page), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // The shared library of a plugin goes with it.
  const bool gone = dlopen(path, RTLD_NOW | RTLD_NOLOAD) == nullptr && !IsMapped(path) &&
                    !IsMapped("/liblockstep");
  if (!gone) std::printf("%s: it is still there after dlclose\n", path);
  return ran && closed && gone;
}

}  // namespace

int main(int argc, char** argv) {
  tbb::task_scheduler_handle scheduler{tbb::attach{}};
  for (int i = 1; i < argc; ++i) {
    for (const bool one_loop : {true, false}) {
      const Busy busy(one_loop);
      for (int load = 0; load < kLoads / 2; ++load) {
        if (!LoadRunUnload(argv[i], load % 2 == 1)) {
          std::printf("load %d of %s, %s\n", load, argv[i], one_loop ? "one loop" : "loops");
          return 1;
        }
      }
    }
  }
  // Returns when TBB's threads have ended, and with them whatever was left in a queue.
  return tbb::finalize(scheduler, std::nothrow) ? 0 : 2;
}
