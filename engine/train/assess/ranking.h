// Samples of two classes in the order of their scores, which is all that the ROC curve and the
// precision-recall curve know of them.
//
//   auc                P(score of a positive > score of a negative) + P(equal) / 2
//   average precision  sum over the thresholds of (recall - recall before) * precision,
//                      without interpolation, as sklearn's average_precision_score
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_RANKING_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_RANKING_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lockstep::inline v0_1 {

// Everything above a threshold: samples with the same score come together.
struct Cut {
  float score = 0.0f;  // the least that is above
  int64_t hits = 0;    // positives above
  int64_t alarms = 0;  // negatives above
};

// Thread-safety: immutable once made.
class Ranking {
 public:
  // labels[i] > 0.5 is a positive. REQUIRES: as many of one as of the other, no score NaN.
  Ranking(std::span<const float> scores, std::span<const float> labels);

  int64_t positives() const { return positives_; }
  int64_t negatives() const { return negatives_; }
  // From the highest score to the lowest, one for each score there is.
  const std::vector<Cut>& cuts() const { return cuts_; }

  // Exact but for one division. Empty unless there are positives and negatives.
  std::optional<double> Auc() const;
  // Empty where there is no positive.
  std::optional<double> AveragePrecision() const;
  // The same where sample i counts `weights[i]` times (as many weights as samples); NaN for empty.
  struct Areas {
    double auc, average_precision;
  };
  Areas Weighted(std::span<const double> weights) const;

 private:
  template <class WeightOf>
  Areas AreasOf(WeightOf weight) const;

  std::vector<uint32_t> order_;    // places in falling order of score
  std::vector<uint8_t> positive_;  // in this order
  std::vector<Cut> cuts_;
  int64_t positives_ = 0, negatives_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_RANKING_H_
