#include "engine/kernels/norm/row_norm.h"

#include <algorithm>
#include <cmath>

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/norm/row_norm.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

// Rows whose dgamma and dbeta are summed in single precision before they are added in double. With
// C = 768 the tile's x and dy are 48 KB: past L1, but L2 keeps up with the arithmetic.
constexpr int64_t kTileRows = 8;

// Stores past the caches need whole aligned vectors, and a fence after the last of them.
template <bool kStream, class D>
HWY_INLINE void Put(D d, hn::Vec<D> v, float* to) {
  if constexpr (kStream) {
    hn::Stream(v, d, to);
  } else {
    hn::StoreU(v, d, to);
  }
}

bool CanStream(const float* to, int64_t columns) {
  constexpr size_t kLine = 64;
  return reinterpret_cast<uintptr_t>(to) % kLine == 0 &&
         static_cast<size_t>(columns) * sizeof(float) % kLine == 0;
}

struct RowMoments {
  double mean;
  double inv_std;
  bool in_single;  // finite in single precision
};

// The plain two passes in double, for rows whose squares a float cannot hold.
RowMoments MomentsInDouble(const float* x, int64_t n, double eps, bool centred) {
  const auto count = static_cast<double>(n);
  double sum = 0.0, squares = 0.0;
  for (int64_t i = 0; centred && i < n; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / count;
  for (int64_t i = 0; i < n; ++i) {
    const double d = static_cast<double>(x[i]) - mean;
    squares += d * d;
  }
  return {mean, 1.0 / std::sqrt(squares / count + eps), false};
}

template <bool kCentred>
HWY_INLINE RowMoments Moments(const float* x, int64_t n, double eps) {
  // The passes over a row wait for each other's results, so what lies between them is kept short:
  // products with 1 / n instead of quotients.
  const double share = 1.0 / static_cast<double>(n);
  double exact_mean = 0.0;
  if constexpr (kCentred) {
    // Summed about the first element: differences of neighbours are nearly exact, a constant row
    // sums to exactly 0, and where the first is an outlier the deviation is as large.
    const float shift = x[0];
    const double sum = SumRow<1>(n, [&](auto d, int64_t i, auto* sums) HWY_ATTR {
      sums[0] = hn::Add(sums[0], hn::Sub(hn::LoadU(d, x + i), hn::Set(d, shift)));
    })[0];
    exact_mean = static_cast<double>(shift) + sum * share;
  }
  const auto mean = static_cast<float>(exact_mean);
  const double squares = SumRow<1>(n, [&](auto d, int64_t i, auto* sums) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    const auto delta = kCentred ? hn::Sub(v, hn::Set(d, mean)) : v;
    sums[0] = hn::MulAdd(delta, delta, sums[0]);
  })[0];
  if (!std::isfinite(squares)) return MomentsInDouble(x, n, eps, kCentred);
  // The squares are about the rounded mean: sum (x - mean)^2 = m2 + n (exact - mean)^2.
  const double low = exact_mean - static_cast<double>(mean);
  const double variance_eps = std::max(eps, squares * share + (eps - low * low));
  return {exact_mean, 1.0 / std::sqrt(variance_eps), true};
}

// What xhat needs: xhat = (x - mean) inv_std + shift.
struct RowScale {
  float mean, inv_std, shift;
};

RowScale ScaleOf(float mean, double mean_low, double inv_std) {
  return {mean, static_cast<float>(inv_std), static_cast<float>(-mean_low * inv_std)};
}

template <bool kCentred, class D, class V = hn::Vec<D>>
HWY_INLINE V Xhat(D d, V x, const RowScale& row) {
  const V inv_std = hn::Set(d, row.inv_std);
  if constexpr (!kCentred) return hn::Mul(x, inv_std);
  return hn::MulAdd(hn::Sub(x, hn::Set(d, row.mean)), inv_std, hn::Set(d, row.shift));
}

template <bool kGamma, bool kBeta, bool kCentred, bool kStream>
HWY_INLINE void NormalizeRow(const float* x, int64_t n, const RowScale& row, const float* gamma,
                             const float* beta, float* y) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    auto out = Xhat<kCentred>(d, hn::LoadU(d, x + i), row);
    if constexpr (kGamma && kBeta) {
      out = hn::MulAdd(out, hn::LoadU(d, gamma + i), hn::LoadU(d, beta + i));
    } else if constexpr (kGamma) {
      out = hn::Mul(out, hn::LoadU(d, gamma + i));
    } else if constexpr (kBeta) {
      out = hn::Add(out, hn::LoadU(d, beta + i));
    }
    Put<kStream>(d, out, y + i);
  });
}

// Where the moments took double, x - mean or inv_std may leave the range of a float, y does not.
void NormalizeRowInDouble(const float* x, int64_t n, double mean, double inv_std,
                          const float* gamma, const float* beta, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    double out = (static_cast<double>(x[i]) - mean) * inv_std;
    if (gamma != nullptr) out *= static_cast<double>(gamma[i]);
    if (beta != nullptr) out += static_cast<double>(beta[i]);
    y[i] = static_cast<float>(out);
  }
}

