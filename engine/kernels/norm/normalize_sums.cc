// The sums over rows that the gradients of a normalisation need.
#include "engine/kernels/norm/normalize.h"
#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/norm/normalize_sums.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "engine/kernels/norm/normalize-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {

// Rows whose gradient sums stay in single precision.
constexpr int64_t kTile = 32;
// Tiles of up to this many channels go down their columns.
constexpr int64_t kNarrow = 64;

// As in moments.cc, for each of the matrices that are read.
constexpr int64_t kAhead = 8192;
HWY_INLINE void PrefetchLines(const float* from, int64_t floats) {
  const char* bytes = reinterpret_cast<const char*>(from);
  for (int64_t i = 0; i < floats * static_cast<int64_t>(sizeof(float)); i += 64) {
    hwy::Prefetch(bytes + kAhead + i);
  }
}

// Single-precision sums of one tile.
struct TileSums {
  HWY_ALIGN float dz[kChunk];
  HWY_ALIGN float dz_xhat[kChunk];
};

template <MaskFrom kMask>
struct SumsPass {
  const float* x;
  const float* y;
  const float* dy;
  int64_t stride;
  const Constants* constants;

  template <class V>
  struct Channels {
    V mean, inv_std, scale, shift;
  };
  template <class D>
  HWY_INLINE Channels<hn::Vec<D>> At(D d, int64_t c) const {
    return {hn::Load(d, constants->mean + c), hn::Load(d, constants->inv_std + c),
            hn::Load(d, constants->scale + c), hn::Load(d, constants->shift + c)};
  }

  // Adds the row at place i; or four, which make one addition to each running sum.
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE void AddRow(D d, int64_t i, const Channels<hn::Vec<D>>& k, V& s, V& t) const {
    const V v = hn::LoadU(d, x + i);
    const V z = MaskedDy<kMask>(d, dy + i, y + i, v, k.mean, k.scale, k.shift);
    s = hn::Add(s, z);
    t = hn::MulAdd(z, hn::Mul(hn::Sub(v, k.mean), k.inv_std), t);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE void AddRows(D d, int64_t i, const Channels<hn::Vec<D>>& k, V& s, V& t) const {
    const V v0 = hn::LoadU(d, x + i);
    const V z0 = MaskedDy<kMask>(d, dy + i, y + i, v0, k.mean, k.scale, k.shift);
    V p = hn::Mul(z0, hn::Mul(hn::Sub(v0, k.mean), k.inv_std));
    i += stride;
    const V v1 = hn::LoadU(d, x + i);
    const V z1 = MaskedDy<kMask>(d, dy + i, y + i, v1, k.mean, k.scale, k.shift);
    p = hn::MulAdd(z1, hn::Mul(hn::Sub(v1, k.mean), k.inv_std), p);
    i += stride;
    const V v2 = hn::LoadU(d, x + i);
    const V z2 = MaskedDy<kMask>(d, dy + i, y + i, v2, k.mean, k.scale, k.shift);
    p = hn::MulAdd(z2, hn::Mul(hn::Sub(v2, k.mean), k.inv_std), p);
    i += stride;
    const V v3 = hn::LoadU(d, x + i);
    const V z3 = MaskedDy<kMask>(d, dy + i, y + i, v3, k.mean, k.scale, k.shift);
    p = hn::MulAdd(z3, hn::Mul(hn::Sub(v3, k.mean), k.inv_std), p);
    s = hn::Add(s, hn::Add(hn::Add(z0, z1), hn::Add(z2, z3)));
    t = hn::Add(t, p);
  }

  // Columns [c, c + Lanes(d)) of a tile that begins at row `row`, its sums in registers.
  template <class D>
  HWY_INLINE void SumVector(D d, int64_t row, int64_t rows, int64_t c, TileSums& tile) const {
    const auto k = At(d, c);
    auto s = hn::Zero(d);
    auto t = hn::Zero(d);
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) AddRows(d, (row + r) * stride + c, k, s, t);
    for (; r < rows; ++r) AddRow(d, (row + r) * stride + c, k, s, t);
    hn::Store(s, d, tile.dz + c);
    hn::Store(t, d, tile.dz_xhat + c);
  }

