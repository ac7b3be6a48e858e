#include "engine/train/assess/threshold.h"

#include <cmath>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/train/assess/ranking.h"

namespace lockstep::inline v0_1 {
namespace {

// A number that `above` is greater than and `below` is not: midway where there is one between.
float Between(float below, float above) {
  const float middle = below + (above - below) / 2.0f;
  return middle < above ? middle : below;
}

// What is to be as large as can be where `hits` positives and `alarms` negatives are above.
double GainOf(double hits, double alarms, const Ranking& ranking, const ThresholdOptions& options) {
  const auto positives = static_cast<double>(ranking.positives());
  const auto negatives = static_cast<double>(ranking.negatives());
  switch (options.rule) {
    case ThresholdRule::kHalf:
      break;
    case ThresholdRule::kYouden:  // times positives and negatives, so that equal ones are equal
      return hits * negatives - alarms * positives;
    case ThresholdRule::kCost:
      return -(options.false_negative_cost * (positives - hits) + alarms);
    case ThresholdRule::kRecall: {
      const double wanted = std::ceil(options.recall * positives - 1e-9);
      return hits >= wanted ? -alarms : hits - wanted - negatives;
    }
  }
  return 0.0;
}

}  // namespace

Outcome OutcomeAt(std::span<const float> p, std::span<const float> labels, float threshold) {
  LOCKSTEP_CHECK_EQ(p.size(), labels.size());
  Outcome outcome;
  for (size_t i = 0; i < p.size(); ++i) {
    const bool said = p[i] > threshold;
    if (labels[i] > 0.5f) {
      ++(said ? outcome.true_positives : outcome.false_negatives);
    } else {
      ++(said ? outcome.false_positives : outcome.true_negatives);
    }
  }
  return outcome;
}

Result<float> ChooseThreshold(std::span<const float> p, std::span<const float> labels,
                              const ThresholdOptions& options) {
  if (options.rule == ThresholdRule::kHalf) return 0.5f;
  LOCKSTEP_CHECK(options.false_negative_cost > 0.0, "a cost");
  LOCKSTEP_CHECK(options.recall > 0.0 && options.recall <= 1.0, "a recall");
  const Ranking ranking(p, labels);
  if (ranking.positives() == 0 || ranking.negatives() == 0) {
    return Status::Invalid(
        "a threshold is chosen where there are samples of both classes, and all " +
        std::to_string(p.size()) + " are " + (ranking.positives() == 0 ? "negative" : "positive"));
  }
  float best = 1.0f;  // nothing is above
  double best_gain = GainOf(0.0, 0.0, ranking, options);
  const std::vector<Cut>& cuts = ranking.cuts();
  for (size_t i = 0; i < cuts.size(); ++i) {
    if (!(cuts[i].score > 0.0f)) break;  // no threshold of at least 0 finds these
    const float threshold = Between(i + 1 < cuts.size() ? cuts[i + 1].score : 0.0f, cuts[i].score);
    const double gain = GainOf(static_cast<double>(cuts[i].hits),
                               static_cast<double>(cuts[i].alarms), ranking, options);
    const bool nearer = std::abs(threshold - 0.5f) < std::abs(best - 0.5f);
    if (gain > best_gain || (gain == best_gain && nearer)) {
      best = threshold;
      best_gain = gain;
    }
  }
  return best;
}

}  // namespace lockstep
