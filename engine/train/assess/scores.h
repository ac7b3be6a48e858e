// How good predictions are, as a row of numbers that can be measured anew where samples count more
// or less than once: for intervals, for subgroups, and after something was changed.
//
// Two classes, at the decision's threshold:
//   auc, average_precision   see ranking.h
//   accuracy                 (TP + TN) / n
//   recall                   TP / (TP + FN), sensitivity
//   specificity              TN / (TN + FP)
//   precision                TP / (TP + FP), positive predictive value
//   negative_precision       TN / (TN + FN), negative predictive value
//   f1                       2 TP / (2 TP + FP + FN)
//   brier                    see calibration.h
// More classes:
//   accuracy; macro_auc, macro_recall, macro_precision, macro_f1: means over the classes that there
//   are samples of, of each against all others; a class that is never predicted has precision 0
//   (sklearn's zero_division=0); brier
// Numbers; r2 of several columns is the mean over them, the others are over all numbers:
//   r2      1 - sum (y - t)^2 / sum (t - mean t)^2
//   mae     mean |y - t|
//   rmse    sqrt(mean (y - t)^2)
//   bias    mean (y - t)
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_SCORES_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_SCORES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/train/assess/interval.h"
#include "engine/train/assess/predictions.h"
#include "engine/train/decision.h"

namespace lockstep::inline v0_1 {

struct Score {
  std::string name{};
  double value = 0.0;  // NaN: not defined for these samples
  std::optional<Interval> interval{};
};

// Names and how to measure them; the first is what a model of this kind is judged by most often.
struct Scorer {
  std::vector<std::string> names{};
  std::vector<bool> larger_is_better{};
  Measure measure{};

  // Every sample once.
  std::vector<double> Values(int64_t samples) const;
};

// Keeps what it needs of the predictions. Not `ranked`: what needs the samples in the order of
// their scores (areas under curves) is NaN, and they are not sorted.
Scorer MakeScorer(const Predictions& predictions, const Decision& decision, bool ranked = true);

// With intervals from `interval_samples` of them at most, drawn by a fixed seed (0: none): those of
// more samples are narrower. `by_weight`: each sample counts by its weight (sklearn's
// sample_weight), else once. REQUIRES: by_weight only where there are weights.
std::vector<Score> ScoresOf(const Predictions& predictions, const Decision& decision,
                            int64_t interval_samples, bool by_weight = false);

// Of one class against all others.
struct ClassScores {
  int64_t samples = 0, predicted = 0, right = 0;
  double recall = 0.0, precision = 0.0, f1 = 0.0;  // NaN: no such samples; nothing predicted
  std::optional<double> auc{};  // of its probability; empty unless there are others, too
};
// REQUIRES: kOneOf. `p` as Probabilities() gives it.
std::vector<ClassScores> ScoresByClass(const Predictions& predictions, std::span<const float> p);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_SCORES_H_
