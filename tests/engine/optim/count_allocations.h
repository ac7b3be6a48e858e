// Counts what a stretch of code takes from the heap. Include in one file of a program only: it
// replaces operator new.
#ifndef LOCKSTEP_TESTS_ENGINE_OPTIM_COUNT_ALLOCATIONS_H_
#define LOCKSTEP_TESTS_ENGINE_OPTIM_COUNT_ALLOCATIONS_H_

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace lockstep::inline v0_1 {
inline std::atomic<int64_t> allocations{0};  // by any thread
}  // namespace lockstep

// Not inline: GCC would see malloc meet delete, and warn.
[[gnu::noinline]] void* operator new(size_t bytes) {
  lockstep::allocations.fetch_add(1);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, std::align_val_t alignment) {
  lockstep::allocations.fetch_add(1);
  void* memory = nullptr;
  if (posix_memalign(&memory, static_cast<size_t>(alignment), bytes) == 0) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

#endif  // LOCKSTEP_TESTS_ENGINE_OPTIM_COUNT_ALLOCATIONS_H_
