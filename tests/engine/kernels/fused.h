// Whether the SIMD target under test rounds a multiply-add once: only such targets promise the same
// bits.
#ifndef LOCKSTEP_TESTS_ENGINE_KERNELS_FUSED_H_
#define LOCKSTEP_TESTS_ENGINE_KERNELS_FUSED_H_

#include <cstdint>

#include "engine/kernels/targets.h"
// After targets.h.
#include <hwy/highway.h>
#include <hwy/targets.h>

namespace lockstep::inline v0_1::testing_arrays {

// Of one target, or of the best in a set, which is what calls are dispatched to (its bit is the
// lowest). x86 has fused multiply-add from AVX2 on, Arm with every NEON of 64 bits; Highway's
// portable targets multiply, round and add. Older Highway has no SSE2: its baseline is EMU128.
constexpr bool Fuses(int64_t targets) {
  int64_t without = HWY_SSSE3 | HWY_SSE4 | HWY_EMU128 | HWY_SCALAR;
#ifdef HWY_SSE2
  without |= HWY_SSE2;
#endif
  const int64_t best = targets & -targets;
  return best != 0 && (best & without) == 0;
}
static_assert(Fuses(HWY_AVX2) && Fuses(HWY_AVX3) && Fuses(HWY_AVX3_DL) && Fuses(HWY_NEON));
static_assert(Fuses(HWY_AVX2 | HWY_SSE4 | HWY_EMU128));
static_assert(!Fuses(HWY_SSE4) && !Fuses(HWY_SSSE3 | HWY_SCALAR) && !Fuses(HWY_EMU128));
static_assert(!Fuses(HWY_SCALAR));
#ifdef HWY_SSE2
static_assert(!Fuses(HWY_SSE2));
#endif

// Of the target that kernels are dispatched to now.
inline bool HasFma() { return Fuses(hwy::SupportedTargets() & HWY_TARGETS); }

}  // namespace lockstep::testing_arrays

#endif  // LOCKSTEP_TESTS_ENGINE_KERNELS_FUSED_H_
