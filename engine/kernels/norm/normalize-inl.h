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
namespace lockstep::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Channels that are worked on together: their constants stay in L1.
inline constexpr int64_t kChunk = 1024;
// The constants of a chunk with what is absent filled in, so that the loops have no branches.
struct Constants {
  HWY_ALIGN float mean[kChunk];
  HWY_ALIGN float inv_std[kChunk];
  HWY_ALIGN float scale[kChunk];  // gamma * inv_std
  HWY_ALIGN float beta[kChunk];
  HWY_ALIGN float mean_dbeta[kChunk];
  HWY_ALIGN float mean_dgamma[kChunk];
};

inline void Fill(const ChannelAffine& affine, const NormalizeGradient& gradient, int64_t first,
                 int64_t channels, Constants& constants) {
  const bool train = gradient.mean_dbeta != nullptr;
  for (int64_t c = 0; c < channels; ++c) {
    const float inv_std = affine.inv_std[first + c];
    constants.mean[c] = affine.mean[first + c];
    constants.inv_std[c] = inv_std;
    constants.scale[c] = affine.gamma == nullptr ? inv_std : affine.gamma[first + c] * inv_std;
    constants.beta[c] = affine.beta == nullptr ? 0.0f : affine.beta[first + c];
    constants.mean_dbeta[c] = train ? gradient.mean_dbeta[first + c] : 0.0f;
    constants.mean_dgamma[c] = train ? gradient.mean_dgamma[first + c] : 0.0f;
  }
}

// The value that the activation sees. Backward finds its mask by the same operations.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Affine(D, V x, V mean, V scale, V beta) {
  return hn::MulAdd(hn::Sub(x, mean), scale, beta);
}

// v, but zero where at <= 0. Written so that a NaN passes, on every target.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Pass(D d, V at, V v) {
  return hn::IfThenZeroElse(hn::Le(at, hn::Zero(d)), v);
}

// Where backward finds what the activation let through.
enum class MaskFrom { kNothing, kX, kY };

template <MaskFrom kMask, class D, class V = hn::Vec<D>>
HWY_INLINE V MaskedDy(D d, const float* dy, const float* y, V x, V mean, V scale, V beta) {
  const V v = hn::LoadU(d, dy);
  if constexpr (kMask == MaskFrom::kX) return Pass(d, Affine(d, x, mean, scale, beta), v);
  if constexpr (kMask == MaskFrom::kY) return Pass(d, hn::LoadU(d, y), v);
  (void)y, (void)x, (void)mean, (void)scale, (void)beta;
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
