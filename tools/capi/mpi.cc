// Ranks for the C interface, over MPI: a library of its own, so that lockstep_c needs no MPI.
#include "engine/comm/mpi.h"

#include <memory>
#include <utility>

#include "tools/capi/guard.h"
#include "tools/capi/lockstep_mpi.h"
#include "tools/capi/ranks.h"

using namespace lockstep;        // NOLINT: this file is where both languages meet
using namespace lockstep::capi;  // NOLINT

extern "C" {

lockstep_code lockstep_ranks_of_mpi(const void* communicator, lockstep_ranks** ranks, char* error,
                                    size_t error_size) {
  if (ranks != nullptr) *ranks = nullptr;
  return Guarded(error, error_size, [&]() -> Status {
    LOCKSTEP_TRY(Needs(ranks != nullptr, "ranks"));
    LOCKSTEP_TRY_ASSIGN(auto made, MakeMpiCommunicator(communicator));
    *ranks = new lockstep_ranks{std::move(made)};
    return Status::Ok();
  });
}

void lockstep_ranks_destroy(lockstep_ranks* ranks) { delete ranks; }

}  // extern "C"
