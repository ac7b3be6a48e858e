// The floating-point mode the engine computes in while an object of this class lives on the current
// thread; then the thread's own again, whatever happened in between.
//
// In it every result is rounded to nearest and no operation traps, so that a host program that
// rounds otherwise, or traps what is not finite, gets the same bits as any other; and denormals are
// zero: arithmetic on them takes a hundred cycles on many cores, and a network that is driven to
// zero meets them in every operation. The flags that operations raise are the thread's own again,
// too: what the engine rounded is no news to its host.
//
// x86-64: MXCSR; and of the x87 unit, which is left to the C library and to `long double`, the
// control word and the flags. AArch64: FPCR and FPSR. Elsewhere this does nothing.
#ifndef LOCKSTEP_ENGINE_BASE_FLOAT_MODE_H_
#define LOCKSTEP_ENGINE_BASE_FLOAT_MODE_H_

#include <cstdint>

namespace lockstep::inline v0_1 {

class ScopedFloatMode {
 public:
  // Writing a mode makes the core wait, so it is left alone where it is right already. Flags are
  // touched only where some have been raised: writing others than stand, and then reading, takes 80
  // ns (Xeon of 2023), all the rest of a scope 6.
  ScopedFloatMode() : saved_(Read()) { Change(saved_, Engine(saved_)); }
  ~ScopedFloatMode() { Change(Read(), saved_); }
  ScopedFloatMode(const ScopedFloatMode&) = delete;
  ScopedFloatMode& operator=(const ScopedFloatMode&) = delete;

  // Whether the current thread computes in the engine's mode: 1 ns, for whoever is nearly always
  // called within a scope.
  static bool IsSet() {
    const Mode mode = ReadArithmetic();
    return IsSame(mode, Engine(mode));
  }

 private:
#if defined(__x86_64__)
  struct Mode {
    uint32_t mxcsr;
    uint16_t x87_control, x87_flags;
  };
  static constexpr uint32_t kFlags = 0x3f;  // of both units

  static Mode ReadArithmetic() { return {__builtin_ia32_stmxcsr(), 0, 0}; }
  static Mode Read() {
    Mode mode = ReadArithmetic();
    __asm__ __volatile__("fnstcw %0" : "=m"(mode.x87_control));
    __asm__ __volatile__("fnstsw %0" : "=a"(mode.x87_flags));
    mode.x87_flags &= kFlags;
    return mode;
  }
  // FTZ, DAZ, all masked; the x87 unit as a program starts with it.
  static Mode Engine(const Mode& now) {
    return {0x9fc0 | (now.mxcsr & kFlags), 0x037f, now.x87_flags};
  }
  static bool IsSame(const Mode& a, const Mode& b) { return a.mxcsr == b.mxcsr; }
  static void Change(const Mode& from, const Mode& to) {
    if (from.mxcsr != to.mxcsr) __builtin_ia32_ldmxcsr(to.mxcsr);
    if (from.x87_flags != to.x87_flags) {
      // Flags and masks at once: one that stands and is not masked would trap.
      uint32_t environment[7];
      __asm__ __volatile__("fnstenv %0" : "=m"(environment));
      environment[0] = (environment[0] & ~uint32_t{0xffff}) | to.x87_control;
      environment[1] = (environment[1] & ~kFlags) | to.x87_flags;
      __asm__ __volatile__("fldenv %0" : : "m"(environment));
    } else if (from.x87_control != to.x87_control) {
      __asm__ __volatile__("fldcw %0" : : "m"(to.x87_control));
    }
  }
#elif defined(__aarch64__)
  struct Mode {
    uint64_t fpcr, fpsr;
  };

  static Mode ReadArithmetic() { return Read(); }
  static Mode Read() {
    Mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode.fpcr));
    __asm__ __volatile__("mrs %0, fpsr" : "=r"(mode.fpsr));
    return mode;
  }
  static Mode Engine(const Mode& now) { return {uint64_t{1} << 24, now.fpsr}; }  // FZ
  static bool IsSame(const Mode& a, const Mode& b) { return a.fpcr == b.fpcr; }
  static void Change(const Mode& from, const Mode& to) {
    if (from.fpcr != to.fpcr) __asm__ __volatile__("msr fpcr, %0" : : "r"(to.fpcr));
    if (from.fpsr != to.fpsr) __asm__ __volatile__("msr fpsr, %0" : : "r"(to.fpsr));
  }
#else
  struct Mode {};
  static Mode ReadArithmetic() { return {}; }
  static Mode Read() { return {}; }
  static Mode Engine(const Mode& now) { return now; }
  static bool IsSame(const Mode&, const Mode&) { return true; }
  static void Change(const Mode&, const Mode&) {}
#endif

  Mode saved_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_FLOAT_MODE_H_
