// LayerNorm and RMSNorm of one row as a plain scalar template: T is double, or std::complex<double>
// for derivatives by complex step.
#ifndef LOCKSTEP_TESTS_REFERENCE_ROW_NORM_H_
#define LOCKSTEP_TESTS_REFERENCE_ROW_NORM_H_

#include <cmath>
#include <complex>
#include <cstddef>
#include <vector>

namespace lockstep::inline v0_1::reference {

template <class T>
struct NormalizedRow {
  T mean;  // 0 for RMSNorm
  T inv_std;
  std::vector<T> y;
};

// gamma and beta of the row's length; centred: LayerNorm, otherwise RMSNorm.
template <class T>
NormalizedRow<T> RowNorm(const std::vector<T>& x, const std::vector<double>& gamma,
                         const std::vector<double>& beta, double eps, bool centred) {
  const auto n = static_cast<double>(x.size());
  T mean = 0.0, variance = 0.0;
  if (centred) {
    for (const T& v : x) mean += v / n;
  }
  for (const T& v : x) variance += (v - mean) * (v - mean) / n;
  NormalizedRow<T> out{mean, 1.0 / std::sqrt(variance + eps), {}};
  for (size_t c = 0; c < x.size(); ++c) {
    out.y.push_back((x[c] - mean) * out.inv_std * gamma[c] + beta[c]);
  }
  return out;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_ROW_NORM_H_
