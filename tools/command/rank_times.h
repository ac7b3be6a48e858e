// Where the ranks of a run spent their time: what waits for others cost, and who made them wait.
#ifndef LOCKSTEP_TOOLS_COMMAND_RANK_TIMES_H_
#define LOCKSTEP_TOOLS_COMMAND_RANK_TIMES_H_

#include <string>
#include <vector>

#include "engine/train/trainer.h"

namespace lockstep::inline v0_1::tools {

// The share of all ranks' time that went into waiting for others, in [0, 1].
double WaitedShare(const std::vector<RankTime>& ranks);

// Names the rank that computed longest where that is over 20 % more than the rank in the middle; else
// empty. Ranks that wait for it cannot be told apart by their whole time, which is the same.
std::string SlowRank(const std::vector<RankTime>& ranks);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RANK_TIMES_H_
