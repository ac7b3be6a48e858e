// Elementary functions of SIMD vectors of float. Included by kernel sources, once per target.
//
// Highway has such functions too, but their bits change between its versions. Here every rounding
// is written out: targets with fused multiply-add give the same bits, lane by lane, for any vector
// length. Errors against the exact value, measured over dense ranges in math_test.cc with FMA:
//
//   Exp 1 ulp, Log 1, Log1p 1.5, Softplus 2, Tanh 2.5, Sigmoid 2.5, Erf 4
//
// NaN gives NaN; +-inf give the limits; results below the smallest normal float are 0 or that of
// the neighbourhood, because the engine flushes denormals. The polynomials were fitted for these
// ranges (Lawson's iteration, coefficients rounded one after the other, lowest first). Those of exp
// and ln are evaluated by Estrin's scheme, whose chains are shorter; erf has two chains anyway and
// loses a third of an ulp by it.
#if defined(LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_MATH_INL_H_
#undef LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_MATH_INL_H_
#else
#define LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_MATH_INL_H_
#endif

#include <cstdint>

#include "engine/kernels/targets.h"
// After targets.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// x = n ln 2 + r, |r| <= ln 2 / 2: n as integer lanes shifted into the exponent's place, and
// e^r - 1. Meaningless for |x| beyond 2^20; a NaN stays a NaN in expm1_r.
template <class D>
struct ExpParts {
  hn::Vec<D> expm1_r;
  hn::Vec<hn::RebindToSigned<D>> exponent;
};

template <class D>
HWY_INLINE ExpParts<D> SplitExp(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const auto magic = hn::Set(d, 12582912.0f);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const auto n = hn::Sub(shifted, magic);
  // ln 2 in two parts; n times the first is exact, so this is right without FMA too.
  auto r = hn::MulAdd(n, hn::Set(d, -0.693359375f), x);
  r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
  const auto r2 = hn::Mul(r, r);
  const auto p01 = hn::MulAdd(r, hn::Set(d, 0.166665211f), hn::Set(d, 0.49999994f));
  auto p24 = hn::MulAdd(r, hn::Set(d, 0.00836867746f), hn::Set(d, 0.0416682698f));
  p24 = hn::MulAdd(r2, hn::Set(d, 0.00138204091f), p24);
  const auto p = hn::MulAdd(r2, p24, p01);
  return {hn::MulAdd(r2, p, r), hn::ShiftLeft<23>(hn::BitCast(di, shifted))};
}

// The exponent lanes as 2^n, for n in [-126, 127].
template <class D>
HWY_INLINE hn::Vec<D> PowerOfTwo(D d, hn::Vec<hn::RebindToSigned<D>> exponent) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::Add(exponent, hn::BitCast(di, hn::Set(d, 1.0f))));
}

constexpr float kSmallestExp = -87.3365402f;  // below it e^x is denormal
constexpr float kLargestExp = 88.7228317f;    // above it e^x is beyond the largest float

// e^x
template <class D>
HWY_INLINE hn::Vec<D> Exp(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  const auto parts = SplitExp(d, x);
  const auto e = hn::Add(parts.expm1_r, hn::Set(d, 1.0f));
  // Added to the exponent rather than multiplied: 2^128 is no float, but e^x may lie just below.
  const auto scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, e), parts.exponent));
  // x + inf is inf for large x and a NaN for a NaN.
  const auto infinity = hn::BitCast(d, hn::Set(di, 0x7F800000));
  const auto above =
      hn::IfThenElse(hn::Le(x, hn::Set(d, kLargestExp)), scaled, hn::Add(x, infinity));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kSmallestExp)), above);
}

// e^x for x <= 0 (or NaN), two operations shorter.
template <class D>
HWY_INLINE hn::Vec<D> ExpOfNonPositive(D d, hn::Vec<D> x) {
  const auto parts = SplitExp(d, x);
  const auto e = hn::Add(parts.expm1_r, hn::Set(d, 1.0f));
  const auto scaled = hn::Mul(e, PowerOfTwo(d, parts.exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kSmallestExp)), scaled);
}

