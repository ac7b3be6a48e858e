#include "engine/kernels/normalize.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/normalize.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Channels that are worked on together: their constants stay in L1.
constexpr int64_t kChunk = 512;
// Rows whose gradient sums stay in single precision.
constexpr int64_t kTile = 32;

// The constants of a chunk with what is absent filled in, so that the loops have no branches.
struct Constants {
  HWY_ALIGN float mean[kChunk];
  HWY_ALIGN float inv_std[kChunk];
  HWY_ALIGN float scale[kChunk];  // gamma * inv_std
  HWY_ALIGN float beta[kChunk];
  HWY_ALIGN float mean_dbeta[kChunk];
  HWY_ALIGN float mean_dgamma[kChunk];
};

void Fill(const ChannelAffine& affine, const NormalizeGradient& gradient, int64_t first,
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

template <class D, class V = hn::Vec<D>>
HWY_INLINE void Put(D d, V v, bool stream, float* to) {
  if (stream) {
    hn::Stream(v, d, to);
  } else {
    hn::StoreU(v, d, to);
  }
}

// Stream needs whole aligned vectors.
bool CanStream(const float* to, int64_t channels) {
  constexpr auto kBytes = static_cast<uintptr_t>(64);
  return reinterpret_cast<uintptr_t>(to) % kBytes == 0 &&
         static_cast<uintptr_t>(channels) * sizeof(float) % kBytes == 0;
}

// ------------------------------------------------------------------------------------- forward

template <bool kRelu, bool kResidual>
struct ForwardPass {
  const float* x;
  const float* residual;
  float* y;
  bool stream;
  const Constants* constants;

  template <class D>
  HWY_INLINE void One(D d, int64_t i, hn::Vec<D> mean, hn::Vec<D> scale, hn::Vec<D> beta) const {
    auto v = Affine(d, hn::LoadU(d, x + i), mean, scale, beta);
    if constexpr (kResidual) v = hn::Add(v, hn::LoadU(d, residual + i));
    if constexpr (kRelu) v = Pass(d, v, v);
    Put(d, v, stream, y + i);
  }

  // Rows of one vector of channels: place `at` is channel c of the first.
  template <class D>
  HWY_INLINE void Vector(D d, int64_t at, int64_t c, int64_t rows, int64_t stride) const {
    const auto mean = hn::Load(d, constants->mean + c);
    const auto scale = hn::Load(d, constants->scale + c);
    const auto beta = hn::Load(d, constants->beta + c);
    for (int64_t r = 0; r < rows; ++r) One(d, at + r * stride, mean, scale, beta);
  }
};

// ------------------------------------------------------------------------------------ backward

enum class MaskFrom { kNothing, kX, kY };

template <MaskFrom kMask, class D, class V = hn::Vec<D>>
HWY_INLINE V MaskedDy(D d, const float* dy, const float* y, V x, V mean, V scale, V beta) {
  const V v = hn::LoadU(d, dy);
  if constexpr (kMask == MaskFrom::kX) return Pass(d, Affine(d, x, mean, scale, beta), v);
  if constexpr (kMask == MaskFrom::kY) return Pass(d, hn::LoadU(d, y), v);
  (void)y, (void)x, (void)mean, (void)scale, (void)beta;
  return v;
}

template <MaskFrom kMask, bool kTrain>
struct BackwardPass {
  const float* x;
  const float* y;
  const float* dy;
  NormalizeGradient gradient;
  bool stream;
  const Constants* constants;

  template <class D>
  HWY_INLINE void Vector(D d, int64_t at, int64_t c, int64_t rows, int64_t stride) const {
    using V = hn::Vec<D>;
    const V mean = hn::Load(d, constants->mean + c);
    const V inv_std = hn::Load(d, constants->inv_std + c);
    const V scale = hn::Load(d, constants->scale + c);
    const V beta = hn::Load(d, constants->beta + c);
    const V mean_dbeta = hn::Load(d, constants->mean_dbeta + c);
    const V mean_dgamma = hn::Load(d, constants->mean_dgamma + c);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = at + r * stride;
      V value = mean;
      if constexpr (kTrain || kMask == MaskFrom::kX) value = hn::LoadU(d, x + i);
      const V dz = MaskedDy<kMask>(d, dy + i, y + i, value, mean, scale, beta);
      V t = dz;
      if constexpr (kTrain) {
        const V xhat = hn::Mul(hn::Sub(value, mean), inv_std);
        t = hn::NegMulAdd(xhat, mean_dgamma, hn::Sub(dz, mean_dbeta));
      }
      t = hn::Mul(t, scale);
      if (gradient.d_residual != nullptr) {
        V out = dz;
        if (gradient.add_to_d_residual) out = hn::Add(hn::LoadU(d, gradient.d_residual + i), dz);
        hn::StoreU(out, d, gradient.d_residual + i);
      }
      if (gradient.dx != nullptr) Put(d, t, stream, gradient.dx + i);
    }
  }
};

