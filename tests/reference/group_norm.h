// GroupNorm of one sample, channels last, as a plain scalar template: T is double, or
// std::complex<double> for derivatives by complex step.
#ifndef LOCKSTEP_TESTS_REFERENCE_GROUP_NORM_H_
#define LOCKSTEP_TESTS_REFERENCE_GROUP_NORM_H_

#include <cmath>
#include <complex>
#include <cstddef>
#include <vector>

namespace lockstep::inline v0_1::reference {

// x (positions, channels); gamma, beta (channels). Returns y.
template <class T>
std::vector<T> GroupNorm(const std::vector<T>& x, size_t channels, size_t groups,
                         const std::vector<double>& gamma, const std::vector<double>& beta,
                         double eps) {
  const size_t positions = x.size() / channels, width = channels / groups;
  const auto count = static_cast<double>(positions * width);
  std::vector<T> y(x.size());
  for (size_t g = 0; g < groups; ++g) {
    T mean = 0.0, variance = 0.0;
    for (size_t p = 0; p < positions; ++p) {
      for (size_t c = g * width; c < (g + 1) * width; ++c) mean += x[p * channels + c] / count;
    }
    for (size_t p = 0; p < positions; ++p) {
      for (size_t c = g * width; c < (g + 1) * width; ++c) {
        const T d = x[p * channels + c] - mean;
        variance += d * d / count;
      }
    }
    const T inv_std = 1.0 / std::sqrt(variance + eps);
    for (size_t p = 0; p < positions; ++p) {
      for (size_t c = g * width; c < (g + 1) * width; ++c) {
        y[p * channels + c] = (x[p * channels + c] - mean) * inv_std * gamma[c] + beta[c];
      }
    }
  }
  return y;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_GROUP_NORM_H_
