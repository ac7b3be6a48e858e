#include "tools/scale/quiet.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <thread>
#include <vector>

namespace lockstep::inline v0_1::scale {

Status OnFirstRankAlone(Communicator& communicator, const std::function<Status()>& body) {
  std::byte failed{0};
  std::vector<Outgoing> outgoing;
  std::vector<Incoming> incoming;
  const bool first = communicator.rank() == 0;
  for (int rank = 1; first && rank < communicator.size(); ++rank)
    outgoing.push_back({rank, std::span<const std::byte>(&failed, 1)});
  if (!first) incoming.push_back({0, std::span<std::byte>(&failed, 1)});
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Exchange> end,
                      communicator.Book("the end of what rank 0 does alone", std::move(outgoing),
                                        std::move(incoming)));
  if (first) {
    const Status status = body();
    if (!status.ok()) failed = std::byte{1};
    LOCKSTEP_TRY(end->Start());
    LOCKSTEP_TRY(end->Wait());
    return status;
  }
  LOCKSTEP_TRY(end->Start());
  for (bool done = false; !done;) {
    LOCKSTEP_TRY_ASSIGN(done, end->Done());
    if (!done) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (failed != std::byte{0}) return Status::Io("rank 0 failed in what it did alone");
  return Status::Ok();
}

}  // namespace lockstep::scale
