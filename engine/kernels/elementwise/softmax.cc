#include "engine/kernels/elementwise/softmax.h"

#include <limits>

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/elementwise/softmax.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/elementwise/math-inl.h"
#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

// The largest element; a NaN may or may not be seen. Every order gives the same value.
HWY_INLINE float RowMax(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if (n < lanes) {
    float max = x[0];
    for (int64_t i = 1; i < n; ++i) max = HWY_MAX(max, x[i]);
    return max;
  }
  // What the loops leave; elements seen twice do not matter.
  auto max = hn::LoadU(d, x + n - lanes);
  int64_t i = 0;
  if (n >= 4 * lanes) {
    // Four chains: one would wait for the latency of each maximum.
    auto m1 = max, m2 = max, m3 = max;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
      max = hn::Max(max, hn::LoadU(d, x + i));
      m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
      m2 = hn::Max(m2, hn::LoadU(d, x + i + 2 * lanes));
      m3 = hn::Max(m3, hn::LoadU(d, x + i + 3 * lanes));
    }
    max = hn::Max(hn::Max(max, m1), hn::Max(m2, m3));
  }
  for (; i + lanes <= n; i += lanes) max = hn::Max(max, hn::LoadU(d, x + i));
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

// sum_c exp(x_c - max); with kStore e (n) receives the terms and may be x.
template <bool kStore>
HWY_INLINE double SumOfExp(const float* x, int64_t n, float max, float* e) {
  const auto body = [&](auto d, int64_t i, auto* sum) HWY_ATTR {
    const auto term = ExpOfNonPositive(d, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, max)));
    if constexpr (kStore) hn::StoreU(term, d, e + i);
    sum[0] = hn::Add(sum[0], term);
  };
  // A row of ten classes is all tail: one set of lanes, filled up with -inf, whose terms are 0.
  const auto tail = [&](auto d, int64_t i, int64_t count, auto* sums) HWY_ATTR {
    constexpr int kLanes = static_cast<int>(hn::MaxLanes(decltype(d)()));
    HWY_ALIGN float lanes[kVirtualLanes];
    for (int64_t k = 0; k < kVirtualLanes; ++k) {
      lanes[k] = k < count ? x[i + k] : -std::numeric_limits<float>::infinity();
    }
    for (int v = 0; v < kVirtualLanes / kLanes; ++v) {
      const auto shifted = hn::Sub(hn::Load(d, lanes + v * kLanes), hn::Set(d, max));
      const auto term = ExpOfNonPositive(d, shifted);
      hn::Store(term, d, lanes + v * kLanes);
      sums[v][0] = hn::Add(sums[v][0], term);
    }
    if constexpr (kStore) {
      for (int64_t k = 0; k < count; ++k) e[i + k] = lanes[k];
    }
  };
  return SumRow<1>(n, body, tail)[0];
}

float LogOfSum(double sum) {
  const hn::CappedTag<float, 1> d;
  return hn::GetLane(Log(d, hn::Set(d, static_cast<float>(sum))));
}

void ScaleRow(float factor, float* y, int64_t n) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), hn::Set(d, factor)), d, y + i);
  });
}

void SoftmaxForwardTarget(const float* x, int64_t rows, int64_t columns, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const double sum = SumOfExp<true>(x, columns, RowMax(x, columns), y);
    ScaleRow(static_cast<float>(1.0 / sum), y, columns);
  }
}

void FillRow(float value, float* y, int64_t n) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(hn::Set(d, value), d, y + i); });
}

// sum_c w_c (x_c - max); w null: ones.
double WeightedShiftedSum(const float* x, const float* w, int64_t n, float max) {
  return SumRow<1>(n, [&](auto d, int64_t i, auto* sum) HWY_ATTR {
    const auto shifted = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, max));
    const auto weight = w == nullptr ? hn::Set(d, 1.0f) : hn::LoadU(d, w + i);
    sum[0] = hn::MulAdd(weight, shifted, sum[0]);
  })[0];
}

double SumOfWeights(const float* w, int64_t n) {
  if (w == nullptr) return static_cast<double>(n);
  return SumRow<1>(n, [&](auto d, int64_t i, auto* sum)
                          HWY_ATTR { sum[0] = hn::Add(sum[0], hn::LoadU(d, w + i)); })[0];
}

// d = d p_factor - smooth w: from exponentials to gradients. w null: ones.
void SmoothedGradient(float p_factor, float smooth, const float* w, float* d_row, int64_t n) {
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto weight = w == nullptr ? hn::Set(d, 1.0f) : hn::LoadU(d, w + i);
    const auto p = hn::Mul(hn::LoadU(d, d_row + i), hn::Set(d, p_factor));
    hn::StoreU(hn::NegMulAdd(weight, hn::Set(d, smooth), p), d, d_row + i);
  });
}

