#include "engine/kernels/optimizer/optimizer_update.h"

#include <cstddef>
#include <utility>

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/optimizer/optimizer_update.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Calls update(d, i) for all of [0, n), in full vectors and then one by one; it updates the
// elements at i and returns their gradients. Returns whether those were finite.
//
// g * 0 is NaN where g is not finite, and a NaN stays in a sum. One more instruction for a vector,
// in loops that wait for memory. Or-ing the bits of g * 0 instead, to be rid of the chain of
// additions, changed nothing (3664 parameters on a Zen 3 core: SGD 0.7 microseconds either way).
template <class Update>
HWY_INLINE bool ForVectors(int64_t n, const Update& update) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto check = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) check = hn::MulAdd(update(d, i), hn::Zero(d), check);

  const hn::CappedTag<float, 1> d1;
  auto check1 = hn::Zero(d1);
  for (; i < n; ++i) check1 = hn::MulAdd(update(d1, i), hn::Zero(d1), check1);
  return hn::AllTrue(d, hn::Eq(check, check)) && hn::AllTrue(d1, hn::Eq(check1, check1));
}

// Factors come by value: behind a reference, every store of a float might change them.
template <bool kMomentum, bool kNesterov>
bool Sgd(const SgdFactors f, const float* HWY_RESTRICT gradients, int64_t n,
         float* HWY_RESTRICT parameters, float* HWY_RESTRICT momentum_buffer) {
  return ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, gradients + i);
    const auto p = hn::LoadU(d, parameters + i);
    auto step = hn::MulAdd(hn::Set(d, f.weight_decay), p, hn::Mul(hn::Set(d, f.grad_scale), g));
    if constexpr (kMomentum) {
      const auto momentum = hn::Set(d, f.momentum);
      const auto kept = hn::Mul(momentum, hn::LoadU(d, momentum_buffer + i));
      const auto b = hn::MulAdd(hn::Set(d, f.gradient_weight), step, kept);
      hn::StoreU(b, d, momentum_buffer + i);
      if constexpr (kNesterov) {
        step = hn::MulAdd(momentum, b, step);
      } else {
        step = b;
      }
    }
    hn::StoreU(hn::NegMulAdd(hn::Set(d, f.learning_rate), step, p), d, parameters + i);
    return g;
  });
}

bool UpdateSgd(const SgdFactors& factors, const float* gradients, int64_t n, float* parameters,
               float* momentum_buffer) {
  if (momentum_buffer == nullptr) {
    return Sgd<false, false>(factors, gradients, n, parameters, nullptr);
  }
  return factors.nesterov ? Sgd<true, true>(factors, gradients, n, parameters, momentum_buffer)
                          : Sgd<true, false>(factors, gradients, n, parameters, momentum_buffer);
}

template <bool kAmsgrad>
bool Adam(const AdamFactors f, const float* HWY_RESTRICT gradients, int64_t n,
          float* HWY_RESTRICT parameters, float* HWY_RESTRICT exp_avg,
          float* HWY_RESTRICT exp_avg_sq, float* HWY_RESTRICT max_exp_avg_sq) {
  // m + w (d - m) loses what is small in d when w is large; then the same from the other end,
  // d - (1 - w) (d - m). torch.lerp draws the line there as well.
  const float lerp = f.one_minus_beta1 < 0.5f ? f.one_minus_beta1 : f.one_minus_beta1 - 1.0f;
  return ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, gradients + i);
    const auto p = hn::LoadU(d, parameters + i);
    const auto m_old = hn::LoadU(d, exp_avg + i);
    const auto v_old = hn::LoadU(d, exp_avg_sq + i);
    const auto scaled = hn::MulAdd(hn::Set(d, f.l2), p, hn::Mul(hn::Set(d, f.grad_scale), g));

    const auto from_m = hn::Lt(hn::Set(d, f.one_minus_beta1), hn::Set(d, 0.5f));
    const auto m =
        hn::MulAdd(hn::Set(d, lerp), hn::Sub(scaled, m_old), hn::IfThenElse(from_m, m_old, scaled));
    const auto v = hn::MulAdd(hn::Mul(hn::Set(d, f.one_minus_beta2), scaled), scaled,
                              hn::Mul(hn::Set(d, f.beta2), v_old));
    hn::StoreU(m, d, exp_avg + i);
    hn::StoreU(v, d, exp_avg_sq + i);
    auto w = v;
    if constexpr (kAmsgrad) {
      w = hn::Max(hn::LoadU(d, max_exp_avg_sq + i), v);
      hn::StoreU(w, d, max_exp_avg_sq + i);
    }
    const auto denominator =
        hn::MulAdd(hn::Sqrt(w), hn::Set(d, f.inv_sqrt_correction2), hn::Set(d, f.eps));
    const auto kept = hn::Mul(hn::Set(d, f.keep), p);
    hn::StoreU(hn::NegMulAdd(hn::Set(d, f.step_size), hn::Div(m, denominator), kept), d,
               parameters + i);
    return g;
  });
}

