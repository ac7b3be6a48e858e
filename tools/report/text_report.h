// The part of report.html for runs on texts: what the network said as it learned, examples with
// what it makes of them, and where its attention looks.
#ifndef LOCKSTEP_TOOLS_REPORT_TEXT_REPORT_H_
#define LOCKSTEP_TOOLS_REPORT_TEXT_REPORT_H_

#include <string>

#include "engine/base/status.h"
#include "tools/report/page.h"
#include "tools/report/run_report.h"

namespace lockstep::inline v0_1::tools {

// Nothing where samples are no texts. `samples` are those of `split`, which may be empty.
Status AddTexts(const RunReport& run, const std::string& split, const Subset& samples, Page& page);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_TEXT_REPORT_H_
