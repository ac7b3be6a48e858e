// How ranks stay out of each other's way, and end together.
#ifndef LOCKSTEP_TOOLS_SCALE_QUIET_H_
#define LOCKSTEP_TOOLS_SCALE_QUIET_H_

#include <functional>
#include <string>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/comm/mpi.h"

namespace lockstep::scale {

// One rank measures what it does alone, while the others sleep: a rank that waits for a message in
// an MPI call keeps its core busy with looking for it. body() on rank 0; returns when it has ended, with its status there. On the others an error says
// that it failed. Collective.
Status OnFirstRankAlone(Communicator& communicator, const std::function<Status()>& body);

// Ends all ranks for an error, which `program` is to say in one line. What fails on all of them is
// said by rank 0 alone; what fails on another rank only, by that one, a second later.
[[noreturn]] void EndAll(MpiSession& session, const std::string& program, const Status& status);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_QUIET_H_