bool UpdateAdam(const AdamFactors& factors, const float* gradients, int64_t n, float* parameters,
                float* exp_avg, float* exp_avg_sq, float* max_exp_avg_sq) {
  return max_exp_avg_sq == nullptr
             ? Adam<false>(factors, gradients, n, parameters, exp_avg, exp_avg_sq, nullptr)
             : Adam<true>(factors, gradients, n, parameters, exp_avg, exp_avg_sq, max_exp_avg_sq);
}

// The square of a float is exact in double, so a target without FMA gives the same bits as well.
// k... counts the vectors that make up kVirtualLanes doubles.
template <size_t... k>
HWY_INLINE double SumInLanes(std::index_sequence<k...>, const float* HWY_RESTRICT x, int64_t n) {
  const hn::CappedTag<double, kVirtualLanes> d;
  const hn::Rebind<float, decltype(d)> d32;
  constexpr size_t kLanes = hn::MaxLanes(d);
  hn::Vec<decltype(d)> sums[] = {((void)k, hn::Zero(d))...};
  const auto add = [&](auto& sum, const float* from) HWY_ATTR {
    const auto value = hn::PromoteTo(d, hn::LoadU(d32, from));
    sum = hn::MulAdd(value, value, sum);
  };
  int64_t i = 0;
  for (; i + kVirtualLanes <= n; i += kVirtualLanes) (add(sums[k], x + i + k * kLanes), ...);

  double lanes[kVirtualLanes];
  (hn::StoreU(sums[k], d, lanes + k * kLanes), ...);
  for (int64_t lane = 0; i < n; ++i, ++lane) lanes[lane] += static_cast<double>(x[i]) * x[i];
  for (int half = kVirtualLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

double SumOfSquares(const float* x, int64_t n) {
  constexpr size_t kLanes = hn::MaxLanes(hn::CappedTag<double, kVirtualLanes>());
  return SumInLanes(std::make_index_sequence<kVirtualLanes / kLanes>(), x, n);
}

void UpdateAverage(float one_minus_decay, const float* HWY_RESTRICT p, int64_t n,
                   float* HWY_RESTRICT average) {
  ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto value = hn::LoadU(d, p + i);
    const auto old = hn::LoadU(d, average + i);
    const auto moved = hn::MulAdd(hn::Set(d, one_minus_decay), hn::Sub(value, old), old);
    hn::StoreU(moved, d, average + i);
    return value;
  });
}

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {

HWY_EXPORT(UpdateSgd);
HWY_EXPORT(UpdateAdam);
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(UpdateAverage);

bool UpdateSgd(const SgdFactors& factors, const float* gradients, int64_t n, float* parameters,
               float* momentum_buffer) {
  return HWY_DYNAMIC_DISPATCH(UpdateSgd)(factors, gradients, n, parameters, momentum_buffer);
}

bool UpdateAdam(const AdamFactors& factors, const float* gradients, int64_t n, float* parameters,
                float* exp_avg, float* exp_avg_sq, float* max_exp_avg_sq) {
  return HWY_DYNAMIC_DISPATCH(UpdateAdam)(factors, gradients, n, parameters, exp_avg, exp_avg_sq,
                                          max_exp_avg_sq);
}

double SumOfSquares(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(SumOfSquares)(x, n); }

void UpdateAverage(float one_minus_decay, const float* p, int64_t n, float* average) {
  HWY_DYNAMIC_DISPATCH(UpdateAverage)(one_minus_decay, p, n, average);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
