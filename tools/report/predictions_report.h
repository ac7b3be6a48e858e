// What the network says of the samples it is judged by: confusion, class by class, curves,
// calibration, errors, subgroups, and the columns it relies on.
#ifndef LOCKSTEP_TOOLS_REPORT_PREDICTIONS_REPORT_H_
#define LOCKSTEP_TOOLS_REPORT_PREDICTIONS_REPORT_H_

#include <string>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/train/assess/assessment.h"
#include "engine/train/metrics.h"
#include "tools/report/page.h"

namespace lockstep::inline v0_1::tools {

// `all` may be null: samples that cannot be looked at one by one. Nothing where there is nothing to
// say.
void AddPredictions(const std::string& split, const EvaluationResult& result, const Assessment* all,
                    const DatasetInfo& info, Page& page);

// The part of it that is one assessment: without confusion and classes.
void AddAssessment(const Assessment& all, Page& page);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_PREDICTIONS_REPORT_H_
