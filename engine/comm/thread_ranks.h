// Ranks that are threads of one process: for tests, and for hosts that hold several sockets or
// devices in one process. No message is copied twice: a receiver copies out of the sender's memory.
//
//   ThreadRanks::Run(4, [&](Communicator& communicator) { Train(communicator); });
#ifndef LOCKSTEP_ENGINE_COMM_THREAD_RANKS_H_
#define LOCKSTEP_ENGINE_COMM_THREAD_RANKS_H_

#include <functional>
#include <memory>
#include <vector>

#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1 {

class ThreadRanks {
 public:
  // One communicator for each rank, each to be used by one thread. Whoever destroys one has left:
  // what the others then wait for from it is an error that names the rank, as is anything further.
  static std::vector<std::unique_ptr<Communicator>> Make(int size);

  // body(communicator) on a thread for each rank; returns when all have ended. An exception that
  // leaves a body is thrown on (the one of the lowest rank) once all have ended.
  static void Run(int size, const std::function<void(Communicator&)>& body);
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_THREAD_RANKS_H_
