// For tests of what only calls of more than 1 GiB would show: smaller pieces.
#ifndef LOCKSTEP_ENGINE_COMM_MPI_PIECES_H_
#define LOCKSTEP_ENGINE_COMM_MPI_PIECES_H_

#include <cstddef>
#include <memory>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1 {

// A communicator of the same ranks as `communicator`, which is one over MPI, that moves at most
// most_bytes >= 1 in a call. Collective.
Result<std::unique_ptr<Communicator>> MpiInPieces(Communicator& communicator, size_t most_bytes);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_MPI_PIECES_H_