// -------------------------------------------------------------------------- loops over a matrix

// `rows` rows of `channels` columns from place `at` on: whole vectors, then narrower ones.
template <class Pass>
HWY_INLINE void SomeRows(const Pass& pass, int64_t at, int64_t channels, int64_t rows,
                         int64_t stride) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
  int64_t c = 0;
  for (; c + n <= channels; c += n) pass.Vector(d, at + c, c, rows, stride);
  for (; c + n4 <= channels; c += n4) pass.Vector(d4, at + c, c, rows, stride);
  for (; c < channels; ++c) pass.Vector(d1, at + c, c, rows, stride);
}

// Four rows share a load of the constants.
template <class Pass>
void AllRows(const Pass& pass, int64_t first, int64_t channels, int64_t rows, int64_t stride) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) SomeRows(pass, r * stride + first, channels, 4, stride);
  if (r < rows) SomeRows(pass, r * stride + first, channels, rows - r, stride);
}

void Normalize(const float* x, const float* residual, int64_t rows, int64_t channels,
               const ChannelAffine& affine, NormalizeOptions options, float* y) {
  const bool relu = options.activation == Activation::kRelu;
  const bool stream = options.stream && CanStream(y, channels);
  Constants constants;
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = HWY_MIN(kChunk, channels - c);
    Fill(affine, {}, c, count, constants);
    if (relu && residual != nullptr) {
      AllRows(ForwardPass<true, true>{x, residual, y, stream, &constants}, c, count, rows,
              channels);
    } else if (relu) {
      AllRows(ForwardPass<true, false>{x, residual, y, stream, &constants}, c, count, rows,
              channels);
    } else if (residual != nullptr) {
      AllRows(ForwardPass<false, true>{x, residual, y, stream, &constants}, c, count, rows,
              channels);
    } else {
      AllRows(ForwardPass<false, false>{x, residual, y, stream, &constants}, c, count, rows,
              channels);
    }
  }
  if (stream) hwy::FlushStream();
}

template <MaskFrom kMask>
void BackwardChunk(const float* x, const float* y, const float* dy, int64_t rows, int64_t channels,
                   int64_t first, int64_t count, const NormalizeGradient& gradient, bool stream,
                   const Constants& constants) {
  if (gradient.mean_dbeta != nullptr) {
    AllRows(BackwardPass<kMask, true>{x, y, dy, gradient, stream, &constants}, first, count, rows,
            channels);
  } else {
    AllRows(BackwardPass<kMask, false>{x, y, dy, gradient, stream, &constants}, first, count, rows,
            channels);
  }
}

MaskFrom MaskOf(Activation activation, const float* y) {
  if (activation == Activation::kNone) return MaskFrom::kNothing;
  return y == nullptr ? MaskFrom::kX : MaskFrom::kY;
}

