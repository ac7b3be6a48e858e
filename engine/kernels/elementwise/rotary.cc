#include "engine/kernels/elementwise/rotary.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/elementwise/rotary.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

void RotateTarget(const float* cos, const float* sin, const float* x, float* y, int64_t heads,
                  int64_t head_size, bool backward) {
  const int64_t half = head_size / 2;
  for (int64_t head = 0; head < heads; ++head, x += head_size, y += head_size) {
    ForEachVector(half, [&](auto d, int64_t i) HWY_ATTR {
      const auto c = hn::LoadU(d, cos + i);
      const auto angle = hn::LoadU(d, sin + i);
      const auto s = backward ? hn::Neg(angle) : angle;
      const auto low = hn::LoadU(d, x + i);
      const auto high = hn::LoadU(d, x + half + i);
      hn::StoreU(hn::NegMulAdd(high, s, hn::Mul(low, c)), d, y + i);
      hn::StoreU(hn::MulAdd(low, s, hn::Mul(high, c)), d, y + half + i);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(RotateTarget);
}  // namespace

void Rotate(const float* cos, const float* sin, const float* x, float* y, int64_t heads,
            int64_t head_size, bool backward) {
  HWY_DYNAMIC_DISPATCH(RotateTarget)(cos, sin, x, y, heads, head_size, backward);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
