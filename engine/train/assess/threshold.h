// The probability from which a positive is said, chosen on samples held back from training.
//
//   half    1/2
//   youden  the largest recall + specificity - 1 (Youden, Index for rating diagnostic tests, 1950)
//   cost    the least cost * missed positives + false alarms
//   recall  the fewest false alarms at which at least this share of the positives is found
//
// Candidates lie midway between neighbouring predictions. Of equally good ones the nearest to 1/2
// is taken.
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_THRESHOLD_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_THRESHOLD_H_

#include <cstdint>
#include <span>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

enum class ThresholdRule { kHalf, kYouden, kCost, kRecall };

struct ThresholdOptions {
  ThresholdRule rule = ThresholdRule::kHalf;
  double false_negative_cost = 1.0;  // kCost: in false alarms; > 0
  double recall = 0.95;              // kRecall: in (0, 1]
};

// What comes of a threshold: a positive is said where p > it.
struct Outcome {
  int64_t true_positives = 0, false_positives = 0, false_negatives = 0, true_negatives = 0;
};
Outcome OutcomeAt(std::span<const float> p, std::span<const float> labels, float threshold);

// p[i] in [0, 1]; labels[i] > 0.5 is a positive. The result is in [0, 1]. Error: no positives or no
// negatives, unless the rule is kHalf.
Result<float> ChooseThreshold(std::span<const float> p, std::span<const float> labels,
                              const ThresholdOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_THRESHOLD_H_
