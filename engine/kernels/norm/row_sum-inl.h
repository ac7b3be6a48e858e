// Sums along a row whose order depends on its length alone. Included by kernel sources, once per
// target.
//
// Element i belongs to virtual lane i % 16. Stretches of kSumStretch elements are summed in single
// precision, lane by lane in ascending order, and the lanes folded as a binary tree: (j, j + 8),
// (j, j + 4), (j, j + 2), (j, j + 1). The stretches are added in double, in order.
#if defined(LOCKSTEP_ENGINE_KERNELS_NORM_ROW_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_NORM_ROW_SUM_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_NORM_ROW_SUM_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_NORM_ROW_SUM_INL_H_
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/kernels/targets.h"
// After targets.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// 128 additions to each lane: rounding errors stay near 1e-6 whatever the length of the row.
constexpr int64_t kSumStretch = 128 * kVirtualLanes;

// The 16 lanes of one float per lane that `values` holds, folded.
HWY_INLINE float FoldLanes(float* HWY_RESTRICT values) {
  for (int half = kVirtualLanes / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) values[j] += values[j + half];
  }
  return values[0];
}

// The tail of SumRow element by element.
struct NoTail {};

// Calls body(d, i, sums) for every element i in [0, n), several at a time, where d is a tag of the
// lanes from i on and `sums` points to kSums accumulators, vectors of d, to which body adds what
// these elements contribute. Returns the kSums totals.
//
// The up to 15 elements beyond the last whole set of virtual lanes go to body one by one. Where
// that would be slow, tail(d, i, count, sums) takes them all: sums[v] are the accumulators of lanes
// [v * Lanes(d), ...), and the lanes that have no element must stay as they are.
template <int kSums, class Body, class Tail = NoTail>
HWY_INLINE std::array<double, kSums> SumRow(int64_t n, const Body& body, const Tail& tail = {}) {
  const hn::CappedTag<float, kVirtualLanes> d;
  const hn::CappedTag<float, 1> d1;
  using V = hn::Vec<decltype(d)>;
  using V1 = hn::Vec<decltype(d1)>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(decltype(d)()));
  constexpr int kVectors = kVirtualLanes / kLanes;

  std::array<double, kSums> total{};
  for (int64_t begin = 0; begin < n; begin += kSumStretch) {
    const int64_t end = HWY_MIN(n, begin + kSumStretch);
    V sums[kVectors][kSums];
    for (int v = 0; v < kVectors; ++v) {
      for (int s = 0; s < kSums; ++s) sums[v][s] = hn::Zero(d);
    }
    int64_t i = begin;
    for (; i + kVirtualLanes <= end; i += kVirtualLanes) {
      for (int v = 0; v < kVectors; ++v) body(d, i + v * kLanes, sums[v]);
    }
    if constexpr (!std::is_same_v<Tail, NoTail>) {
      if (i < end) tail(d, i, end - i, sums);
      i = end;
    }
    HWY_ALIGN float lanes[kSums][kVirtualLanes];
    for (int v = 0; v < kVectors; ++v) {
      for (int s = 0; s < kSums; ++s) hn::Store(sums[v][s], d, lanes[s] + v * kLanes);
    }
    for (int64_t lane = 0; i < end; ++i, ++lane) {
      V1 one[kSums];
      for (int s = 0; s < kSums; ++s) one[s] = hn::LoadU(d1, lanes[s] + lane);
      body(d1, i, one);
      for (int s = 0; s < kSums; ++s) hn::StoreU(one[s], d1, lanes[s] + lane);
    }
    for (int s = 0; s < kSums; ++s) {
      total[static_cast<size_t>(s)] += static_cast<double>(FoldLanes(lanes[s]));
    }
  }
  return total;
}

// Calls body(d, i) for every element i in [0, n), a vector at a time, the rest one by one.
template <class Body>
HWY_INLINE void ForEachVector(int64_t n, const Body& body) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(d, i);
  const hn::CappedTag<float, 1> d1;
  for (; i < n; ++i) body(d1, i);
}

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_NORM_ROW_SUM_INL_H_
