// The receiver operating characteristic of a binary classifier: what share of the positives is
// found at what share of false alarms, as the threshold falls.
#ifndef LOCKSTEP_TOOLS_REPORT_ROC_H_
#define LOCKSTEP_TOOLS_REPORT_ROC_H_

#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::tools {

struct RocPoint {
  double false_positives = 0.0, true_positives = 0.0;  // shares of all negatives, of all positives
};

// From (0, 0) to (1, 1), a point where the slope changes; labels[i] > 0.5 is a positive. At most
// `most` points (at least 2): then those between are left out evenly. Empty unless there are
// positives and negatives.
std::vector<RocPoint> Roc(std::span<const float> scores, std::span<const float> labels,
                          size_t most = 400);

// The network's scores of these samples. An error unless it has one output for each.
Result<std::vector<RocPoint>> RocOf(Network& network, const Subset& samples);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_ROC_H_