void NormalizeBackward(const float* x, const float* y, const float* dy, int64_t rows,
                       int64_t channels, const ChannelAffine& affine, NormalizeOptions options,
                       const NormalizeGradient& gradient) {
  const bool stream = options.stream && CanStream(gradient.dx, channels);
  const MaskFrom mask = MaskOf(options.activation, y);
  if (mask != MaskFrom::kY) y = dy;  // not read: any address that may be formed
  Constants constants;
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = HWY_MIN(kChunk, channels - c);
    Fill(affine, gradient, c, count, constants);
    if (mask == MaskFrom::kX) {
      BackwardChunk<MaskFrom::kX>(x, y, dy, rows, channels, c, count, gradient, stream, constants);
    } else if (mask == MaskFrom::kY) {
      BackwardChunk<MaskFrom::kY>(x, y, dy, rows, channels, c, count, gradient, stream, constants);
    } else {
      BackwardChunk<MaskFrom::kNothing>(x, y, dy, rows, channels, c, count, gradient, stream,
                                        constants);
    }
  }
  if (stream) hwy::FlushStream();
}

// ------------------------------------------------------------------------------- gradient sums

// One vector of channels over a tile: four rows make one addition to each running sum.
template <MaskFrom kMask, class D>
HWY_INLINE void SumVector(D d, const float* x, const float* y, const float* dy, int64_t rows,
                          int64_t stride, const Constants& constants, int64_t c, float* sum_dz,
                          float* sum_dz_xhat) {
  using V = hn::Vec<D>;
  const V mean = hn::Load(d, constants.mean + c);
  const V inv_std = hn::Load(d, constants.inv_std + c);
  const V scale = hn::Load(d, constants.scale + c);
  const V beta = hn::Load(d, constants.beta + c);
  V s = hn::Zero(d);
  V t = hn::Zero(d);
  int64_t i = c;
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4, i += 4 * stride) {
    const V x0 = hn::LoadU(d, x + i);
    const V x1 = hn::LoadU(d, x + i + stride);
    const V x2 = hn::LoadU(d, x + i + 2 * stride);
    const V x3 = hn::LoadU(d, x + i + 3 * stride);
    const V z0 = MaskedDy<kMask>(d, dy + i, y + i, x0, mean, scale, beta);
    const V z1 = MaskedDy<kMask>(d, dy + i + stride, y + i + stride, x1, mean, scale, beta);
    const V z2 = MaskedDy<kMask>(d, dy + i + 2 * stride, y + i + 2 * stride, x2, mean, scale, beta);
    const V z3 = MaskedDy<kMask>(d, dy + i + 3 * stride, y + i + 3 * stride, x3, mean, scale, beta);
    s = hn::Add(s, hn::Add(hn::Add(z0, z1), hn::Add(z2, z3)));
    V p = hn::Mul(z0, hn::Mul(hn::Sub(x0, mean), inv_std));
    p = hn::MulAdd(z1, hn::Mul(hn::Sub(x1, mean), inv_std), p);
    p = hn::MulAdd(z2, hn::Mul(hn::Sub(x2, mean), inv_std), p);
    p = hn::MulAdd(z3, hn::Mul(hn::Sub(x3, mean), inv_std), p);
    t = hn::Add(t, p);
  }
  for (; r < rows; ++r, i += stride) {
    const V x0 = hn::LoadU(d, x + i);
    const V z0 = MaskedDy<kMask>(d, dy + i, y + i, x0, mean, scale, beta);
    s = hn::Add(s, z0);
    t = hn::MulAdd(z0, hn::Mul(hn::Sub(x0, mean), inv_std), t);
  }
  hn::Store(s, d, sum_dz + c);
  hn::Store(t, d, sum_dz_xhat + c);
}

void AddSums(const double* from, int64_t count, double* into) {
  const hn::ScalableTag<double> d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + n <= count; i += n) {
    hn::StoreU(hn::Add(hn::LoadU(d, into + i), hn::LoadU(d, from + i)), d, into + i);
  }
  for (; i < count; ++i) into[i] += from[i];
}