template <bool kGamma, bool kBeta, bool kCentred>
void ForwardRows(const RowNormForwardArgs& args) {
  const int64_t n = args.columns;
  const bool stream = args.stream && CanStream(args.y, n);
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * n;
    float* y = args.y + r * n;
    const RowMoments moments = Moments<kCentred>(x, n, args.eps);
    const double inv_std = moments.inv_std;
    const auto mean = static_cast<float>(moments.mean);
    const double mean_low = moments.mean - static_cast<double>(mean);
    if (kCentred && args.mean != nullptr) args.mean[r] = mean;
    if (kCentred && args.mean_low != nullptr) args.mean_low[r] = static_cast<float>(mean_low);
    if (args.inv_std != nullptr) args.inv_std[r] = static_cast<float>(inv_std);
    if (HWY_LIKELY(moments.in_single)) {
      const RowScale row = ScaleOf(mean, mean_low, inv_std);
      stream ? NormalizeRow<kGamma, kBeta, kCentred, true>(x, n, row, args.gamma, args.beta, y)
             : NormalizeRow<kGamma, kBeta, kCentred, false>(x, n, row, args.gamma, args.beta, y);
    } else {
      NormalizeRowInDouble(x, n, moments.mean, inv_std, args.gamma, kCentred ? args.beta : nullptr,
                           y);
    }
  }
  if (stream) hwy::FlushStream();
}

void LayerNormForwardTarget(const RowNormForwardArgs& args) {
  if (args.gamma != nullptr) {
    args.beta != nullptr ? ForwardRows<true, true, true>(args)
                         : ForwardRows<true, false, true>(args);
  } else {
    args.beta != nullptr ? ForwardRows<false, true, true>(args)
                         : ForwardRows<false, false, true>(args);
  }
}

void RmsNormForwardTarget(const RowNormForwardArgs& args) {
  args.gamma != nullptr ? ForwardRows<true, false, false>(args)
                        : ForwardRows<false, false, false>(args);
}

// What the gradient of one row needs: dx = inv_std g - (c1 inv_std) - xhat (c2 inv_std).
struct RowConstants {
  RowScale scale;
  float minus_c1, minus_c2;  // times inv_std
};

template <bool kGamma, bool kCentred>
HWY_INLINE RowConstants GradientMeans(const float* x, const float* dy, const float* gamma,
                                      int64_t n, const RowScale& row) {
  const auto sums = SumRow<2>(n, [&](auto d, int64_t i, auto* s) HWY_ATTR {
    const auto xhat = Xhat<kCentred>(d, hn::LoadU(d, x + i), row);
    auto g = hn::LoadU(d, dy + i);
    if constexpr (kGamma) g = hn::Mul(g, hn::LoadU(d, gamma + i));
    if constexpr (kCentred) s[0] = hn::Add(s[0], g);
    s[1] = hn::MulAdd(g, xhat, s[1]);
  });
  const double share = -static_cast<double>(row.inv_std) / static_cast<double>(n);
  return {row, static_cast<float>(sums[0] * share), static_cast<float>(sums[1] * share)};
}

template <class D>
HWY_INLINE void AddToDoubles(D d, hn::Vec<D> v, double* into) {
  constexpr size_t kLanes = hn::MaxLanes(D());
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, d, lanes);
  for (size_t lane = 0; lane < kLanes; ++lane) into[lane] += static_cast<double>(lanes[lane]);
}

// Where dx goes: past the caches or not, or to the sum that is there.
enum class Into { kCache, kMemory, kSum };

// The gradients of a tile of `rows` rows, in kVectors vectors of columns from i on: dx, and what
// the tile adds to dgamma and dbeta, each read of x and dy serving all three. A cache line of
// columns at a time: stores past the caches lose more than they gain when they write half lines.
// Two lines at a time, which would share the constants of a row, took 8 % longer (8192x768,
// AVX-512, Zen 4).
template <bool kGamma, bool kCentred, Into kInto, int kVectors, class D>
HWY_INLINE void TileColumns(D d, const RowNormBackwardArgs& args, int64_t first, int64_t rows,
                            const RowConstants* constants, int64_t i) {
  constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  using V = hn::Vec<D>;
  V sum_dgamma[kVectors], sum_dbeta[kVectors];
  for (int v = 0; v < kVectors; ++v) sum_dgamma[v] = sum_dbeta[v] = hn::Zero(d);
  for (int64_t r = 0; r < rows; ++r) {
    const RowConstants& row = constants[r];
    const V inv_std = hn::Set(d, row.scale.inv_std);
    const V minus_c1 = hn::Set(d, row.minus_c1), minus_c2 = hn::Set(d, row.minus_c2);
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = i + v * kLanes;
      const int64_t at = (first + r) * args.columns + column;
      const V x = hn::LoadU(d, args.x + at);
      const V dy = hn::LoadU(d, args.dy + at);
      const V xhat = Xhat<kCentred>(d, x, row.scale);
      sum_dgamma[v] = hn::MulAdd(dy, xhat, sum_dgamma[v]);
      if constexpr (kCentred) sum_dbeta[v] = hn::Add(sum_dbeta[v], dy);
      if (args.dx != nullptr) {
        V g = dy;
        if constexpr (kGamma) g = hn::Mul(g, hn::LoadU(d, args.gamma + column));
        const V from_xhat =
            kCentred ? hn::MulAdd(xhat, minus_c2, minus_c1) : hn::Mul(xhat, minus_c2);
        V dx = hn::MulAdd(g, inv_std, from_xhat);
        if constexpr (kInto == Into::kSum) dx = hn::Add(hn::LoadU(d, args.dx + at), dx);
        Put<kInto == Into::kMemory>(d, dx, args.dx + at);
      }
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = i + v * kLanes;
    if (args.dgamma != nullptr) AddToDoubles(d, sum_dgamma[v], args.dgamma + column);
    if (kCentred && args.dbeta != nullptr) AddToDoubles(d, sum_dbeta[v], args.dbeta + column);
  }
}

