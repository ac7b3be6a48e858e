// Elementary functions that give the same bits on every machine, for built-in data. The C library's
// own differ in their last bit from one library and processor to the next. These use only exactly
// rounded operations (+ - * / and powers of two), in a fixed order.
#ifndef LOCKSTEP_ENGINE_BASE_PORTABLE_MATH_H_
#define LOCKSTEP_ENGINE_BASE_PORTABLE_MATH_H_

#include <cmath>

namespace lockstep::inline v0_1::portable {

// The nearest whole number; half rounds up.
inline double Round(double x) { return std::floor(x + 0.5); }
// x rounded to a multiple of 1 / steps_per_unit.
inline double RoundTo(double x, double steps_per_unit) {
  return Round(x * steps_per_unit) / steps_per_unit;
}

// e^x for |x| < 700, relative error below 1e-15: e^x = 2^k e^r, |r| <= ln(2) / 2, Taylor to r^15.
inline double Exp(double x) {
  const double k = Round(x * 1.4426950408889634);
  // ln 2 in two parts: k times the first, which has trailing zeros, is exact.
  const double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
  double sum = 1.0;
  for (int n = 15; n >= 1; --n) sum = sum * r / n + 1.0;
  return std::ldexp(sum, static_cast<int>(k));
}

// ln x for normal x > 0, absolute error below 1e-15 near 1: 2 atanh((m - 1) / (m + 1)) + e ln 2.
inline double Log(double x) {
  int exponent;
  double m = std::frexp(x, &exponent);
  if (m < 0.70710678118654752) {
    m *= 2.0;
    --exponent;
  }
  const double t = (m - 1.0) / (m + 1.0);
  double sum = 0.0;
  for (int n = 23; n >= 1; n -= 2) sum = sum * (t * t) + 1.0 / n;
  return 2.0 * t * sum + exponent * 0.69314718055994531;
}

// 1 / (1 + e^-x) for |x| < 700.
inline double Sigmoid(double x) { return 1.0 / (1.0 + Exp(-x)); }

struct SinCos {
  double sin, cos;
};

// Of an angle in turns (1 = a full circle), error below 1e-15: Taylor on an eighth of a circle.
inline SinCos Turn(double turns) {
  const double quarters = turns * 4.0;
  const double whole = Round(quarters);
  const double r = (quarters - whole) * 1.5707963267948966;
  double sin = 1.0, cos = 1.0;
  for (int n = 16; n >= 2; n -= 2) {
    cos = 1.0 - cos * (r * r) / (n * (n - 1));
    sin = 1.0 - sin * (r * r) / (n * (n + 1));
  }
  sin *= r;
  switch (static_cast<int>(whole - 4.0 * std::floor(whole / 4.0))) {
    case 0:
      return {sin, cos};
    case 1:
      return {cos, -sin};
    case 2:
      return {-sin, -cos};
    default:
      return {-cos, sin};
  }
}

}  // namespace lockstep::portable

#endif  // LOCKSTEP_ENGINE_BASE_PORTABLE_MATH_H_
