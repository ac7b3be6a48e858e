// Windows of a series, to tell from T moments what comes after them, or what they are.
#ifndef LOCKSTEP_ENGINE_DATA_SERIES_SERIES_DATASET_H_
#define LOCKSTEP_ENGINE_DATA_SERIES_SERIES_DATASET_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/series/series.h"
#include "engine/data/split.h"

namespace lockstep::inline v0_1 {

struct SeriesWindows {
  int64_t context = 32;  // T
  int64_t horizon = 1;   // kRegression: the value told is that of so many moments after the window
  double validation = 0.0, test = 0.0;  // shares of each group's moments, the last ones to test
};

struct SeriesData {
  std::shared_ptr<const Dataset> dataset;  // all windows, by group and time
  Splits splits;                           // of them
  int64_t short_groups = 0;                // that are too short for a single window to train on
};

// Samples x f32 {T, features}: the windows that begin at every moment. Of kRegression the target is
// f32 {1}, the value `horizon` moments behind the window's last; else the label of its last moment.
// No window, with what is told from it, crosses from one group or one part to another: each group
// is cut by time into moments to train, to validate and to test. Errors, with the numbers: context
// or horizon below 1, shares out of range, a part without a single window. Values are told as they
// are, features are to be standardised.
Result<SeriesData> MakeSeriesData(Series series, const SeriesWindows& windows);

// All windows of `context` moments to predict from: what is told may lie behind the end.
struct SeriesToPredict {
  std::shared_ptr<const Dataset> dataset;
  std::vector<int64_t> rows;  // of the file, from 0: each sample's last moment, ascending
};
// Errors, with the numbers: no group has so many rows.
Result<SeriesToPredict> MakeSeriesToPredict(Series series, int64_t context);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_SERIES_SERIES_DATASET_H_