template <bool kGamma, bool kCentred, Into kInto>
void BackwardRows(const RowNormBackwardArgs& args) {
  const int64_t n = args.columns;
  for (int64_t i = 0; args.dgamma != nullptr && i < n; ++i) args.dgamma[i] = 0.0;
  for (int64_t i = 0; kCentred && args.dbeta != nullptr && i < n; ++i) args.dbeta[i] = 0.0;
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  constexpr int kVectors = HWY_MAX(1, 16 / static_cast<int>(hn::MaxLanes(decltype(d)())));
  constexpr int64_t kLine = kVectors * static_cast<int64_t>(hn::MaxLanes(decltype(d)()));
  RowConstants constants[kTileRows];
  for (int64_t first = 0; first < args.rows; first += kTileRows) {
    const int64_t rows = HWY_MIN(kTileRows, args.rows - first);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = first + r;
      const bool has_low = kCentred && args.mean_low != nullptr;
      // A row of one value is its own mean: dx is exactly 0, which inv_std (g - c1) would miss by
      // its rounding.
      const float inv_std = kCentred && n == 1 ? 0.0f : args.inv_std[row];
      const RowScale scale = ScaleOf(kCentred ? args.mean[row] : 0.0f,
                                     has_low ? static_cast<double>(args.mean_low[row]) : 0.0,
                                     static_cast<double>(inv_std));
      constants[r] = args.dx == nullptr
                         ? RowConstants{scale, 0.0f, 0.0f}
                         : GradientMeans<kGamma, kCentred>(args.x + row * n, args.dy + row * n,
                                                           args.gamma, n, scale);
    }
    int64_t i = 0;
    for (; i + kLine <= n; i += kLine) {
      // A constant number of rows, where it can be, keeps the loop over them unrolled.
      if (HWY_LIKELY(rows == kTileRows)) {
        TileColumns<kGamma, kCentred, kInto, kVectors>(d, args, first, kTileRows, constants, i);
      } else {
        TileColumns<kGamma, kCentred, kInto, kVectors>(d, args, first, rows, constants, i);
      }
    }
    for (; i < n; ++i) {
      constexpr Into kRest = kInto == Into::kSum ? Into::kSum : Into::kCache;
      TileColumns<kGamma, kCentred, kRest, 1>(d1, args, first, rows, constants, i);
    }
  }
}

template <bool kGamma, bool kCentred>
void BackwardInto(const RowNormBackwardArgs& args) {
  if (args.accumulate_dx) {
    BackwardRows<kGamma, kCentred, Into::kSum>(args);
  } else if (args.stream && args.dx != nullptr && CanStream(args.dx, args.columns)) {
    BackwardRows<kGamma, kCentred, Into::kMemory>(args);
    hwy::FlushStream();
  } else {
    BackwardRows<kGamma, kCentred, Into::kCache>(args);
  }
}

void LayerNormBackwardTarget(const RowNormBackwardArgs& args) {
  args.gamma != nullptr ? BackwardInto<true, true>(args) : BackwardInto<false, true>(args);
}

void RmsNormBackwardTarget(const RowNormBackwardArgs& args) {
  args.gamma != nullptr ? BackwardInto<true, false>(args) : BackwardInto<false, false>(args);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(LayerNormForwardTarget);
HWY_EXPORT(LayerNormBackwardTarget);
HWY_EXPORT(RmsNormForwardTarget);
HWY_EXPORT(RmsNormBackwardTarget);
}  // namespace

void LayerNormForward(const RowNormForwardArgs& args) {
  HWY_DYNAMIC_DISPATCH(LayerNormForwardTarget)(args);
}
void LayerNormBackward(const RowNormBackwardArgs& args) {
  HWY_DYNAMIC_DISPATCH(LayerNormBackwardTarget)(args);
}
void RmsNormForward(const RowNormForwardArgs& args) {
  HWY_DYNAMIC_DISPATCH(RmsNormForwardTarget)(args);
}
void RmsNormBackward(const RowNormBackwardArgs& args) {
  HWY_DYNAMIC_DISPATCH(RmsNormBackwardTarget)(args);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
