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
constexpr int64_t kChunk = 1024;
// Rows whose gradient sums stay in single precision.
constexpr int64_t kTile = 32;
// Tiles of up to this many channels go down their columns.
constexpr int64_t kNarrow = 64;

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

template <bool kStream, class D, class V = hn::Vec<D>>
HWY_INLINE void Put(D d, V v, float* to) {
  if constexpr (kStream) {
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

template <bool kRelu, bool kResidual, bool kStream>
struct ForwardPass {
  static constexpr bool kStreams = kStream;
  const float* x;
  const float* residual;
  float* y;
  const Constants* constants;

  // What one vector of channels needs for any row.
  template <class V>
  struct Channels {
    V mean, scale, beta;
  };
  template <class D>
  HWY_INLINE Channels<hn::Vec<D>> At(D d, int64_t c) const {
    return {hn::Load(d, constants->mean + c), hn::Load(d, constants->scale + c),
            hn::Load(d, constants->beta + c)};
  }

  template <class D>
  HWY_INLINE void One(D d, int64_t i, const Channels<hn::Vec<D>>& k) const {
    auto v = Affine(d, hn::LoadU(d, x + i), k.mean, k.scale, k.beta);
    if constexpr (kResidual) v = hn::Add(v, hn::LoadU(d, residual + i));
    if constexpr (kRelu) v = Pass(d, v, v);
    Put<kStream>(d, v, y + i);
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

enum class Outputs { kDx, kStreamedDx, kAny };

template <MaskFrom kMask, bool kTrain, Outputs kOutputs>
struct BackwardPass {
  static constexpr bool kStreams = kOutputs == Outputs::kStreamedDx;
  const float* x;
  const float* y;
  const float* dy;
  NormalizeGradient gradient;
  const Constants* constants;

  template <class V>
  struct Channels {
    V mean, inv_std, scale, beta, mean_dbeta, mean_dgamma;
  };
  template <class D>
  HWY_INLINE Channels<hn::Vec<D>> At(D d, int64_t c) const {
    return {hn::Load(d, constants->mean + c),       hn::Load(d, constants->inv_std + c),
            hn::Load(d, constants->scale + c),      hn::Load(d, constants->beta + c),
            hn::Load(d, constants->mean_dbeta + c), hn::Load(d, constants->mean_dgamma + c)};
  }

  template <class D>
  HWY_INLINE void One(D d, int64_t i, const Channels<hn::Vec<D>>& k) const {
    using V = hn::Vec<D>;
    V value = k.mean;
    if constexpr (kTrain || kMask == MaskFrom::kX) value = hn::LoadU(d, x + i);
    const V dz = MaskedDy<kMask>(d, dy + i, y + i, value, k.mean, k.scale, k.beta);
    V t = dz;
    if constexpr (kTrain) {
      const V xhat = hn::Mul(hn::Sub(value, k.mean), k.inv_std);
      t = hn::NegMulAdd(xhat, k.mean_dgamma, hn::Sub(dz, k.mean_dbeta));
    }
    t = hn::Mul(t, k.scale);
    if constexpr (kOutputs == Outputs::kAny) {
      if (gradient.d_residual != nullptr) {
        V out = dz;
        if (gradient.add_to_d_residual) out = hn::Add(hn::LoadU(d, gradient.d_residual + i), dz);
        hn::StoreU(out, d, gradient.d_residual + i);
      }
      if (gradient.dx != nullptr) hn::StoreU(t, d, gradient.dx + i);
    } else {
      Put<kOutputs == Outputs::kStreamedDx>(d, t, gradient.dx + i);
    }
  }
};

// -------------------------------------------------------------------------- loops over a matrix

// `channels` columns of one row, or of four, from place `at` on. Four rows share a load of the
// constants, and a pair of vectors fills a cache line of each before the next is begun.
template <class Pass>
void OneRow(const Pass& pass, int64_t at, int64_t c, int64_t channels) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 1> d1;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  const auto n4 = static_cast<int64_t>(hn::Lanes(d4));
  for (; c + 2 * n <= channels; c += 2 * n) {
    pass.One(d, at + c, pass.At(d, c));
    pass.One(d, at + c + n, pass.At(d, c + n));
  }
  for (; c + n <= channels; c += n) pass.One(d, at + c, pass.At(d, c));
  for (; c + n4 <= channels; c += n4) pass.One(d4, at + c, pass.At(d4, c));
  for (; c < channels; ++c) pass.One(d1, at + c, pass.At(d1, c));
}

template <class Pass>
HWY_INLINE void FourRows(const Pass& pass, int64_t at, int64_t channels, int64_t stride) {
  const hn::ScalableTag<float> d;
  const auto n = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + 2 * n <= channels; c += 2 * n) {
    const auto k0 = pass.At(d, c);
    const auto k1 = pass.At(d, c + n);
    for (int64_t r = 0; r < 4; ++r) {
      const int64_t i = at + r * stride + c;
      pass.One(d, i, k0);
      pass.One(d, i + n, k1);
    }
  }
  if (c == channels) return;
  for (int64_t r = 0; r < 4; ++r) OneRow(pass, at + r * stride, c, channels);
}

// Prefetching x and y here as well (512 to 4,096 bytes ahead) gained nothing from the third-level
// cache or from memory, and cost a tenth nearer by.
//
// What is streamed is written in the order of memory: the same matrix took half as long so as by
// four rows at once (103 MB, Zen 3).
template <class Pass>
void AllRows(const Pass& pass, int64_t first, int64_t channels, int64_t rows, int64_t stride) {
  int64_t r = 0;
  if constexpr (!Pass::kStreams) {
    for (; r + 4 <= rows; r += 4) FourRows(pass, r * stride + first, channels, stride);
  }
  for (; r < rows; ++r) OneRow(pass, r * stride + first, 0, channels);
}

template <bool kStream>
void NormalizeChunk(const float* x, const float* residual, int64_t rows, int64_t channels,
                    int64_t first, int64_t count, bool relu, const Constants& constants, float* y) {
  if (relu && residual != nullptr) {
    AllRows(ForwardPass<true, true, kStream>{x, residual, y, &constants}, first, count, rows,
            channels);
  } else if (relu) {
    AllRows(ForwardPass<true, false, kStream>{x, residual, y, &constants}, first, count, rows,
            channels);
  } else if (residual != nullptr) {
    AllRows(ForwardPass<false, true, kStream>{x, residual, y, &constants}, first, count, rows,
            channels);
  } else {
    AllRows(ForwardPass<false, false, kStream>{x, residual, y, &constants}, first, count, rows,
            channels);
  }
}

void Normalize(const float* x, const float* residual, int64_t rows, int64_t channels,
               const ChannelAffine& affine, NormalizeOptions options, float* y) {
  const bool relu = options.activation == Activation::kRelu;
  const bool stream = options.stream && CanStream(y, channels);
  Constants constants;
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = HWY_MIN(kChunk, channels - c);
    Fill(affine, {}, c, count, constants);
    if (stream) {
      NormalizeChunk<true>(x, residual, rows, channels, c, count, relu, constants, y);
    } else {
      NormalizeChunk<false>(x, residual, rows, channels, c, count, relu, constants, y);
    }
  }
  if (stream) hwy::FlushStream();
}

template <MaskFrom kMask, bool kTrain, Outputs kOutputs>
void BackwardChunk(const float* x, const float* y, const float* dy, int64_t rows, int64_t channels,
                   int64_t first, int64_t count, const NormalizeGradient& gradient,
                   const Constants& constants) {
  AllRows(BackwardPass<kMask, kTrain, kOutputs>{x, y, dy, gradient, &constants}, first, count, rows,
          channels);
}

using BackwardFunction = decltype(&BackwardChunk<MaskFrom::kNothing, true, Outputs::kAny>);

// The common cases have loops of their own; the others share one for each mask.
template <MaskFrom kMask>
BackwardFunction ChooseBackward(bool train, Outputs outputs) {
  if (!train) return BackwardChunk<kMask, false, Outputs::kAny>;
  if constexpr (kMask != MaskFrom::kY) {
    if (outputs == Outputs::kDx) return BackwardChunk<kMask, true, Outputs::kDx>;
    if (outputs == Outputs::kStreamedDx) return BackwardChunk<kMask, true, Outputs::kStreamedDx>;
  }
  return BackwardChunk<kMask, true, Outputs::kAny>;
}

MaskFrom MaskOf(Activation activation, const float* y) {
  if (activation == Activation::kNone) return MaskFrom::kNothing;
  return y == nullptr ? MaskFrom::kX : MaskFrom::kY;
}

void NormalizeBackward(const float* x, const float* y, const float* dy, int64_t rows,
                       int64_t channels, const ChannelAffine& affine, NormalizeOptions options,
                       const NormalizeGradient& gradient) {
  Outputs outputs = Outputs::kDx;
  if (gradient.d_residual != nullptr || gradient.dx == nullptr) {
    outputs = Outputs::kAny;
  } else if (options.stream && CanStream(gradient.dx, channels)) {
    outputs = Outputs::kStreamedDx;
  }
  const MaskFrom mask = MaskOf(options.activation, y);
  if (mask != MaskFrom::kY) y = dy;  // not read: any address that may be formed
  const bool train = gradient.mean_dbeta != nullptr;
  const BackwardFunction backward =
      mask == MaskFrom::kX   ? ChooseBackward<MaskFrom::kX>(train, outputs)
      : mask == MaskFrom::kY ? ChooseBackward<MaskFrom::kY>(train, outputs)
                             : ChooseBackward<MaskFrom::kNothing>(train, outputs);
  Constants constants;
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = HWY_MIN(kChunk, channels - c);
    Fill(affine, gradient, c, count, constants);
    backward(x, y, dy, rows, channels, c, count, gradient, constants);
  }
  if (outputs == Outputs::kStreamedDx) hwy::FlushStream();
}

