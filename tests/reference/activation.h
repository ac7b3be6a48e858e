// Activations as plain scalar templates: T is double, long double, or std::complex<double> for
// derivatives by complex step. Kinks branch on the real part.
#ifndef LOCKSTEP_TESTS_REFERENCE_ACTIVATION_H_
#define LOCKSTEP_TESTS_REFERENCE_ACTIVATION_H_

#include <cmath>
#include <complex>

#include "engine/kernels/elementwise/activation.h"

namespace lockstep::inline v0_1::reference {

// The library has no complex erf. One Taylor step off the real axis is exact for a complex step of
// 1e-50.
inline double Erf(double x) { return std::erf(x); }
inline std::complex<double> Erf(std::complex<double> x) {
  const double slope = 2.0 / std::sqrt(std::acos(-1.0)) * std::exp(-x.real() * x.real());
  return {std::erf(x.real()), slope * x.imag()};
}

template <class T>
T Activate(const kernels::ActivationSpec& spec, T x) {
  using kernels::ActivationKind;
  const double re = std::real(x);
  const double pi = std::acos(-1.0);
  switch (spec.kind) {
    case ActivationKind::kRelu:
      return re > 0.0 ? x : T(0.0);
    case ActivationKind::kRelu6:
      return re >= 6.0 ? T(6.0) : re > 0.0 ? x : T(0.0);
    case ActivationKind::kLeakyRelu:
      return re > 0.0 ? x : static_cast<double>(spec.slope) * x;
    case ActivationKind::kGelu:
      return 0.5 * x * (1.0 + Erf(x * std::sqrt(0.5)));
    case ActivationKind::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kSilu:
      return x / (1.0 + std::exp(-x));
    case ActivationKind::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case ActivationKind::kTanh:
      return std::tanh(x);
    case ActivationKind::kSoftplus: {
      const double beta = static_cast<double>(spec.beta);
      if (re * beta > static_cast<double>(spec.threshold)) return x;
      return std::log(1.0 + std::exp(beta * x)) / beta;
    }
  }
  return x;
}

// dy/dx by complex step: Im f(x + ih) / h, without cancellation.
inline double ActivationSlope(const kernels::ActivationSpec& spec, double x) {
  const double h = 1e-50;
  return Activate(spec, std::complex<double>(x, h)).imag() / h;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_ACTIVATION_H_