// ln(1 + f) + e ln 2 for f in [sqrt 1/2 - 1, sqrt 2 - 1] and small integers e.
template <class D>
HWY_INLINE hn::Vec<D> LogOfParts(D d, hn::Vec<D> f, hn::Vec<D> e) {
  const auto f2 = hn::Mul(f, f);
  const auto f4 = hn::Mul(f2, f2);
  const auto p01 = hn::MulAdd(f, hn::Set(d, -0.250000089f), hn::Set(d, 0.333333135f));
  const auto p23 = hn::MulAdd(f, hn::Set(d, -0.166679993f), hn::Set(d, 0.200020745f));
  const auto p45 = hn::MulAdd(f, hn::Set(d, -0.124059126f), hn::Set(d, 0.142202795f));
  const auto p67 = hn::MulAdd(f, hn::Set(d, -0.116725259f), hn::Set(d, 0.118838929f));
  auto p48 = hn::MulAdd(f2, p67, p45);
  p48 = hn::MulAdd(f4, hn::Set(d, 0.0675154179f), p48);
  const auto p = hn::MulAdd(f4, p48, hn::MulAdd(f2, p23, p01));
  // From the smallest term to the largest: f^3 p, the rest of e ln 2, -f^2 / 2, f, most of e ln 2.
  auto sum = hn::Mul(hn::Mul(f2, f), p);
  sum = hn::MulAdd(e, hn::Set(d, -2.12194440e-4f), sum);
  sum = hn::MulAdd(f2, hn::Set(d, -0.5f), sum);
  sum = hn::Add(f, sum);
  return hn::MulAdd(e, hn::Set(d, 0.693359375f), sum);
}

// The exponent e of positive normal x as integer lanes, so that x / 2^e is in [sqrt 1/2, sqrt 2).
template <class D>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> NearestExponent(D, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  constexpr int32_t kSqrtHalf = 0x3F3504F3;
  return hn::ShiftRight<23>(hn::Sub(hn::BitCast(di, x), hn::Set(di, kSqrtHalf)));
}

// ln x; -inf for 0 and denormals of either sign, NaN for other x < 0.
template <class D>
HWY_INLINE hn::Vec<D> Log(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  const auto e = NearestExponent(d, x);
  const auto m = hn::BitCast(d, hn::Sub(hn::BitCast(di, x), hn::ShiftLeft<23>(e)));
  const auto log = LogOfParts(d, hn::Sub(m, hn::Set(d, 1.0f)), hn::ConvertTo(d, e));
  const auto infinity = hn::BitCast(d, hn::Set(di, 0x7F800000));
  const auto tiny = hn::Set(d, 1.17549435e-38f);
  const auto finite = hn::IfThenElse(hn::Lt(x, infinity), log, hn::Add(x, infinity));
  const auto nonnegative = hn::IfThenElse(hn::Lt(x, tiny), hn::Neg(infinity), finite);
  const auto nan = hn::BitCast(d, hn::Set(di, 0x7FC00000));
  return hn::IfThenElse(hn::Le(x, hn::Neg(tiny)), nan, nonnegative);
}

// ln(1 + u) for u in [0, 1] (or NaN).
template <class D>
HWY_INLINE hn::Vec<D> Log1pOfUnit(D d, hn::Vec<D> u) {
  const auto half = hn::Set(d, 0.5f);
  const auto upper = hn::Gt(u, hn::Set(d, 0.414213562f));
  const auto f = hn::IfThenElse(upper, hn::MulAdd(u, half, hn::Neg(half)), u);
  return LogOfParts(d, f, hn::IfThenElseZero(upper, hn::Set(d, 1.0f)));
}

