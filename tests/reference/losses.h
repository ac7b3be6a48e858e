// Losses of one element as plain scalar templates: T is double, or std::complex<double> for
// derivatives by complex step. Kinks branch on the real part.
#ifndef LOCKSTEP_TESTS_REFERENCE_LOSSES_H_
#define LOCKSTEP_TESTS_REFERENCE_LOSSES_H_

#include <cmath>
#include <complex>

namespace lockstep::inline v0_1::reference {

// ln(1 + e^-x)
template <class T>
T SoftplusOfNegative(T x) {
  return std::real(x) > 0.0 ? std::log(1.0 + std::exp(-x)) : std::log(1.0 + std::exp(x)) - x;
}

template <class T>
T BceWithLogits(T x, double t, double weight, double pos_weight) {
  return weight * ((1.0 - t) * x + (1.0 + (pos_weight - 1.0) * t) * SoftplusOfNegative(x));
}

template <class T>
T SquaredError(T x, double t) {
  return (x - t) * (x - t);
}

template <class T>
T Huber(T x, double t, double delta) {
  const T e = x - t;
  if (std::abs(std::real(e)) <= delta) return 0.5 * e * e;
  return delta * ((std::real(e) < 0.0 ? -e : e) - 0.5 * delta);
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_LOSSES_H_
