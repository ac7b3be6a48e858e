#include "engine/kernels/elementwise/losses.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/elementwise/losses.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/elementwise/math-inl.h"
#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

// One stretch of n elements; weights and pos_weight (n) or null.
//   loss = w ((1 - t) x + m ln(1 + e^-x)),  m = 1 + (p - 1) t,  ln(1 + e^-x) = softplus(-x)
//   dx   = w (m s(x) - p t)                 (1 - t + m (s - 1) put together without cancelling)
double BceStretch(const float* logits, const float* targets, const float* weights,
                  const float* pos_weight, int64_t n, float scale, float* dlogits) {
  return SumRow<1>(n, [&](auto d, int64_t i, auto* sum) HWY_ATTR {
    const auto one = hn::Set(d, 1.0f);
    const auto x = hn::LoadU(d, logits + i);
    const auto t = hn::LoadU(d, targets + i);
    const auto w = weights == nullptr ? one : hn::LoadU(d, weights + i);
    const auto p = pos_weight == nullptr ? one : hn::LoadU(d, pos_weight + i);
    // s(x) and ln(1 + e^-x) share the exponential.
    const auto e = ExpOfNonPositive(d, hn::Neg(hn::Abs(x)));
    const auto softplus = hn::Add(hn::Max(hn::Neg(x), hn::Zero(d)), Log1pOfUnit(d, e));
    const auto m = hn::MulAdd(hn::Sub(p, one), t, one);
    const auto loss = hn::MulAdd(hn::Sub(one, t), x, hn::Mul(m, softplus));
    sum[0] = hn::MulAdd(w, loss, sum[0]);
    if (dlogits != nullptr) {
      const auto numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one);
      const auto sigmoid = hn::Div(numerator, hn::Add(e, one));
      const auto dx = hn::NegMulAdd(p, t, hn::Mul(m, sigmoid));
      hn::StoreU(hn::Mul(hn::Mul(hn::Set(d, scale), w), dx), d, dlogits + i);
    }
  })[0];
}

double BceWithLogitsTarget(const float* logits, const float* targets, int64_t rows, int64_t columns,
                           const BceOptions& options, float scale, float* dlogits) {
  if (options.pos_weight == nullptr) {
    return BceStretch(logits, targets, options.weights, nullptr, rows * columns, scale, dlogits);
  }
  double total = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * columns;
    total += BceStretch(
        logits + at, targets + at, options.weights == nullptr ? nullptr : options.weights + at,
        options.pos_weight, columns, scale, dlogits == nullptr ? nullptr : dlogits + at);
  }
  return total;
}

double SquaredErrorTarget(const float* x, const float* target, int64_t n, float scale, float* dx) {
  const float twice = 2.0f * scale;
  return SumRow<1>(n, [&](auto d, int64_t i, auto* sum) HWY_ATTR {
    const auto e = hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, target + i));
    sum[0] = hn::MulAdd(e, e, sum[0]);
    if (dx != nullptr) hn::StoreU(hn::Mul(e, hn::Set(d, twice)), d, dx + i);
  })[0];
}

double HuberTarget(const float* x, const float* target, int64_t n, float delta, float scale,
                   float* dx) {
  return SumRow<1>(n, [&](auto d, int64_t i, auto* sum) HWY_ATTR {
    const auto limit = hn::Set(d, delta);
    const auto half = hn::Set(d, 0.5f);
    const auto e = hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, target + i));
    const auto size = hn::Abs(e);
    const auto inside = hn::Le(size, limit);
    const auto quadratic = hn::Mul(hn::Mul(e, e), half);
    const auto linear = hn::Mul(limit, hn::NegMulAdd(limit, half, size));
    sum[0] = hn::Add(sum[0], hn::IfThenElse(inside, quadratic, linear));
    if (dx != nullptr) {
      // A NaN is not above the limit and stays.
      const auto slope = hn::IfThenElse(hn::Gt(size, limit), hn::CopySign(limit, e), e);
      hn::StoreU(hn::Mul(slope, hn::Set(d, scale)), d, dx + i);
    }
  })[0];
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(BceWithLogitsTarget);
HWY_EXPORT(SquaredErrorTarget);
HWY_EXPORT(HuberTarget);
}  // namespace

double BceWithLogits(const float* logits, const float* targets, int64_t rows, int64_t columns,
                     const BceOptions& options, float scale, float* dlogits) {
  return HWY_DYNAMIC_DISPATCH(BceWithLogitsTarget)(logits, targets, rows, columns, options, scale,
                                                   dlogits);
}

double SquaredError(const float* x, const float* target, int64_t n, float scale, float* dx) {
  return HWY_DYNAMIC_DISPATCH(SquaredErrorTarget)(x, target, n, scale, dx);
}

double Huber(const float* x, const float* target, int64_t n, float delta, float scale, float* dx) {
  return HWY_DYNAMIC_DISPATCH(HuberTarget)(x, target, n, delta, scale, dx);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
