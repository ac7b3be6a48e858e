// Points of a scaling curve on several ranks: by a launch of this program under mpirun.
#ifndef LOCKSTEP_TOOLS_COMMAND_SCALE_RANKS_H_
#define LOCKSTEP_TOOLS_COMMAND_SCALE_RANKS_H_

#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tools/command/commands.h"
#include "tools/scale/result_json.h"

namespace lockstep::inline v0_1::tools {

// Starts `ranks` processes that measure the same recipe as `args` says, and returns what they
// wrote. What they print on standard error is seen. An error says how the launch ended.
Result<scale::RankReport> LaunchRanks(const ScaleArgs& args, int ranks);

// Whether the program that a launcher begins with is there, before anything is measured.
Status CheckLauncher(const std::string& launcher);

// The words of a launcher's command line: split at blanks, "{}" replaced by the number of ranks. An
// error where it has no place for that number.
Result<std::vector<std::string>> LauncherWords(const std::string& launcher, int ranks);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_SCALE_RANKS_H_
