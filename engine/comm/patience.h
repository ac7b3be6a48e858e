// How long a rank has waited for others, and what follows from it (Communicator::Watch).
#ifndef LOCKSTEP_ENGINE_COMM_PATIENCE_H_
#define LOCKSTEP_ENGINE_COMM_PATIENCE_H_

#include <chrono>
#include <cmath>
#include <string>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1 {

// Of one wait; made when it begins. On one thread.
class Patience {
 public:
  explicit Patience(const Communicator::Watch& watch)
      : watch_(watch), next_(watch.slow_after > 0.0 ? watch.slow_after : HUGE_VAL) {}

  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  // Until somebody is to be told, or the wait given up.
  double seconds_left() const {
    const double end = watch_.give_up_after > 0.0 ? watch_.give_up_after : HUGE_VAL;
    return std::fmin(next_, end) - seconds();
  }
  // To be called now and then while waiting; `what()` says for what and from whom. An error once
  // the wait is to be given up.
  template <class What>
  Status Check(const What& what) {
    const double now = seconds();
    if (watch_.give_up_after > 0.0 && now >= watch_.give_up_after) {
      return Status::Io("waited " + std::to_string(static_cast<int64_t>(now)) + " s for " + what() +
                        " and gave up");
    }
    if (now < next_) return Status::Ok();
    next_ = 2.0 * now;
    if (watch_.slow) watch_.slow(what(), now);
    return Status::Ok();
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Communicator::Watch& watch_;
  Clock::time_point begin_ = Clock::now();
  double next_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_PATIENCE_H_
