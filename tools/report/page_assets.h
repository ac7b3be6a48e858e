// The files that every page carries within itself, put into the program when it is built.
#ifndef LOCKSTEP_TOOLS_REPORT_PAGE_ASSETS_H_
#define LOCKSTEP_TOOLS_REPORT_PAGE_ASSETS_H_

#include <string_view>

namespace lockstep::inline v0_1::tools {

std::string_view PageStyle();       // page_assets/page.css
std::string_view PageScript();      // page_assets/page.js
std::string_view ChartLibrary();    // Chart.js, as the system has it
std::string_view ChartCopyright();  // its copyright notice and licence

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_PAGE_ASSETS_H_
