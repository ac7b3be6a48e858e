// A file descriptor for each process (pidfd_open, Linux 5.3) becomes readable when it ends, at
// once, before its parent has taken note, and is never that of another process with the same
// number.
#include "engine/comm/neighbours.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <string>

#include "engine/base/random.h"

#if defined(__linux__)
#include <sys/syscall.h>
#endif

namespace lockstep::inline v0_1 {
namespace {

int OpenProcess([[maybe_unused]] int64_t process) {
#if defined(__linux__) && defined(SYS_pidfd_open)
  return static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(process), 0u));
#else
  return -1;
#endif
}

}  // namespace

Neighbours::Place Neighbours::Mine() {
  // The host since it was started, and the part of its processes that a container sees.
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat visible = {};
  if (boot.empty() || stat("/proc/self/ns/pid", &visible) != 0) return {.process = getpid()};
  return {.process = getpid(), .world = StreamOf(boot + std::to_string(visible.st_ino))};
}

Neighbours::Neighbours(std::span<const Place> ranks) {
  const Place mine = Mine();
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const Place& one = ranks[rank];
    if (mine.world == 0 || one.world != mine.world || one.process == mine.process) continue;
    const int file = OpenProcess(one.process);
    if (file < 0) continue;
    processes_.push_back({.fd = file, .events = POLLIN, .revents = 0});
    ranks_.push_back(static_cast<int>(rank));
  }
}

Neighbours::~Neighbours() {
  for (const pollfd& one : processes_) close(one.fd);
}

int Neighbours::Ended() {
  if (processes_.empty() || poll(processes_.data(), processes_.size(), 0) <= 0) return -1;
  for (size_t i = 0; i < processes_.size(); ++i) {
    if ((processes_[i].revents & POLLIN) != 0) return ranks_[i];
  }
  return -1;
}

}  // namespace lockstep
