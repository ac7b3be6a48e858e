#include "engine/train/assess/ranking.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

Ranking::Ranking(std::span<const float> scores, std::span<const float> labels) {
  LOCKSTEP_CHECK_EQ(scores.size(), labels.size());
  LOCKSTEP_CHECK_LT(scores.size(), size_t{1} << 32);
  order_.resize(scores.size());
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  for (size_t i = 0; i < order_.size(); ++i) {
    const bool positive = labels[order_[i]] > 0.5f;
    positive_.push_back(positive ? 1 : 0);
    ++(positive ? positives_ : negatives_);
    if (i + 1 < order_.size() && scores[order_[i]] == scores[order_[i + 1]]) continue;
    cuts_.push_back({.score = scores[order_[i]], .hits = positives_, .alarms = negatives_});
  }
}

// Goes down the scores, equal ones together: each negative loses against every positive above it,
// and half against those beside it. Counted in halves, so that whole weights stay whole.
template <class WeightOf>
Ranking::Areas Ranking::AreasOf(WeightOf weight) const {
  using Count = decltype(weight(0u));
  Count half_wins{}, hits{}, alarms{};
  double precision_sum = 0.0;  // over the positives
  size_t i = 0;
  for (const Cut& cut : cuts_) {
    const auto end = static_cast<size_t>(cut.hits + cut.alarms);
    Count positives{}, negatives{};
    for (; i < end; ++i) {
      (positive_[i] != 0 ? positives : negatives) += weight(order_[i]);
    }
    half_wins += negatives * (2 * hits + positives);
    hits += positives;
    alarms += negatives;
    if (positives > 0) {
      precision_sum += static_cast<double>(positives) * static_cast<double>(hits) /
                       static_cast<double>(hits + alarms);
    }
  }
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  return {.auc = hits == 0 || alarms == 0
                     ? kNan
                     : static_cast<double>(half_wins) / (2.0 * static_cast<double>(hits * alarms)),
          .average_precision = hits == 0 ? kNan : precision_sum / static_cast<double>(hits)};
}

std::optional<double> Ranking::Auc() const {
  if (positives_ == 0 || negatives_ == 0) return std::nullopt;
  return AreasOf([](uint32_t) { return uint64_t{1}; }).auc;
}

std::optional<double> Ranking::AveragePrecision() const {
  if (positives_ == 0) return std::nullopt;
  return AreasOf([](uint32_t) { return uint64_t{1}; }).average_precision;
}

Ranking::Areas Ranking::Weighted(std::span<const double> weights) const {
  LOCKSTEP_CHECK_EQ(weights.size(), order_.size());
  return AreasOf([&](uint32_t place) { return weights[place]; });
}

}  // namespace lockstep