double CrossEntropyTarget(const float* logits, const int32_t* targets, int64_t rows,
                          int64_t classes, const CrossEntropyOptions& options, float scale,
                          float* dlogits) {
  const float* w = options.class_weights;
  const double smoothing = static_cast<double>(options.label_smoothing);
  const double each = smoothing / static_cast<double>(classes);  // the share of every class
  const double sum_w = smoothing > 0.0 ? SumOfWeights(w, classes) : 0.0;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

  double total = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = logits + r * classes;
    float* dx = dlogits == nullptr ? nullptr : dlogits + r * classes;
    const int32_t target = targets[r];
    if (target == options.ignored_index) {
      if (dx != nullptr) FillRow(0.0f, dx, classes);
      continue;
    }
    if (target < 0 || target >= classes) {
      total += static_cast<double>(kNan);
      if (dx != nullptr) FillRow(kNan, dx, classes);
      continue;
    }
    const float max = RowMax(x, classes);
    const double w_target = w == nullptr ? 1.0 : static_cast<double>(w[target]);
    // Read from x before dx, which may be x, is written.
    const double target_shifted = static_cast<double>(x[target] - max);
    const double sum_shifted = smoothing > 0.0 ? WeightedShiftedSum(x, w, classes, max) : 0.0;
    const double sum = dx != nullptr ? SumOfExp<true>(x, classes, max, dx)
                                     : SumOfExp<false>(x, classes, max, nullptr);
    const double log_sum = static_cast<double>(LogOfSum(sum));

    double loss = (1.0 - smoothing) * w_target * (log_sum - target_shifted);
    if (smoothing > 0.0) loss += each * (sum_w * log_sum - sum_shifted);
    total += static_cast<double>(static_cast<float>(loss));

    if (dx == nullptr) continue;
    // dx_c = scale ((W p_c) - each w_c - (1 - smoothing) w_t [c = t]), W = the sum of what follows.
    const double scaled = static_cast<double>(scale);
    const double weight = (1.0 - smoothing) * w_target + each * sum_w;
    const auto p_factor = static_cast<float>(scaled * weight / sum);
    if (smoothing > 0.0) {
      SmoothedGradient(p_factor, static_cast<float>(scaled * each), w, dx, classes);
    } else {
      ScaleRow(p_factor, dx, classes);
    }
    dx[target] -= static_cast<float>(scaled * (1.0 - smoothing) * w_target);
  }
  return total;
}

// w[c] ((1 - smoothing) t_c + each), of the lanes from c on; w null: ones.
template <class D>
HWY_INLINE auto SoftTarget(D d, const float* t, const float* w, float keep, float each, int64_t c) {
  const auto smoothed = hn::MulAdd(hn::LoadU(d, t + c), hn::Set(d, keep), hn::Set(d, each));
  return w == nullptr ? smoothed : hn::Mul(hn::LoadU(d, w + c), smoothed);
}

double SoftCrossEntropyTarget(const float* logits, const float* targets, int64_t rows,
                              int64_t classes, const CrossEntropyOptions& options, float scale,
                              float* dlogits) {
  const float* w = options.class_weights;
  const double smoothing = static_cast<double>(options.label_smoothing);
  const auto keep = static_cast<float>(1.0 - smoothing);
  const auto each = static_cast<float>(smoothing / static_cast<double>(classes));

  double total = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* x = logits + r * classes;
    const float* t = targets + r * classes;
    float* dx = dlogits == nullptr ? nullptr : dlogits + r * classes;
    const float max = RowMax(x, classes);
    // Of t; of w t'; of w t' (x - max), where a factor of 0 is not multiplied.
    const auto sums = SumRow<3>(classes, [&](auto d, int64_t c, auto* sum) HWY_ATTR {
      const auto target = SoftTarget(d, t, w, keep, each, c);
      const auto shifted = hn::Sub(hn::LoadU(d, x + c), hn::Set(d, max));
      const auto term = hn::IfThenZeroElse(hn::Eq(target, hn::Zero(d)), hn::Mul(target, shifted));
      sum[0] = hn::Add(sum[0], hn::LoadU(d, t + c));
      sum[1] = hn::Add(sum[1], target);
      sum[2] = hn::Add(sum[2], term);
    });
    if (sums[0] == 0.0) {
      if (dx != nullptr) FillRow(0.0f, dx, classes);
      continue;
    }
    const double sum = dx != nullptr ? SumOfExp<true>(x, classes, max, dx)
                                     : SumOfExp<false>(x, classes, max, nullptr);
    const double loss = sums[1] * static_cast<double>(LogOfSum(sum)) - sums[2];
    total += static_cast<double>(static_cast<float>(loss));

    if (dx == nullptr) continue;
    const auto p_factor = static_cast<float>(static_cast<double>(scale) * sums[1] / sum);
    ForEachVector(classes, [&](auto d, int64_t c) HWY_ATTR {
      const auto target = SoftTarget(d, t, w, keep, each, c);
      const auto p = hn::Mul(hn::LoadU(d, dx + c), hn::Set(d, p_factor));
      hn::StoreU(hn::NegMulAdd(target, hn::Set(d, scale), p), d, dx + c);
    });
  }
  return total;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(SoftmaxForwardTarget);
HWY_EXPORT(CrossEntropyTarget);
HWY_EXPORT(SoftCrossEntropyTarget);
}  // namespace

void SoftmaxForward(const float* x, int64_t rows, int64_t columns, float* y) {
  if (columns > 0) HWY_DYNAMIC_DISPATCH(SoftmaxForwardTarget)(x, rows, columns, y);
}

double CrossEntropyWeight(const int32_t* targets, int64_t rows, int64_t classes,
                          const CrossEntropyOptions& options) {
  double weight = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t target = targets[r];
    if (target == options.ignored_index || target < 0 || target >= classes) continue;
    weight +=
        options.class_weights == nullptr ? 1.0 : static_cast<double>(options.class_weights[target]);
  }
  return weight;
}

double CrossEntropy(const float* logits, const int32_t* targets, int64_t rows, int64_t classes,
                    const CrossEntropyOptions& options, float scale, float* dlogits) {
  return HWY_DYNAMIC_DISPATCH(CrossEntropyTarget)(logits, targets, rows, classes, options, scale,
                                                  dlogits);
}

double SoftCrossEntropy(const float* logits, const float* targets, int64_t rows, int64_t classes,
                        const CrossEntropyOptions& options, float scale, float* dlogits) {
  return HWY_DYNAMIC_DISPATCH(SoftCrossEntropyTarget)(logits, targets, rows, classes, options,
                                                      scale, dlogits);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
