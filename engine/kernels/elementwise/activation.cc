#include "engine/kernels/elementwise/activation.h"

#include "engine/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/elementwise/activation.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstdint>

#include "engine/kernels/elementwise/math-inl.h"
#include "engine/kernels/norm/row_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

// Each activation: Forward(d, x) and Backward(d, saved, dy), `saved` being x or y as the header
// says.

struct Relu {
  // A NaN is not below zero and stays.
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V y, V dy) const {
    return hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), dy);
  }
};

struct Relu6 {
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    const V six = hn::Set(d, 6.0f);
    return hn::IfThenElse(hn::Gt(x, six), six, hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x));
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V y, V dy) const {
    return hn::IfThenZeroElse(hn::Or(hn::Le(y, hn::Zero(d)), hn::Ge(y, hn::Set(d, 6.0f))), dy);
  }
};

struct LeakyRelu {
  float slope;
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    return hn::IfThenElse(hn::Le(x, hn::Zero(d)), hn::Mul(x, hn::Set(d, slope)), x);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V saved, V dy) const {
    return hn::IfThenElse(hn::Le(saved, hn::Zero(d)), hn::Mul(dy, hn::Set(d, slope)), dy);
  }
};

constexpr float kSqrtHalf = 0.707106781f;

struct Gelu {
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    const V half = hn::Mul(x, hn::Set(d, 0.5f));
    return hn::MulAdd(half, Erf(d, hn::Mul(x, hn::Set(d, kSqrtHalf))), half);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V x, V dy) const {
    const V half = hn::Set(d, 0.5f);
    const V cdf = hn::MulAdd(half, Erf(d, hn::Mul(x, hn::Set(d, kSqrtHalf))), half);
    const V e = ExpOfNonPositive(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
    // x phi(x), phi(x) = e^(-x^2 / 2) / sqrt(2 pi)
    const V slope = hn::MulAdd(hn::Mul(x, e), hn::Set(d, 0.398942280f), cdf);
    return hn::Mul(dy, slope);
  }
};

// (1 + tanh u) / 2 is the sigmoid of 2u: no cancellation for negative x.
struct GeluTanh {
  static constexpr float kLinear = 1.59576912f;   // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.0713548163f;  // 2 sqrt(2 / pi) 0.044715
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    const V inner = hn::MulAdd(hn::Mul(x, x), hn::Set(d, kCubic), hn::Set(d, kLinear));
    return hn::Mul(x, Sigmoid(d, hn::Mul(x, inner)));
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V x, V dy) const {
    const V one = hn::Set(d, 1.0f);
    const V x2 = hn::Mul(x, x);
    const V inner = hn::MulAdd(x2, hn::Set(d, kCubic), hn::Set(d, kLinear));
    const V s = Sigmoid(d, hn::Mul(x, inner));
    // Bounded where s (1 - s) has long been 0, so that a large x^2 does not make a NaN of it.
    const V bounded = hn::Min(x2, hn::Set(d, 1e4f));
    const V inner_slope = hn::MulAdd(bounded, hn::Set(d, 3.0f * kCubic), hn::Set(d, kLinear));
    const V bell = hn::Mul(s, hn::Sub(one, s));
    return hn::Mul(dy, hn::MulAdd(hn::Mul(x, bell), inner_slope, s));
  }
};

struct Silu {
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    return hn::Mul(x, Sigmoid(d, x));
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V x, V dy) const {
    const V one = hn::Set(d, 1.0f);
    const V s = Sigmoid(d, x);
    return hn::Mul(dy, hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one)));
  }
};

struct SigmoidFunction {
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    return Sigmoid(d, x);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V y, V dy) const {
    return hn::Mul(dy, hn::Mul(y, hn::Sub(hn::Set(d, 1.0f), y)));
  }
};

struct TanhFunction {
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    return Tanh(d, x);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V y, V dy) const {
    return hn::Mul(dy, hn::NegMulAdd(y, y, hn::Set(d, 1.0f)));
  }
};

