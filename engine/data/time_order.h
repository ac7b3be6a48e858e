// Samples in the order of time, cut where a moment ends: samples of one moment stay together.
#ifndef LOCKSTEP_ENGINE_DATA_TIME_ORDER_H_
#define LOCKSTEP_ENGINE_DATA_TIME_ORDER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// As many blocks as `sizes`, one after another in time, each ascending in time and then in its
// place; block i is as near to holding sizes[i] samples as moments that stay together allow, and
// holds one at least. REQUIRES: sizes from 0 that add up to the number of samples. Errors: a time
// that is not finite (its sample is named), fewer moments than blocks.
Result<std::vector<std::vector<int64_t>>> CutByTime(std::span<const double> times,
                                                    std::span<const int64_t> sizes);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TIME_ORDER_H_
