// How near the layers and the step come to the machine's own limits (roofline.h).
#ifndef LOCKSTEP_TOOLS_SCALE_LIMITS_H_
#define LOCKSTEP_TOOLS_SCALE_LIMITS_H_

#include <span>

#include "engine/base/status.h"
#include "tools/scale/experiment.h"
#include "tools/scale/scale_result.h"

namespace lockstep::inline v0_1::scale {

// What each layer takes at this many threads in one process.
Result<LayerTable> MeasureLayers(const Subject& subject, int threads, const Peaks& peaks,
                                 const MeasureOptions& options);

// Measures peaks and layers on the fewest of `threads` (rising) and on the most for which there are
// cores; adds to `result` the tables of layers, the number of parameters, and the floors of the
// points of one rank.
Status MeasureLimits(const Subject& subject, std::span<const int> threads, ScaleResult& result);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_LIMITS_H_
