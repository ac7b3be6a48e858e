// Counts what this program takes from the heap, whoever asks and on whatever thread: it stands in
// front of the C library's allocator, which operator new uses too: #include <lockstep/count_heap.h>
// in one file of a test program only, for CheckOptions::heap_calls. Under a sanitizer, which has an
// allocator of its own, nothing is counted.
#ifndef LOCKSTEP_MODELS_TESTING_COUNT_HEAP_H_
#define LOCKSTEP_MODELS_TESTING_COUNT_HEAP_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LOCKSTEP_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKSTEP_SANITIZED 1
#endif

namespace lockstep::inline v0_1::checks {
// Plain and not of static storage with a constructor: the first call comes before main.
inline int64_t heap_calls = 0;
#if defined(__GLIBC__) && !defined(LOCKSTEP_SANITIZED)
inline constexpr bool kCountsHeap = true;
#else
inline constexpr bool kCountsHeap = false;
#endif
inline int64_t HeapCalls() { return __atomic_load_n(&heap_calls, __ATOMIC_RELAXED); }
inline void CountHeapCall() { __atomic_fetch_add(&heap_calls, 1, __ATOMIC_RELAXED); }
}  // namespace lockstep::checks

#if defined(__GLIBC__) && !defined(LOCKSTEP_SANITIZED)
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  lockstep::checks::CountHeapCall();
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  lockstep::checks::CountHeapCall();
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  lockstep::checks::CountHeapCall();
  return __libc_realloc(memory, size);
}
void* memalign(size_t alignment, size_t size) {
  lockstep::checks::CountHeapCall();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
}
#endif

#endif  // LOCKSTEP_MODELS_TESTING_COUNT_HEAP_H_