// total[c] += tile[c]
void AddTile(const float* tile, int64_t channels, double* total) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + n <= channels; c += n) {
    hn::StoreU(hn::Add(hn::LoadU(d, total + c), hn::PromoteTo(d, hn::LoadU(df, tile + c))), d,
               total + c);
  }
  for (; c < channels; ++c) total[c] += static_cast<double>(tile[c]);
}

template <MaskFrom kMask>
void SumChunk(const float* x, const float* y, const float* dy, int64_t rows, int64_t channels,
              int64_t stride, const Constants& constants, double* dbeta, double* dgamma) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
  HWY_ALIGN float s[kChunk];
  HWY_ALIGN float t[kChunk];
  for (int64_t r = 0; r < rows; r += kTile) {
    const int64_t count = HWY_MIN(kTile, rows - r);
    const int64_t at = r * stride;
    const float* y_tile = kMask == MaskFrom::kY ? y + at : x + at;
    int64_t c = 0;
    for (; c + n <= channels; c += n) {
      SumVector<kMask>(d, x + at, y_tile, dy + at, count, stride, constants, c, s, t);
    }
    for (; c + n4 <= channels; c += n4) {
      SumVector<kMask>(d4, x + at, y_tile, dy + at, count, stride, constants, c, s, t);
    }
    for (; c < channels; ++c) {
      SumVector<kMask>(d1, x + at, y_tile, dy + at, count, stride, constants, c, s, t);
    }
    AddTile(s, channels, dbeta);
    AddTile(t, channels, dgamma);
  }
}

void NormalizeGradientSums(const float* x, const float* y, const float* dy, int64_t rows,
                           int64_t channels, int64_t stride, const ChannelAffine& affine,
                           Activation activation, double* dbeta, double* dgamma) {
  for (int64_t c = 0; c < channels; ++c) dbeta[c] = dgamma[c] = 0.0;
  const MaskFrom mask = MaskOf(activation, y);
  Constants constants;
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = HWY_MIN(kChunk, channels - c);
    Fill(affine, {}, c, count, constants);
    if (mask == MaskFrom::kX) {
      SumChunk<MaskFrom::kX>(x + c, nullptr, dy + c, rows, count, stride, constants, dbeta + c,
                             dgamma + c);
    } else if (mask == MaskFrom::kY) {
      SumChunk<MaskFrom::kY>(x + c, y + c, dy + c, rows, count, stride, constants, dbeta + c,
                             dgamma + c);
    } else {
      SumChunk<MaskFrom::kNothing>(x + c, nullptr, dy + c, rows, count, stride, constants,
                                   dbeta + c, dgamma + c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::kernels {

HWY_EXPORT(Normalize);
HWY_EXPORT(NormalizeGradientSums);
HWY_EXPORT(AddSums);
HWY_EXPORT(NormalizeBackward);

void Normalize(const float* x, const float* residual, int64_t rows, int64_t channels,
               const ChannelAffine& affine, NormalizeOptions options, float* y) {
  HWY_DYNAMIC_DISPATCH(Normalize)(x, residual, rows, channels, affine, options, y);
}

void NormalizeGradientSums(const float* x, const float* y, const float* dy, int64_t rows,
                           int64_t channels, int64_t stride, const ChannelAffine& affine,
                           Activation activation, double* dbeta, double* dgamma) {
  HWY_DYNAMIC_DISPATCH(NormalizeGradientSums)
  (x, y, dy, rows, channels, stride, affine, activation, dbeta, dgamma);
}

void AddSums(const double* from, int64_t count, double* into) {
  HWY_DYNAMIC_DISPATCH(AddSums)(from, count, into);
}

void NormalizeBackward(const float* x, const float* y, const float* dy, int64_t rows,
                       int64_t channels, const ChannelAffine& affine, NormalizeOptions options,
                       const NormalizeGradient& gradient) {
  HWY_DYNAMIC_DISPATCH(NormalizeBackward)
  (x, y, dy, rows, channels, affine, options, gradient);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