// ln(1 + u); -inf for -1, NaN below.
template <class D>
HWY_INLINE hn::Vec<D> Log1p(D d, hn::Vec<D> u) {
  const hn::RebindToSigned<D> di;
  const auto one = hn::Set(d, 1.0f);
  const auto s = hn::Add(u, one);
  const auto e = NearestExponent(d, s);
  // f = (1 + u) / 2^e - 1 with one rounding, from u itself: s has lost the low bits of small u.
  const auto scale = hn::BitCast(d, hn::Sub(hn::BitCast(di, one), hn::ShiftLeft<23>(e)));
  const auto f = hn::MulAdd(u, scale, hn::Sub(scale, one));
  const auto log = LogOfParts(d, f, hn::ConvertTo(d, e));
  // Above 2^25 the one does not matter (and `scale` may be denormal); outside (-1, inf) ln knows.
  const auto inside = hn::And(hn::Gt(u, hn::Set(d, -1.0f)), hn::Lt(u, hn::Set(d, 33554432.0f)));
  return hn::IfThenElse(inside, log, Log(d, s));
}

// tanh x = (e^2|x| - 1) / (e^2|x| + 1) with the sign of x
template <class D>
HWY_INLINE hn::Vec<D> Tanh(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const auto magnitude = hn::Abs(x);
  const auto parts = SplitExp(d, hn::Add(magnitude, magnitude));
  const auto power = PowerOfTwo(d, parts.exponent);
  const auto expm1 = hn::MulAdd(power, parts.expm1_r, hn::Sub(power, one));
  const auto tanh = hn::Div(expm1, hn::Add(expm1, hn::Set(d, 2.0f)));
  // From here on the nearest float is 1, and further on 2^n leaves its range.
  const auto saturated = hn::Gt(magnitude, hn::Set(d, 9.01091385f));
  return hn::CopySign(hn::IfThenElse(saturated, one, tanh), x);
}

// 1 / (1 + e^-x)
template <class D>
HWY_INLINE hn::Vec<D> Sigmoid(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const auto e = ExpOfNonPositive(d, hn::Neg(hn::Abs(x)));
  const auto negative = hn::Lt(x, hn::Zero(d));
  return hn::Div(hn::IfThenElse(negative, e, one), hn::Add(e, one));
}

// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
template <class D>
HWY_INLINE hn::Vec<D> Softplus(D d, hn::Vec<D> x) {
  const auto e = ExpOfNonPositive(d, hn::Neg(hn::Abs(x)));
  return hn::Add(hn::Max(x, hn::Zero(d)), Log1pOfUnit(d, e));
}

// erf x = x P(x^2) / Q(x^2); all coefficients are positive, so nothing cancels.
template <class D>
HWY_INLINE hn::Vec<D> Erf(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  // Beyond 3.85, where erf is within 1 ulp of 1, the quotient stays and the result passes 1.
  const auto z = hn::Min(hn::Mul(x, x), hn::Set(d, 3.85f * 3.85f));
  auto p = hn::MulAdd(z, hn::Set(d, 1.31318575e-06f), hn::Set(d, 0.000177639929f));
  p = hn::MulAdd(z, p, hn::Set(d, 0.0022800935f));
  p = hn::MulAdd(z, p, hn::Set(d, 0.0326404236f));
  p = hn::MulAdd(z, p, hn::Set(d, 0.116787605f));
  p = hn::MulAdd(z, p, hn::Set(d, 0.702223003f));
  auto q = hn::MulAdd(z, hn::Set(d, 2.41082071e-05f), hn::Set(d, 0.00071134133f));
  q = hn::MulAdd(z, q, hn::Set(d, 0.00918854307f));
  q = hn::MulAdd(z, q, hn::Set(d, 0.0703429505f));
  q = hn::MulAdd(z, q, hn::Set(d, 0.310943067f));
  q = hn::MulAdd(z, q, hn::Set(d, 0.622328937f));
  const auto erf = hn::Div(hn::Mul(x, p), q);
  return hn::IfThenElse(hn::Ge(hn::Abs(erf), one), hn::CopySign(one, x), erf);
}

}  // namespace lockstep::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ENGINE_KERNELS_ELEMENTWISE_MATH_INL_H_
