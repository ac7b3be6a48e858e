#include "engine/train/assess/interval.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/random.h"

namespace lockstep::inline v0_1 {

Interval ShareInterval(double part, double whole) {
  LOCKSTEP_CHECK(part >= 0.0 && part <= whole && whole > 0.0, "a share");
  constexpr double kZ = 1.959963984540054;
  const double n = whole, share = part / n;
  const double shrink = 1.0 / (1.0 + kZ * kZ / n);
  const double centre = shrink * (share + kZ * kZ / (2.0 * n));
  const double half = shrink * kZ * std::sqrt(share * (1.0 - share) / n + kZ * kZ / (4.0 * n * n));
  // The ends of what is possible exactly, whatever rounding.
  return {.low = part == 0.0 ? 0.0 : std::max(0.0, centre - half),
          .high = part == whole ? 1.0 : std::min(1.0, centre + half)};
}

double Quantile(std::vector<double> values, double q) {
  LOCKSTEP_CHECK(!values.empty() && q >= 0.0 && q <= 1.0, "a quantile");
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), at, values.end());
  const double low = *at;
  if (below + 1 == values.size()) return low;
  const double high = *std::min_element(at + 1, values.end());
  return low + (place - static_cast<double>(below)) * (high - low);
}

std::vector<std::optional<Interval>> Bootstrap(int64_t samples, size_t values,
                                               const Measure& measure, int64_t draws,
                                               uint64_t seed) {
  std::vector<std::optional<Interval>> intervals(values);
  if (samples < 2) return intervals;
  const auto size = static_cast<size_t>(samples);
  std::vector<double> weights(size);
  std::vector<double> measured(values);
  std::vector<std::vector<double>> all(values);
  for (int64_t draw = 0; draw < draws; ++draw) {
    Random random(seed, StreamOf("bootstrap") + static_cast<uint64_t>(draw));
    std::fill(weights.begin(), weights.end(), 0.0);
    for (size_t i = 0; i < size; ++i) weights[random.Below(size)] += 1.0;
    measure(weights, measured);
    for (size_t v = 0; v < values; ++v) {
      if (std::isfinite(measured[v])) all[v].push_back(measured[v]);
    }
  }
  for (size_t v = 0; v < values; ++v) {
    if (10 * static_cast<int64_t>(all[v].size()) <= 9 * draws) continue;
    intervals[v] = Interval{.low = Quantile(all[v], 0.025), .high = Quantile(all[v], 0.975)};
  }
  return intervals;
}

}  // namespace lockstep
