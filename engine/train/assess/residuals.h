// Where a regression errs: its residuals y - t, one column of the output at a time.
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_RESIDUALS_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_RESIDUALS_H_

#include <cstdint>
#include <vector>

#include "engine/train/assess/predictions.h"
#include "engine/train/assess/scores.h"

namespace lockstep::inline v0_1 {

struct ValuePair {
  int64_t index = 0;  // of the sample in the dataset
  double truth = 0.0, predicted = 0.0;
};

struct Residuals {
  std::vector<Score> scores{};  // as ScoresOf, of this column alone
  double least = 0.0, q05 = 0.0, median = 0.0, q95 = 0.0, most = 0.0;
  // Counts in ranges of equal width from `least` to `most`; one range where those are the same.
  std::vector<int64_t> histogram{};
  std::vector<ValuePair> points{};   // some, drawn by a fixed seed, in their order
  std::vector<ValuePair> largest{};  // the largest errors, the largest first
};

struct ResidualOptions {
  int64_t interval_samples = 20000;  // see ScoresOf
  int64_t points = 500, largest = 10, ranges = 20;
};

// REQUIRES: kValues, samples, 0 <= column < predictions.columns.
Residuals ResidualsOf(const Predictions& predictions, int64_t column,
                      const ResidualOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_RESIDUALS_H_
