// The commands of the lockstep program. Each takes its parsed arguments and returns what went
// wrong; main() prints that.
#ifndef LOCKSTEP_TOOLS_COMMANDS_H_
#define LOCKSTEP_TOOLS_COMMANDS_H_

#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::tools {

struct TrainArgs {
  std::string recipe{};                  // a file; unused with `resume`
  std::vector<std::string> overrides{};  // key=value
  std::string resume{};                  // a run folder: go on with its last checkpoint
  bool print_recipe = false;             // print the recipe with all its keys instead of training
};
Status Train(const TrainArgs& args);

struct EvalArgs {
  std::string model{};                   // a run folder or a checkpoint file
  std::vector<std::string> overrides{};  // key=value: other data, for instance
  std::string split = "test";            // train, validation or test
};
Status Eval(const EvalArgs& args);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMANDS_H_
