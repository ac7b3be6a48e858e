// LSTM and GRU of one sample, as plain scalar templates: for reading and for checking.
// Formulas: engine/kernels/recurrent/recurrent_cell.h.
#ifndef LOCKSTEP_TESTS_REFERENCE_RECURRENT_H_
#define LOCKSTEP_TESTS_REFERENCE_RECURRENT_H_

#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lockstep::inline v0_1::reference {

template <class T>
struct RecurrentWeights {
  std::vector<T> ih{}, hh{};            // (G H, C), (G H, H)
  std::vector<T> bias_ih{}, bias_hh{};  // (G H), or empty
  std::vector<T> norm_ih_gamma{},
      norm_ih_beta{};  // (G H); empty without layer norm, as all of these
  std::vector<T> norm_hh_gamma{}, norm_hh_beta{};      // (G H)
  std::vector<T> norm_cell_gamma{}, norm_cell_beta{};  // (H), of an LSTM
};

template <class T>
T Sigmoid(T x) {
  return T(1.0) / (T(1.0) + std::exp(-x));
}

// W x, and bias where there is one.
template <class T>
std::vector<T> Project(const std::vector<T>& w, const std::vector<T>& x,
                       const std::vector<T>& bias) {
  std::vector<T> y(w.size() / x.size());
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = bias.empty() ? T(0.0) : bias[i];
    for (size_t k = 0; k < x.size(); ++k) y[i] += w[i * x.size() + k] * x[k];
  }
  return y;
}

template <class T>
std::vector<T> Normalized(const std::vector<T>& x, const std::vector<T>& gamma,
                          const std::vector<T>& beta, double eps) {
  T mean(0.0), square(0.0);
  const auto n = static_cast<double>(x.size());
  for (const T& v : x) mean += v / n;
  for (const T& v : x) square += (v - mean) * (v - mean) / n;
  std::vector<T> y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = gamma[i] * (x[i] - mean) / std::sqrt(square + eps) + beta[i];
  return y;
}

// y (T, H) of x (T, C); segments (T), or empty: one text.
template <class T>
std::vector<T> Recurrent(bool lstm, bool reverse, size_t hidden, const std::vector<T>& x,
                         const RecurrentWeights<T>& w, const std::vector<int32_t>& segments,
                         double eps = 1e-5) {
  const size_t in = w.ih.size() / (w.hh.size() / hidden), steps = x.size() / in;
  std::vector<T> y(steps * hidden), h(hidden), c(hidden);
  int32_t text = -1;
  for (size_t visit = 0; visit < steps; ++visit) {
    const size_t t = reverse ? steps - 1 - visit : visit;
    const int32_t segment = segments.empty() ? 0 : segments[t];
    if (segment < 0) continue;
    if (segment != text) h.assign(hidden, T(0.0)), c.assign(hidden, T(0.0));
    text = segment;
    const auto place = x.begin() + static_cast<int64_t>(t * in);
    std::vector<T> a =
        Project(w.ih, std::vector<T>(place, place + static_cast<int64_t>(in)), w.bias_ih);
    std::vector<T> b = Project(w.hh, h, w.bias_hh);
    if (!w.norm_ih_gamma.empty()) {
      a = Normalized(a, w.norm_ih_gamma, w.norm_ih_beta, eps);
      b = Normalized(b, w.norm_hh_gamma, w.norm_hh_beta, eps);
    }
    if (lstm) {
      for (size_t j = 0; j < hidden; ++j) {
        const auto sum = [&](size_t gate) { return a[gate * hidden + j] + b[gate * hidden + j]; };
        c[j] = Sigmoid(sum(1)) * c[j] + Sigmoid(sum(0)) * std::tanh(sum(2));
      }
      const std::vector<T> m =
          w.norm_cell_gamma.empty() ? c : Normalized(c, w.norm_cell_gamma, w.norm_cell_beta, eps);
      for (size_t j = 0; j < hidden; ++j)
        h[j] = Sigmoid(a[3 * hidden + j] + b[3 * hidden + j]) * std::tanh(m[j]);
    } else {
      for (size_t j = 0; j < hidden; ++j) {
        const size_t z = hidden + j, n = 2 * hidden + j;
        const T next = std::tanh(a[n] + Sigmoid(a[j] + b[j]) * b[n]);
        const T keep = Sigmoid(a[z] + b[z]);
        h[j] = (T(1.0) - keep) * next + keep * h[j];
      }
    }
    for (size_t j = 0; j < hidden; ++j) y[t * hidden + j] = h[j];
  }
  return y;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_RECURRENT_H_
