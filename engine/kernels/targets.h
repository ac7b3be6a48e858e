// The SIMD targets this engine is compiled for; include before any Highway header, in kernels and
// in their tests.
//
// A baseline that runs anywhere, AVX2 and AVX-512 (Skylake's set) on x86, NEON on Arm; the best one
// the machine has is chosen at run time. SSE4 and the newer AVX-512 sets are left out: they would
// lengthen the build, and nothing here gains from them.
#ifndef LOCKSTEP_ENGINE_KERNELS_TARGETS_H_
#define LOCKSTEP_ENGINE_KERNELS_TARGETS_H_

// Everything better than AVX3 (the bits below it), SSE4, SSSE3, and the Arm targets whose vectors
// have no fixed size. Named lazily: the macros are Highway's and exist once its header is read.
#define HWY_DISABLED_TARGETS \
  ((HWY_AVX3 - 1) | HWY_SSE4 | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

#include <hwy/detect_targets.h>

namespace lockstep::inline v0_1::kernels {

// Sums within a row use this many virtual lanes on every target, folded as a binary tree, so their
// bits agree.
inline constexpr int kVirtualLanes = 16;

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_TARGETS_H_
