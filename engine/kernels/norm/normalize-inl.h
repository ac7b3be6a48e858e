// What normalisation and its gradients share: the constants of a chunk of channels, and the value
// that the activation sees. Included once per SIMD target.
#if defined(LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_INL_H_
#endif

#include <cstdint>

#include "engine/kernels/elementwise/activation_kind.h"
#include "engine/kernels/norm/normalize.h"
#include "engine/kernels/targets.h"
// After targets.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Channels that are worked on together: their constants stay in L1.
inline constexpr int64_t kChunk = 1024;
// The constants of a chunk with what is absent filled in, so that the loops have no branches.
//   v  = (x - mean) * scale + shift
//   dx = ((dz - offset) - (x - mean) * inv_std * mean_dgamma) * scale
// The mean's second float is in shift, and for the xhat of backward in offset = mean_dbeta -
// mean_low * inv_std * mean_dgamma. Folding inv_std * mean_dgamma too would save a product and lose
// dx where x is of size 1e30.
struct Constants {
  HWY_ALIGN float mean[kChunk];
  HWY_ALIGN float inv_std[kChunk];
  HWY_ALIGN float scale[kChunk];
  HWY_ALIGN float shift[kChunk];
  HWY_ALIGN float offset[kChunk];
  HWY_ALIGN float mean_dgamma[kChunk];
};

template <class D>
HWY_INLINE void FillVector(D d, const ChannelAffine& affine, const NormalizeGradient& gradient,
                           int64_t from, int64_t c, Constants& constants) {
  const auto load_or = [&](const float* p, float otherwise) HWY_ATTR {
    return p == nullptr ? hn::Set(d, otherwise) : hn::LoadU(d, p + from);
  };
  const auto inv_std = hn::LoadU(d, affine.inv_std + from);
  const auto low = load_or(affine.mean_low, 0.0f);
  const auto scale = hn::Mul(load_or(affine.gamma, 1.0f), inv_std);
  const auto mean_dgamma = load_or(gradient.mean_dgamma, 0.0f);
  hn::StoreU(hn::LoadU(d, affine.mean + from), d, constants.mean + c);
  hn::StoreU(inv_std, d, constants.inv_std + c);
  hn::StoreU(scale, d, constants.scale + c);
  hn::StoreU(hn::NegMulAdd(low, scale, load_or(affine.beta, 0.0f)), d, constants.shift + c);
  hn::StoreU(hn::NegMulAdd(hn::Mul(low, inv_std), mean_dgamma, load_or(gradient.mean_dbeta, 0.0f)),
             d, constants.offset + c);
  hn::StoreU(mean_dgamma, d, constants.mean_dgamma + c);
}

// The constants of channels [first, first + channels).
inline void Fill(const ChannelAffine& affine, const NormalizeGradient& gradient, int64_t first,
                 int64_t channels, Constants& constants) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + n <= channels; c += n) FillVector(d, affine, gradient, first + c, c, constants);
  for (; c < channels; ++c) FillVector(d1, affine, gradient, first + c, c, constants);
}

// The value that the activation sees. Backward finds its mask by the same operations.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Affine(D, V x, V mean, V scale, V shift) {
  return hn::MulAdd(hn::Sub(x, mean), scale, shift);
}

// v, but zero where at <= 0. Written so that a NaN passes, on every target.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Pass(D d, V at, V v) {
  return hn::IfThenZeroElse(hn::Le(at, hn::Zero(d)), v);
}

// Where backward finds what the activation let through.
enum class MaskFrom { kNothing, kX, kY };

template <MaskFrom kMask, class D, class V = hn::Vec<D>>
HWY_INLINE V MaskedDy(D d, const float* dy, const float* y, V x, V mean, V scale, V shift) {
  const V v = hn::LoadU(d, dy);
  if constexpr (kMask == MaskFrom::kX) return Pass(d, Affine(d, x, mean, scale, shift), v);
  if constexpr (kMask == MaskFrom::kY) return Pass(d, hn::LoadU(d, y), v);
  (void)y, (void)x, (void)mean, (void)scale, (void)shift;
  return v;
}

inline MaskFrom MaskOf(Activation activation, const float* y) {
  if (activation == Activation::kNone) return MaskFrom::kNothing;
  return y == nullptr ? MaskFrom::kX : MaskFrom::kY;
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_NORM_NORMALIZE_INL_H_