// ------------------------------------------------------------------------------- gradient sums

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
    V mean, inv_std, scale, beta;
  };
  template <class D>
  HWY_INLINE Channels<hn::Vec<D>> At(D d, int64_t c) const {
    return {hn::Load(d, constants->mean + c), hn::Load(d, constants->inv_std + c),
            hn::Load(d, constants->scale + c), hn::Load(d, constants->beta + c)};
  }

  // Adds the row at place i; or four, which make one addition to each running sum.
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE void AddRow(D d, int64_t i, const Channels<hn::Vec<D>>& k, V& s, V& t) const {
    const V v = hn::LoadU(d, x + i);
    const V z = MaskedDy<kMask>(d, dy + i, y + i, v, k.mean, k.scale, k.beta);
    s = hn::Add(s, z);
    t = hn::MulAdd(z, hn::Mul(hn::Sub(v, k.mean), k.inv_std), t);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE void AddRows(D d, int64_t i, const Channels<hn::Vec<D>>& k, V& s, V& t) const {
    const V v0 = hn::LoadU(d, x + i);
    const V z0 = MaskedDy<kMask>(d, dy + i, y + i, v0, k.mean, k.scale, k.beta);
    V p = hn::Mul(z0, hn::Mul(hn::Sub(v0, k.mean), k.inv_std));
    i += stride;
    const V v1 = hn::LoadU(d, x + i);
    const V z1 = MaskedDy<kMask>(d, dy + i, y + i, v1, k.mean, k.scale, k.beta);
    p = hn::MulAdd(z1, hn::Mul(hn::Sub(v1, k.mean), k.inv_std), p);
    i += stride;
    const V v2 = hn::LoadU(d, x + i);
    const V z2 = MaskedDy<kMask>(d, dy + i, y + i, v2, k.mean, k.scale, k.beta);
    p = hn::MulAdd(z2, hn::Mul(hn::Sub(v2, k.mean), k.inv_std), p);
    i += stride;
    const V v3 = hn::LoadU(d, x + i);
    const V z3 = MaskedDy<kMask>(d, dy + i, y + i, v3, k.mean, k.scale, k.beta);
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
