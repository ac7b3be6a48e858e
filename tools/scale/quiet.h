// How ranks stay out of each other's way.
#ifndef LOCKSTEP_TOOLS_SCALE_QUIET_H_
#define LOCKSTEP_TOOLS_SCALE_QUIET_H_

#include <functional>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1::scale {

// One rank measures what it does alone, while the others sleep: a rank that waits for a message in
// an MPI call keeps its core busy with looking for it. body() on rank 0; returns when it has
// ended, with its status there. On the others an error says that it failed. Collective.
Status OnFirstRankAlone(Communicator& communicator, const std::function<Status()>& body);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_QUIET_H_
