// Softmax and cross entropy as plain scalar templates: T is double, or std::complex<double> for
// derivatives by complex step.
#ifndef LOCKSTEP_TESTS_REFERENCE_SOFTMAX_H_
#define LOCKSTEP_TESTS_REFERENCE_SOFTMAX_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::inline v0_1::reference {

// log softmax of one row.
template <class T>
std::vector<T> LogSoftmax(const std::vector<T>& x) {
  double max = std::real(x[0]);
  for (const T& v : x) max = std::max(max, std::real(v));
  T sum = 0.0;
  for (const T& v : x) sum += std::exp(v - max);
  std::vector<T> log_p;
  for (const T& v : x) log_p.push_back(v - max - std::log(sum));
  return log_p;
}

// The loss of one row, not ignored; w: class weights.
template <class T>
T CrossEntropyRow(const std::vector<T>& x, size_t target, const std::vector<double>& w,
                  double smoothing) {
  const std::vector<T> log_p = LogSoftmax(x);
  T smooth = 0.0;
  for (size_t c = 0; c < x.size(); ++c) smooth -= w[c] * log_p[c];
  return -(1.0 - smoothing) * w[target] * log_p[target] +
         smooth * smoothing / static_cast<double>(x.size());
}

// The loss of one row whose target is a row of probabilities t.
template <class T>
T SoftCrossEntropyRow(const std::vector<T>& x, const std::vector<double>& t,
                      const std::vector<double>& w, double smoothing) {
  const std::vector<T> log_p = LogSoftmax(x);
  T loss = 0.0;
  for (size_t c = 0; c < x.size(); ++c) {
    const double smoothed = (1.0 - smoothing) * t[c] + smoothing / static_cast<double>(x.size());
    loss -= w[c] * smoothed * log_p[c];
  }
  return loss;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_SOFTMAX_H_
