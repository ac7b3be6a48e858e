// What standardises pictures: mean and standard deviation of each channel over the training split.
#ifndef LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_STATISTICS_H_
#define LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_STATISTICS_H_

#include <cstdint>
#include <span>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"

namespace lockstep::inline v0_1 {

// As Standardizer::Measure, for f32 samples without missing values, over several threads: the
// moments of each sample in double, merged in the order of `train` (Chan), whatever the number of
// threads. Samples whose class is kIgnoredTarget do not count. `threads` >= 1. Errors: no samples,
// or a failing Gather (the first in that order).
Result<Standardizer> MeasurePictures(const Dataset& dataset, std::span<const int64_t> train,
                                     int threads = 1);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_IMAGE_PICTURE_STATISTICS_H_
