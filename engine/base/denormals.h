// Denormals flushed to zero while an object of this class lives on the current thread; then the
// thread's mode as it was.
//
// Arithmetic on denormals takes a hundred cycles on many cores, and a network that is driven to
// zero meets them in every operation. x86: MXCSR.FTZ and DAZ. AArch64: FPCR.FZ. Elsewhere this does
// nothing.
#ifndef LOCKSTEP_ENGINE_BASE_DENORMALS_H_
#define LOCKSTEP_ENGINE_BASE_DENORMALS_H_

#include <cstdint>

namespace lockstep {

class ScopedFlushDenormals {
 public:
  // Writing the mode makes the core wait, so it is left alone where it is right already.
  ScopedFlushDenormals() : saved_(Read()) {
    if (Changes()) Write(saved_ | kFlush);
  }
  ~ScopedFlushDenormals() {
    if (Changes()) Write(saved_);
  }
  ScopedFlushDenormals(const ScopedFlushDenormals&) = delete;
  ScopedFlushDenormals& operator=(const ScopedFlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint64_t kFlush = 0x8040;
  static uint64_t Read() { return __builtin_ia32_stmxcsr(); }
  static void Write(uint64_t mode) { __builtin_ia32_ldmxcsr(static_cast<uint32_t>(mode)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kFlush = uint64_t{1} << 24;
  static uint64_t Read() {
    uint64_t mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void Write(uint64_t mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }
#else
  static constexpr uint64_t kFlush = 0;
  static uint64_t Read() { return 0; }
  static void Write(uint64_t) {}
#endif

  bool Changes() const { return (saved_ & kFlush) != kFlush; }

  uint64_t saved_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_DENORMALS_H_
