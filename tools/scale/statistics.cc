#include "tools/scale/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace lockstep::inline v0_1::scale {
namespace {

// P(B(n, 1/2) < r). By logarithms: 2^-n is no double for large n.
double ShareBelow(int64_t n, int64_t r) {
  const auto logarithm = [&](int64_t k) {
    const auto size = static_cast<double>(n), taken = static_cast<double>(k);
    return std::lgamma(size + 1.0) - std::lgamma(taken + 1.0) - std::lgamma(size - taken + 1.0) -
           size * std::log(2.0);
  };
  double sum = 0.0;
  for (int64_t k = 0; k < r; ++k) sum += std::exp(logarithm(k));
  return sum;
}

double MedianOfSorted(const std::vector<double>& sorted) {
  if (sorted.empty()) return 0.0;
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
}

}  // namespace

int64_t IntervalRank(int64_t count) {
  int64_t rank = 1;
  while (rank + 1 <= (count + 1) / 2 && 1.0 - 2.0 * ShareBelow(count, rank + 1) >= 0.95) ++rank;
  return rank;
}

MedianInterval IntervalOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto count = static_cast<int64_t>(values.size());
  const int64_t rank = IntervalRank(count);
  return {.median = MedianOfSorted(values),
          .low = values[static_cast<size_t>(rank - 1)],
          .high = values[static_cast<size_t>(count - rank)],
          .confidence = std::max(0.0, 1.0 - 2.0 * ShareBelow(count, rank))};
}

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return MedianOfSorted(values);
}

}  // namespace lockstep::scale
