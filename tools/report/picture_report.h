// The part of report.html for runs on pictures: samples with what is predicted for them, the worst
// mistakes, and the filters of the first layer.
#ifndef LOCKSTEP_TOOLS_REPORT_PICTURE_REPORT_H_
#define LOCKSTEP_TOOLS_REPORT_PICTURE_REPORT_H_

#include <string>

#include "engine/base/status.h"
#include "tools/report/page.h"
#include "tools/report/run_report.h"

namespace lockstep::inline v0_1::tools {

// Nothing where the samples are no pictures that can be shown, or have no classes. `samples` are
// those of `split`, which may be empty.
Status AddPictures(const RunReport& run, const std::string& split, const Subset& samples,
                   Page& page);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_PICTURE_REPORT_H_