  // The same for two vectors: whole cache lines.
  template <class D>
  HWY_INLINE void SumVectorPair(D d, int64_t row, int64_t rows, int64_t c, TileSums& tile) const {
    const auto n = static_cast<int64_t>(hn::Lanes(d));
    const auto k0 = At(d, c);
    const auto k1 = At(d, c + n);
    auto s0 = hn::Zero(d);
    auto s1 = hn::Zero(d);
    auto t0 = hn::Zero(d);
    auto t1 = hn::Zero(d);
    int64_t i = row * stride + c;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, i += 4 * stride) {
      AddRows(d, i, k0, s0, t0);
      AddRows(d, i + n, k1, s1, t1);
    }
    for (; r < rows; ++r, i += stride) {
      AddRow(d, i, k0, s0, t0);
      AddRow(d, i + n, k1, s1, t1);
    }
    hn::Store(s0, d, tile.dz + c);
    hn::Store(s1, d, tile.dz + c + n);
    hn::Store(t0, d, tile.dz_xhat + c);
    hn::Store(t1, d, tile.dz_xhat + c + n);
  }

  // Four rows or one of the same, its sums in memory.
  template <int kRows, class D>
  HWY_INLINE void SweepVector(D d, int64_t row, bool first, int64_t c, TileSums& tile) const {
    const auto k = At(d, c);
    auto s = hn::Load(d, tile.dz + c);
    auto t = hn::Load(d, tile.dz_xhat + c);
    if (first) s = t = hn::Zero(d);
    if constexpr (kRows == 4) {
      AddRows(d, row * stride + c, k, s, t);
    } else {
      AddRow(d, row * stride + c, k, s, t);
    }
    hn::Store(s, d, tile.dz + c);
    hn::Store(t, d, tile.dz_xhat + c);
  }

  HWY_INLINE void PrefetchAll(int64_t i, int64_t floats) const {
    PrefetchLines(x + i, floats);
    PrefetchLines(dy + i, floats);
    if constexpr (kMask == MaskFrom::kY) PrefetchLines(y + i, floats);
  }

  template <int kRows>
  void SweepRows(int64_t row, bool first, int64_t channels, TileSums& tile) const {
    const hn::ScalableTag<float> d;
    const hn::CappedTag<float, 4> d4;
    const hn::CappedTag<float, 1> d1;
    const auto n = static_cast<int64_t>(hn::Lanes(d));
    const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
    int64_t c = 0;
    const bool dense = stride == channels;
    for (; c + n <= channels; c += n) {
      if (dense) PrefetchAll(row * stride + c * kRows, n * kRows);
      SweepVector<kRows>(d, row, first, c, tile);
    }
    for (; c + n4 <= channels; c += n4) SweepVector<kRows>(d4, row, first, c, tile);
    for (; c < channels; ++c) SweepVector<kRows>(d1, row, first, c, tile);
  }

  // Narrow tiles go down their columns, wide ones along their rows: see SumTile in moments.cc.
  void SumTile(int64_t row, int64_t rows, int64_t channels, TileSums& tile) const {
    const hn::ScalableTag<float> d;
    const hn::CappedTag<float, 4> d4;
    const hn::CappedTag<float, 1> d1;
    const auto n = static_cast<int64_t>(hn::Lanes(d));
    const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
    if (channels <= kNarrow) {
      int64_t c = 0;
      for (; c + 2 * n <= channels; c += 2 * n) SumVectorPair(d, row, rows, c, tile);
      for (; c + n <= channels; c += n) SumVector(d, row, rows, c, tile);
      for (; c + n4 <= channels; c += n4) SumVector(d4, row, rows, c, tile);
      for (; c < channels; ++c) SumVector(d1, row, rows, c, tile);
      return;
    }
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) SweepRows<4>(row + r, r == 0, channels, tile);
    for (; r < rows; ++r) SweepRows<1>(row + r, r == 0, channels, tile);
  }
};

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
  const SumsPass<kMask> pass{x, y, dy, stride, &constants};
  TileSums tile;
  for (int64_t r = 0; r < rows; r += kTile) {
    pass.SumTile(r, HWY_MIN(kTile, rows - r), channels, tile);
    AddTile(tile.dz, channels, dbeta);
    AddTile(tile.dz_xhat, channels, dgamma);
  }
}

// The products so far are with (x - mean) * inv_std. What mean_low adds to xhat is the same for
// every row, so it needs no more than sum dz:
//   dgamma -= mean_low * inv_std * dbeta
template <class DD>
HWY_INLINE void AddMeanLow(DD d, const float* mean_low, const float* inv_std, const double* dbeta,
                           double* dgamma) {
  const hn::Rebind<float, DD> df;
  const auto moved =
      hn::Mul(hn::PromoteTo(d, hn::LoadU(df, mean_low)), hn::PromoteTo(d, hn::LoadU(df, inv_std)));
  hn::StoreU(hn::NegMulAdd(moved, hn::LoadU(d, dbeta), hn::LoadU(d, dgamma)), d, dgamma);
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
      SumChunk<MaskFrom::kX>(x + c, dy + c, dy + c, rows, count, stride, constants, dbeta + c,
                             dgamma + c);
    } else if (mask == MaskFrom::kY) {
      SumChunk<MaskFrom::kY>(x + c, y + c, dy + c, rows, count, stride, constants, dbeta + c,
                             dgamma + c);
    } else {
      SumChunk<MaskFrom::kNothing>(x + c, dy + c, dy + c, rows, count, stride, constants, dbeta + c,
                                   dgamma + c);
    }
  }
  if (affine.mean_low == nullptr) return;
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + n <= channels; c += n) {
    AddMeanLow(d, affine.mean_low + c, affine.inv_std + c, dbeta + c, dgamma + c);
  }
  for (; c < channels; ++c) {
    AddMeanLow(d1, affine.mean_low + c, affine.inv_std + c, dbeta + c, dgamma + c);
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(NormalizeGradientSums);
HWY_EXPORT(AddSums);

void NormalizeGradientSums(const float* x, const float* y, const float* dy, int64_t rows,
                           int64_t channels, int64_t stride, const ChannelAffine& affine,
                           Activation activation, double* dbeta, double* dgamma) {
  HWY_DYNAMIC_DISPATCH(NormalizeGradientSums)
  (x, y, dy, rows, channels, stride, affine, activation, dbeta, dgamma);
}

void AddSums(const double* from, int64_t count, double* into) {
  HWY_DYNAMIC_DISPATCH(AddSums)(from, count, into);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
