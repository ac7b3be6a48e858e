#include "tools/command/rank_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace lockstep::inline v0_1::tools {

double WaitedShare(const std::vector<RankTime>& ranks) {
  double waited = 0.0, all = 0.0;
  for (const RankTime& one : ranks) {
    waited += one.waited;
    all += one.seconds;
  }
  return all > 0.0 ? waited / all : 0.0;
}

std::string SlowRank(const std::vector<RankTime>& ranks) {
  constexpr double kMuch = 1.2;
  constexpr double kShortest = 1.0;  // seconds of computing: less says nothing
  if (ranks.size() < 2) return {};
  std::vector<double> computed;
  for (const RankTime& one : ranks) computed.push_back(one.seconds - one.waited);
  const auto slowest = std::max_element(computed.begin(), computed.end());
  const auto rank = slowest - computed.begin();
  const double most = *slowest;
  std::vector<double> sorted = computed;
  std::sort(sorted.begin(), sorted.end());
  const double middle = sorted[(sorted.size() - 1) / 2];
  if (most < kShortest || !(most > kMuch * middle)) return {};
  return fmt::format(
      "rank {} is slow: it computed {:.1f} s of this epoch, the rank in the middle {:.1f} s", rank,
      most, middle);
}

}  // namespace lockstep::tools
