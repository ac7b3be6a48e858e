// Several runs of one recipe as a table and as a page for people.
#ifndef LOCKSTEP_TOOLS_REPORT_SET_PAGE_H_
#define LOCKSTEP_TOOLS_REPORT_SET_PAGE_H_

#include <string>
#include <vector>

#include "models/recipe.h"
#include "tools/command/set_summary.h"

namespace lockstep::inline v0_1::tools {

// A header; a row for each run; mean, sd, smallest and largest; all folds together, by seed.
std::vector<std::vector<std::string>> SetRows(const SetResult& set);

// `name`: what the set is called.
std::string SetPage(const SetResult& set, const Recipe& recipe, const std::string& name);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_SET_PAGE_H_
