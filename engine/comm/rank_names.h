// How ranks are called in messages.
#ifndef LOCKSTEP_ENGINE_COMM_RANK_NAMES_H_
#define LOCKSTEP_ENGINE_COMM_RANK_NAMES_H_

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

namespace lockstep::inline v0_1 {

// "rank 2", "ranks 2, 3 and 4", and of very many the first.
inline std::string RankNames(std::span<const int> ranks) {
  constexpr size_t kShown = 8;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  const size_t shown = std::min(ranks.size(), kShown);
  for (size_t i = 0; i < shown; ++i) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  if (shown < ranks.size()) text += " and " + std::to_string(ranks.size() - shown) + " more";
  return text;
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_RANK_NAMES_H_
