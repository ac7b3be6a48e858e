// Where the ranks of a launch really run.
#ifndef LOCKSTEP_TOOLS_SCALE_PLACEMENT_H_
#define LOCKSTEP_TOOLS_SCALE_PLACEMENT_H_

#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1::scale {

// "host: 0-3" of each rank: the processors that it may use. Collective.
Result<std::vector<std::string>> GatherPlacement(Communicator& communicator);

// The same in a line: "2 on node1: 0-3; 2 on node2: 0-3", in the order in which they come.
std::string PlacementText(const std::vector<std::string>& ranks);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_PLACEMENT_H_
