// Several runs of one recipe as one: every fold of a cross-validation held back in turn
// (data.folds), and every seed of train.seeds. The folder of such a set holds
//   recipe.toml           of the set, from which each run's own differs in data.fold, train.seed,
//                         train.seeds and output.folder alone
//   fold-1, fold-2, ...   a run folder each, as any other (with several seeds fold-1-seed-1, ...;
//   or seed-1, ...        of seeds alone), with held_out.safetensors: what it says of its fold
//   summary.json          mean and spread of all metrics over the runs, and of all folds together
//   predictions.csv       of every sample, by the network that has not seen it
//   report.html           all of that for people
// A set that is interrupted goes on where it was: `lockstep train --resume FOLDER`.
#ifndef LOCKSTEP_TOOLS_COMMAND_RUN_SET_H_
#define LOCKSTEP_TOOLS_COMMAND_RUN_SET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "models/recipe.h"
#include "models/recipe_prepare.h"
#include "tools/command/commands.h"
#include "tools/command/ranks.h"
#include "tools/command/which_run.h"

namespace lockstep::inline v0_1::tools {

// Whether training this recipe is several runs.
bool IsSet(const Recipe& recipe);

// What --seeds says: a number of seeds from `first` on, or a list of them. Errors: anything else, a
// seed that comes twice.
Result<std::vector<int64_t>> SeedsFrom(const std::string& text, int64_t first);

// The data of the run of a set that was made last: of all seeds of one fold they are the same.
struct SetData {
  int64_t fold = 0;
  std::optional<PreparedData> prepared{};
};

struct SetMember {
  int64_t fold = 0;  // from 1; 0: of no cross-validation
  int64_t seed = 0;
  std::string name{};  // of its folder
};
std::vector<SetMember> MembersOf(const Recipe& recipe);

// Trains what is not finished yet, then sums up. Collective.
Status TrainSet(const TrainArgs& args, WhichRun run, Ranks& ranks);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RUN_SET_H_
