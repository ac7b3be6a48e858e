// Loops over the channels of a pixel, of which there may be three or a thousand. Included by kernel
// sources, once per target.
#if defined(LOCKSTEP_ENGINE_KERNELS_PICTURE_PARTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_PICTURE_PARTS_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_PICTURE_PARTS_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_PICTURE_PARTS_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/kernels/targets.h"
// After targets.h.
#include <hwy/highway.h>

// Loops over accumulators must be unrolled completely, or they live in memory.
#undef LOCKSTEP_PARTS_UNROLL
#if HWY_COMPILER_CLANG
#define LOCKSTEP_PARTS_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOCKSTEP_PARTS_UNROLL _Pragma("GCC unroll 4")
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <int kLanes, class Body>
HWY_INLINE void PartOf(int64_t n, int64_t& i, const Body& body) {
  const hn::CappedTag<float, kLanes> d;
  if (hn::Lanes(d) != kLanes || i + kLanes > n) return;
  body(d, i, std::integral_constant<int, 1>());
  i += kLanes;
}

// Calls body(d, i, vectors) so that each element of [0, n) belongs to one call, which is to work on
// `vectors` vectors of d from i on: four at a time, then one, then half a vector, a quarter, ... No
// masks: a masked store costs more on some machines than all of these together.
template <class Body>
HWY_INLINE void ForEachPart(int64_t n, const Body& body) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) body(d, i, std::integral_constant<int, 4>());
  for (; i + lanes <= n; i += lanes) body(d, i, std::integral_constant<int, 1>());
  PartOf<8>(n, i, body);
  PartOf<4>(n, i, body);
  PartOf<2>(n, i, body);
  const hn::CappedTag<float, 1> d1;
  for (; i < n; ++i) body(d1, i, std::integral_constant<int, 1>());
}

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_PICTURE_PARTS_INL_H_
