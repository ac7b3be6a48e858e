// Ranks that exchange messages until something happens to the last of them:
//
//   exit    it leaves without a word            kill    it is killed
//   abort   it ends all with a line of its own  throw   an exception leaves it
//   stop    it stands still (SIGSTOP) until another rank has named it, and then goes on
//
// tests/mpi/faults.sh looks at what is printed and at how it all ends.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/comm/mpi.h"

namespace lockstep::inline v0_1 {
namespace {

Status Run(MpiSession& session, std::string_view fault) {
  Communicator& c = session.communicator();
  const int last = c.size() - 1;
  const pid_t mine = getpid();
  std::vector<pid_t> all(static_cast<size_t>(c.size()));
  LOCKSTEP_TRY(
      c.AllGather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all))));
  std::vector<std::byte> out(100000), in(100000);
  LOCKSTEP_TRY_ASSIGN(
      const auto ring,
      c.Book("gradients of 3.weight", {{.to = (c.rank() + 1) % c.size(), .bytes = out}},
             {{.from = (c.rank() + last) % c.size(), .bytes = in}}));
  const std::string name = "rank " + std::to_string(last);
  bool named = false;
  c.set_watch({.slow_after = 0.2, .slow = [&](const std::string& what, double) {
                 named = named || what.find(name) != std::string::npos;
                 std::fprintf(stderr, "rank %d waits for %s\n", c.rank(), what.c_str());
                 if (named) kill(all[static_cast<size_t>(last)], SIGCONT);
               }});
  for (int step = 0; step < 20; ++step) {
    if (step == 10 && c.rank() == last) {
      if (fault == "exit") std::_Exit(3);
      if (fault == "kill") std::raise(SIGKILL);
      if (fault == "abort") session.Abort("lockstep: " + name + " cannot read its data", 4);
      if (fault == "throw") throw std::runtime_error("thrown");
      if (fault == "stop") std::raise(SIGSTOP);
    }
    float sum = 1.0f;
    LOCKSTEP_TRY(ring->Start());
    LOCKSTEP_TRY(ring->Wait());
    LOCKSTEP_TRY(c.AllReduce(std::span(&sum, 1)));
  }
  float by = named ? 1.0f : 0.0f;
  LOCKSTEP_TRY(c.AllReduce(std::span(&by, 1)));
  if (fault == "stop" && by == 0.0f) return Status::Io(name + " was not named");
  return Status::Ok();
}

}  // namespace
}  // namespace lockstep

int main(int, char** argv) {
  try {
    auto session = lockstep::MpiSession::Start();
    if (!session.ok()) return 1;
    const lockstep::Status status = lockstep::Run(**session, argv[1]);
    if (!status.ok()) (*session)->Abort(status.message(), 5);
    if ((*session)->communicator().rank() == 0) std::printf("all ranks have ended well\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "an exception has left a rank: %s\n", error.what());
    return 6;
  }
}
