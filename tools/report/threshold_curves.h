// The curves of a binary classifier as the threshold falls: what share of the positives is found at
// what share of false alarms (receiver operating characteristic), and how much of what is said to
// be positive is (precision against recall).
#ifndef LOCKSTEP_TOOLS_REPORT_THRESHOLD_CURVES_H_
#define LOCKSTEP_TOOLS_REPORT_THRESHOLD_CURVES_H_

#include <span>
#include <string>
#include <vector>

#include "engine/train/assess/ranking.h"
#include "tools/report/page.h"

namespace lockstep::inline v0_1::tools {

struct CurvePoint {
  double x = 0.0, y = 0.0;
};

// A line through them for a page.
Series SeriesOf(std::string name, const std::vector<CurvePoint>& points);

// From (0, 0) to (1, 1), a point where the slope changes: shares of all negatives, of all
// positives. At most `most` points (at least 2): then those between are left out evenly. Empty
// unless there are positives and negatives.
std::vector<CurvePoint> RocOf(std::span<const Cut> cuts, size_t most = 400);

// Recall along x, precision along y, in rising recall; at most `most` as above. Empty without
// positives.
std::vector<CurvePoint> PrecisionRecallOf(std::span<const Cut> cuts, size_t most = 400);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_THRESHOLD_CURVES_H_
