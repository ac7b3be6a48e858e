// Ranks for the C interface, over MPI: a library of its own, so that lockstep_c needs no MPI.
#include "engine/comm/mpi.h"

#include <cstdio>
#include <exception>
#include <memory>
#include <utility>

#include "tools/capi/lockstep_mpi.h"
#include "tools/capi/ranks.h"

extern "C" {

lockstep_code lockstep_ranks_of_mpi(const void* communicator, lockstep_ranks** ranks, char* error,
                                    size_t error_size) {
  const auto say = [&](const char* text) {
    if (error != nullptr && error_size > 0) std::snprintf(error, error_size, "%s", text);
  };
  say("");
  if (ranks == nullptr) {
    say("ranks is NULL");
    return LOCKSTEP_INVALID;
  }
  *ranks = nullptr;
  try {
    auto made = lockstep::MakeMpiCommunicator(communicator);
    if (!made.ok()) {
      say(made.status().message().c_str());
      return made.status().code() == lockstep::Code::kIo ? LOCKSTEP_IO : LOCKSTEP_INVALID;
    }
    *ranks = new lockstep_ranks{std::move(made).value()};
    return LOCKSTEP_OK;
  } catch (const std::exception& failure) {
    say(failure.what());
  } catch (...) {
    say("an exception of unknown type");
  }
  return LOCKSTEP_INTERNAL;
}

void lockstep_ranks_destroy(lockstep_ranks* ranks) { delete ranks; }

}  // extern "C"
