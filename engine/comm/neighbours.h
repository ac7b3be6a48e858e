// The processes of other ranks on this host: whether they still run. A launcher ends a run whose
// rank has died, but not every one says which rank it was.
#ifndef LOCKSTEP_ENGINE_COMM_NEIGHBOURS_H_
#define LOCKSTEP_ENGINE_COMM_NEIGHBOURS_H_

#include <poll.h>

#include <cstdint>
#include <span>
#include <vector>

namespace lockstep::inline v0_1 {

// Linux only; elsewhere, and of ranks that this process cannot see, nothing is known.
class Neighbours {
 public:
  // A process among all of all hosts. Of two with the same `world`, each sees the other's `process`
  // as the same number.
  struct Place {
    int64_t process = 0;
    uint64_t world = 0;
  };
  static Place Mine();

  // Of ranks 0, 1, ...; those in other places than this process's world are left out, and so is
  // this process.
  explicit Neighbours(std::span<const Place> ranks);
  ~Neighbours();
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  // A rank whose process has ended; -1 if none is known to have. Allocates nothing.
  int Ended();

 private:
  std::vector<pollfd> processes_;
  std::vector<int> ranks_;  // of each
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_NEIGHBOURS_H_
