#include "engine/kernels/elementwise/elementwise.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/elementwise/elementwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

void AddTarget(const float* a, const float* b, float* y, int64_t n) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  });
}

void MultiplyTarget(const float* a, const float* b, float* y, int64_t n) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  });
}

void ConvertToBF16Target(const float* x, BFloat16* y, int64_t n) {
  auto* out = reinterpret_cast<uint16_t*>(y);
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> du;
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<uint16_t, decltype(d)> du16;
    const auto word = hn::BitCast(du, hn::LoadU(d, x + i));
    const auto odd = hn::And(hn::ShiftRight<16>(word), hn::Set(du, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(word, hn::Set(du, 0x7FFFu)), odd));
    const auto quiet = hn::Or(hn::ShiftRight<16>(word), hn::Set(du, 0x40u));
    // Compared as integers, so that it does not matter how the processor treats denormals or NaN.
    const auto magnitude = hn::BitCast(di, hn::And(word, hn::Set(du, 0x7FFFFFFFu)));
    const auto nan = hn::Gt(magnitude, hn::Set(di, 0x7F800000));
    const auto half = hn::IfThenElse(hn::RebindMask(du, nan), quiet, rounded);
    // At most 0xFFFF, so saturation does nothing.
    hn::StoreU(hn::DemoteTo(du16, hn::BitCast(di, half)), du16, out + i);
  });
}

void ConvertFromBF16Target(const BFloat16* x, float* y, int64_t n) {
  const auto* in = reinterpret_cast<const uint16_t*>(x);
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> du;
    const hn::Rebind<uint16_t, decltype(d)> du16;
    const auto word = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(du16, in + i)));
    hn::StoreU(hn::BitCast(d, word), d, y + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(AddTarget);
HWY_EXPORT(MultiplyTarget);
HWY_EXPORT(ConvertToBF16Target);
HWY_EXPORT(ConvertFromBF16Target);
}  // namespace

void Add(const float* a, const float* b, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(AddTarget)(a, b, y, n);
}

void Multiply(const float* a, const float* b, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(MultiplyTarget)(a, b, y, n);
}

void AddTo(const float* x, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(AddTarget)(x, y, y, n); }

void ConvertToBF16(const float* x, BFloat16* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(ConvertToBF16Target)(x, y, n);
}

void ConvertFromBF16(const BFloat16* x, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(ConvertFromBF16Target)(x, y, n);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