struct SoftplusFunction {
  float beta, inverse_beta, threshold;
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Forward(D d, V x) const {
    const V z = hn::Mul(x, hn::Set(d, beta));
    const V y = hn::Mul(Softplus(d, z), hn::Set(d, inverse_beta));
    return hn::IfThenElse(hn::Gt(z, hn::Set(d, threshold)), x, y);
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE V Backward(D d, V x, V dy) const {
    const V z = hn::Mul(x, hn::Set(d, beta));
    const V dx = hn::Mul(dy, Sigmoid(d, z));
    return hn::IfThenElse(hn::Gt(z, hn::Set(d, threshold)), dy, dx);
  }
};

// A streamed array is far away, and each vector of it takes so many instructions that the machine
// sees no more than a few lines ahead by itself: these are fetched 4 KB ahead. (Sapphire Rapids,
// one core, GELU of 100 MB: 20.3 ms; so fetched 16.5; and written past the caches 13.1.)
constexpr int64_t kAhead = 1024;
HWY_INLINE void PrefetchAhead(const float* from) { __builtin_prefetch(from + kAhead, 0, 2); }

template <class D, class V>
HWY_INLINE void StreamOne(D d, V v, float* to) {
  if constexpr (hn::MaxLanes(D()) > 1) {
    hn::Stream(v, d, to);
  } else {
    hn::StoreU(v, d, to);
  }
}

bool Aligned(const float* p) { return reinterpret_cast<uintptr_t>(p) % HWY_MAX_BYTES == 0; }

template <class Function>
void Forward(const Function& function, const float* x, float* y, int64_t n, bool stream) {
  if (stream && Aligned(y)) {
    ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
      PrefetchAhead(x + i);
      StreamOne(d, function.Forward(d, hn::LoadU(d, x + i)), y + i);
    });
    hwy::FlushStream();
    return;
  }
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(function.Forward(d, hn::LoadU(d, x + i)), d, y + i);
  });
}

template <class Function>
void Backward(const Function& function, const float* saved, const float* dy, float* dx, int64_t n,
              bool stream) {
  if (stream && Aligned(dx)) {
    ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
      PrefetchAhead(saved + i);
      PrefetchAhead(dy + i);
      const auto slope_from = hn::LoadU(d, saved + i);
      StreamOne(d, function.Backward(d, slope_from, hn::LoadU(d, dy + i)), dx + i);
    });
    hwy::FlushStream();
    return;
  }
  ForEachVector(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto slope_from = hn::LoadU(d, saved + i);
    hn::StoreU(function.Backward(d, slope_from, hn::LoadU(d, dy + i)), d, dx + i);
  });
}

// Calls use(function) with the function object of `spec`.
template <class Use>
void WithFunction(const ActivationSpec& spec, const Use& use) {
  switch (spec.kind) {
    case ActivationKind::kRelu:
      return use(Relu{});
    case ActivationKind::kRelu6:
      return use(Relu6{});
    case ActivationKind::kLeakyRelu:
      return use(LeakyRelu{spec.slope});
    case ActivationKind::kGelu:
      return use(Gelu{});
    case ActivationKind::kGeluTanh:
      return use(GeluTanh{});
    case ActivationKind::kSilu:
      return use(Silu{});
    case ActivationKind::kSigmoid:
      return use(SigmoidFunction{});
    case ActivationKind::kTanh:
      return use(TanhFunction{});
    case ActivationKind::kSoftplus:
      return use(SoftplusFunction{spec.beta, 1.0f / spec.beta, spec.threshold});
  }
}

void ActivationForwardTarget(const ActivationSpec& spec, const float* x, float* y, int64_t n,
                             bool stream) {
  WithFunction(spec, [&](const auto& function) { Forward(function, x, y, n, stream); });
}

void ActivationBackwardTarget(const ActivationSpec& spec, const float* saved, const float* dy,
                              float* dx, int64_t n, bool stream) {
  WithFunction(spec, [&](const auto& function) { Backward(function, saved, dy, dx, n, stream); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lockstep::inline v0_1::kernels {
namespace {
HWY_EXPORT(ActivationForwardTarget);
HWY_EXPORT(ActivationBackwardTarget);
}  // namespace

void ActivationForward(const ActivationSpec& spec, const float* x, float* y, int64_t n,
                       bool stream) {
  HWY_DYNAMIC_DISPATCH(ActivationForwardTarget)(spec, x, y, n, stream);
}

void ActivationBackward(const ActivationSpec& spec, const float* saved, const float* dy, float* dx,
                        int64_t n, bool stream) {
  HWY_DYNAMIC_DISPATCH(ActivationBackwardTarget)(spec, saved, dy, dx, n, stream);
}

}  // namespace lockstep::kernels
#endif  // HWY_ONCE
