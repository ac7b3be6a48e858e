// What a rank does between two looks at whether a message has come.
#ifndef LOCKSTEP_ENGINE_COMM_REST_H_
#define LOCKSTEP_ENGINE_COMM_REST_H_

#include <algorithm>
#include <chrono>
#include <thread>

namespace lockstep::inline v0_1 {

// Of one wait. Ranks may outnumber cores, and then whoever waits stands in the way of whoever is
// waited for: after a few quick looks it offers its core to others, and in a long wait sleeps,
// never for more than a twentieth of what it has waited.
class Rest {
 public:
  // A wait that has taken so many seconds is long.
  static constexpr double kLong = 1e-3;

  void Take(double waited) {
    if (++looks_ <= kQuickLooks) return;
    if (waited < kLong) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(
          std::chrono::duration<double>(std::min(waited / 20.0, kLongestSleep)));
    }
  }

 private:
  static constexpr int kQuickLooks = 50;
  static constexpr double kLongestSleep = 1e-4;
  int looks_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_REST_H_
