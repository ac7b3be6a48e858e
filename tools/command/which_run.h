// Which run a command line of `lockstep train` means: a new one, one that goes on, or one that has
// ended.
#ifndef LOCKSTEP_TOOLS_COMMAND_WHICH_RUN_H_
#define LOCKSTEP_TOOLS_COMMAND_WHICH_RUN_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "models/recipe.h"
#include "tools/command/commands.h"
#include "tools/command/ranks.h"
#include "tools/command/run_folder.h"

namespace lockstep::inline v0_1::tools {

struct WhichRun {
  Recipe recipe{};
  RunFolder folder{};  // of a run that goes on
  std::vector<std::string> overrides{};
  bool resume = false;
  bool saved = false;                // it has a checkpoint
  bool finished = false;             // there is nothing to do
  std::optional<FolderLock> lock{};  // of a run that goes on, on rank 0
};

// Collective. A run that goes on is locked from here on.
Result<WhichRun> ChooseRun(const TrainArgs& args, Ranks& ranks);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_WHICH_RUN_H_
