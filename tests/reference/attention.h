// Scaled dot-product attention of one head as a plain scalar template: T is double, or
// std::complex<double> for derivatives by complex step.
#ifndef LOCKSTEP_TESTS_REFERENCE_ATTENTION_H_
#define LOCKSTEP_TESTS_REFERENCE_ATTENTION_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

namespace lockstep::inline v0_1::reference {

struct AttentionRules {
  double scale = 1.0;
  std::function<bool(size_t i, size_t j)> sees = [](size_t, size_t) { return true; };
  std::function<double(size_t i, size_t j)> keep = [](size_t, size_t) { return 1.0; };
};

template <class T>
struct AttentionRow {
  std::vector<T> y;  // (head_size)
  T log_sum;         // of no key: -inf
  std::vector<T> p;  // (keys): 0 where nothing is seen
};

// Row i. q (queries, head_size), k and v (keys, head_size).
template <class T>
AttentionRow<T> AttendRow(const std::vector<T>& q, const std::vector<T>& k, const std::vector<T>& v,
                          size_t head_size, const AttentionRules& rules, size_t i) {
  const size_t keys = k.size() / head_size;
  std::vector<T> s(keys, T(0.0));
  double max = -std::numeric_limits<double>::infinity();
  for (size_t j = 0; j < keys; ++j) {
    if (!rules.sees(i, j)) continue;
    for (size_t c = 0; c < head_size; ++c) s[j] += q[i * head_size + c] * k[j * head_size + c];
    s[j] *= rules.scale;
    max = std::max(max, std::real(s[j]));
  }
  AttentionRow<T> row{std::vector<T>(head_size, T(0.0)), T(max), std::vector<T>(keys, T(0.0))};
  T sum = 0.0;
  for (size_t j = 0; j < keys; ++j) {
    if (rules.sees(i, j)) sum += row.p[j] = std::exp(s[j] - max);
  }
  if (sum == T(0.0)) return row;
  row.log_sum = max + std::log(sum);
  for (size_t j = 0; j < keys; ++j) {
    if (!rules.sees(i, j)) continue;
    row.p[j] /= sum;
    for (size_t c = 0; c < head_size; ++c) {
      row.y[c] += rules.keep(i, j) * row.p[j] * v[j * head_size + c];
    }
  }
  return row;
}

template <class T>
struct AttentionGradient {
  std::vector<T> dq, dk, dv;
};

// The gradients of sum(dy y).
template <class T>
AttentionGradient<T> AttentionBackward(const std::vector<T>& q, const std::vector<T>& k,
                                       const std::vector<T>& v, const std::vector<T>& dy,
                                       size_t head_size, const AttentionRules& rules) {
  const size_t n = head_size, queries = q.size() / n, keys = k.size() / n;
  AttentionGradient<T> g{std::vector<T>(q.size(), T(0.0)), std::vector<T>(k.size(), T(0.0)),
                         std::vector<T>(v.size(), T(0.0))};
  for (size_t i = 0; i < queries; ++i) {
    const AttentionRow<T> row = AttendRow(q, k, v, n, rules, i);
    T d = 0.0;
    for (size_t c = 0; c < n; ++c) d += dy[i * n + c] * row.y[c];
    for (size_t j = 0; j < keys; ++j) {
      if (!rules.sees(i, j)) continue;
      const double keep = rules.keep(i, j);
      T dp = 0.0;
      for (size_t c = 0; c < n; ++c) dp += keep * dy[i * n + c] * v[j * n + c];
      const T ds = row.p[j] * (dp - d);
      for (size_t c = 0; c < n; ++c) {
        g.dq[i * n + c] += rules.scale * ds * k[j * n + c];
        g.dk[j * n + c] += rules.scale * ds * q[i * n + c];
        g.dv[j * n + c] += keep * row.p[j] * dy[i * n + c];
      }
    }
  }
  return g;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_ATTENTION_H_
