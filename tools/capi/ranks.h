// What both libraries of the C interface know of ranks.
#ifndef LOCKSTEP_TOOLS_CAPI_RANKS_H_
#define LOCKSTEP_TOOLS_CAPI_RANKS_H_

#include <memory>

#include "engine/comm/communicator.h"

struct lockstep_ranks {
  std::unique_ptr<lockstep::Communicator> communicator;
};

#endif  // LOCKSTEP_TOOLS_CAPI_RANKS_H_
