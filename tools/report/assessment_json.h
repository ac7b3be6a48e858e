// An assessment for programs: what summary.json says of it.
//
//   "samples", "of", "interval_samples"
//   "scores": {"auc": {"value": 0.99, "low": 0.98, "high": 1.0}, ...}   null: not defined
//   "log_loss", "calibration_error", "calibration": [{"low", "high", "samples", "said", "so"}, ...]
//   "outcome": {"true_positives", "false_positives", "false_negatives", "true_negatives"}
//   "classes": [{"name", "samples", "predicted", "recall", "precision", "f1", "auc"}, ...]
//   "columns": [{"scores", "residuals": {"least", "q05", "median", "q95", "most"},
//                "largest_errors": [{"sample", "true", "predicted"}, ...]}, ...]
//   "subgroups": [{"column", "without", "smaller", "groups": [{"name", "samples", "positives", "scores"}]}]
//   "importance": {"score", "value", "samples", "repetitions", "columns": [{"name", "mean", "sd"}]}
#ifndef LOCKSTEP_TOOLS_REPORT_ASSESSMENT_JSON_H_
#define LOCKSTEP_TOOLS_REPORT_ASSESSMENT_JSON_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/train/assess/assessment.h"

namespace lockstep::inline v0_1::tools {

// `class_names` of the data, or empty.
nlohmann::ordered_json JsonOf(const Assessment& all, const std::vector<std::string>& class_names);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_ASSESSMENT_JSON_H_
