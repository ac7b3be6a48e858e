// What `lockstep scale` has measured, as a page.
#ifndef LOCKSTEP_TOOLS_REPORT_SCALE_PAGE_H_
#define LOCKSTEP_TOOLS_REPORT_SCALE_PAGE_H_

#include <string>

#include "tools/scale/scale_result.h"

namespace lockstep::inline v0_1::tools {

// HTML that needs no other file.
std::string ScalePage(const scale::ScaleResult& result);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_SCALE_PAGE_H_
