// What stands at the end of a training run, once the weights are found.
#ifndef LOCKSTEP_TOOLS_COMMAND_DECIDE_H_
#define LOCKSTEP_TOOLS_COMMAND_DECIDE_H_

#include "engine/base/status.h"
#include "engine/train/decision.h"
#include "engine/train/network.h"
#include "models/recipe.h"
#include "tools/command/ranks.h"

namespace lockstep::inline v0_1::tools {

// The decision that the recipe asks for, on every rank as rank 0 finds it; that one says what it
// found. Collective.
Result<Decision> Decide(const Recipe& recipe, Network& network, const Subset& validation,
                        Ranks& ranks);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_DECIDE_H_
