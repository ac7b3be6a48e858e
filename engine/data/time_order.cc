#include "engine/data/time_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

Result<std::vector<std::vector<int64_t>>> CutByTime(std::span<const double> times,
                                                    std::span<const int64_t> sizes) {
  const auto n = static_cast<int64_t>(times.size()), blocks = static_cast<int64_t>(sizes.size());
  LOCKSTEP_CHECK_EQ(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}), n);
  const auto time = [&](int64_t sample) { return times[static_cast<size_t>(sample)]; };
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(time(i)))
      return Status::Invalid("sample " + std::to_string(i) + " has no time to order it by");
  }
  std::vector<int64_t> order(times.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return time(a) < time(b); });
  std::vector<int64_t> moments;  // where each begins in `order`
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    if (i == 0 || time(order[at - 1]) < time(order[at])) moments.push_back(i);
  }
  const auto count = static_cast<int64_t>(moments.size());
  if (count < blocks) {
    return Status::Invalid(std::to_string(count) + " different times are too few for " +
                           std::to_string(blocks) + " parts one after another");
  }

  std::vector<std::vector<int64_t>> cut;
  int64_t wanted = 0, moment = 0;  // where the block ends, as wished; the moment it begins with
  for (int64_t block = 0; block < blocks; ++block) {
    wanted += sizes[static_cast<size_t>(block)];
    int64_t next = count;
    if (block + 1 < blocks) {
      next = std::lower_bound(moments.begin(), moments.end(), wanted) - moments.begin();
      const auto distance = [&](int64_t m) {
        return std::abs(moments[static_cast<size_t>(m)] - wanted);
      };
      if (next == count || (next > 0 && distance(next - 1) <= distance(next))) --next;
      next = std::clamp(next, moment + 1, count - (blocks - 1 - block));
    }
    const int64_t begin = moments[static_cast<size_t>(moment)];
    const int64_t end = next == count ? n : moments[static_cast<size_t>(next)];
    cut.emplace_back(order.begin() + begin, order.begin() + end);
    moment = next;
  }
  return cut;
}

}  // namespace lockstep
