// Batch normalisation once more, as plain scalar code, for reading and for checking. T is float,
// double, or std::complex<double> (complex-step derivatives: ReLU branches on the real part).
#ifndef LOCKSTEP_TESTS_REFERENCE_BATCH_NORM_H_
#define LOCKSTEP_TESTS_REFERENCE_BATCH_NORM_H_

#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::inline v0_1::reference {

template <class T>
struct BatchNormResult {
  std::vector<T> mean, variance, inv_std;  // (C); the variance is biased
  std::vector<T> y;                        // (R, C)
};

// Two passes over each column.
template <class T, class X>
void BatchMoments(const X* x, int64_t rows, int64_t channels, BatchNormResult<T>& result) {
  result.mean.assign(static_cast<size_t>(channels), T(0));
  result.variance.assign(static_cast<size_t>(channels), T(0));
  for (int64_t c = 0; c < channels; ++c) {
    T& mean = result.mean[static_cast<size_t>(c)];
    T& variance = result.variance[static_cast<size_t>(c)];
    for (int64_t r = 0; r < rows; ++r) mean += T(x[r * channels + c]);
    mean /= T(static_cast<double>(rows));
    for (int64_t r = 0; r < rows; ++r) {
      const T d = T(x[r * channels + c]) - mean;
      variance += d * d;
    }
    variance /= T(static_cast<double>(rows));
  }
}

// x, add (or null), y: (rows, channels); gamma, beta: (channels), or null.
template <class T, class X>
BatchNormResult<T> BatchNorm(const X* x, const X* add, const X* gamma, const X* beta, int64_t rows,
                             int64_t channels, double eps, bool relu) {
  BatchNormResult<T> result;
  BatchMoments(x, rows, channels, result);
  for (const T& variance : result.variance) {
    result.inv_std.push_back(T(1) / std::sqrt(variance + T(eps)));
  }
  result.y.resize(static_cast<size_t>(rows * channels));
  for (int64_t i = 0; i < rows * channels; ++i) {
    const auto c = static_cast<size_t>(i % channels);
    T v = (T(x[i]) - result.mean[c]) * result.inv_std[c];
    if (gamma != nullptr) v *= T(gamma[c]);
    if (beta != nullptr) v += T(beta[c]);
    if (add != nullptr) v += T(add[i]);
    result.y[static_cast<size_t>(i)] = relu && std::real(v) <= 0 ? T(0) : v;
  }
  return result;
}

template <class T>
struct BatchNormGradient {
  std::vector<T> dx, dz;         // (R, C); dz is also the gradient of add
  std::vector<T> dgamma, dbeta;  // (C)
};

// Everything by the formulas of engine/kernels/norm/normalize.h; `passed` says where ReLU let v
// through (null: there is no ReLU). mean and inv_std: (channels).
template <class T, class X>
BatchNormGradient<T> BatchNormBackward(const X* x, const bool* passed, const X* dy, const T* mean,
                                       const T* inv_std, const X* gamma, int64_t rows,
                                       int64_t channels, bool training) {
  BatchNormGradient<T> result;
  result.dgamma.assign(static_cast<size_t>(channels), T(0));
  result.dbeta.assign(static_cast<size_t>(channels), T(0));
  result.dz.resize(static_cast<size_t>(rows * channels));
  result.dx.resize(static_cast<size_t>(rows * channels));
  const auto xhat = [&](int64_t i) {
    return (T(x[i]) - mean[i % channels]) * inv_std[i % channels];
  };
  for (int64_t i = 0; i < rows * channels; ++i) {
    const auto c = static_cast<size_t>(i % channels);
    const T dz = passed == nullptr || passed[i] ? T(dy[i]) : T(0);
    result.dz[static_cast<size_t>(i)] = dz;
    result.dbeta[c] += dz;
    result.dgamma[c] += dz * xhat(i);
  }
  const T count(static_cast<double>(rows));
  for (int64_t i = 0; i < rows * channels; ++i) {
    const auto c = static_cast<size_t>(i % channels);
    T d = result.dz[static_cast<size_t>(i)];
    if (training) d -= result.dbeta[c] / count + xhat(i) * result.dgamma[c] / count;
    result.dx[static_cast<size_t>(i)] = (gamma == nullptr ? T(1) : T(gamma[c])) * inv_std[c] * d;
  }
  return result;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_BATCH_NORM_H_
