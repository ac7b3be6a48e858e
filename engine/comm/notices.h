// Who of the ranks waits. A rank whose wait has become long tells all others so, and again when it
// goes on; whoever waits and hears it tells too. Who is late is then who is not known to wait: it
// computes, or stands still.
#ifndef LOCKSTEP_ENGINE_COMM_NOTICES_H_
#define LOCKSTEP_ENGINE_COMM_NOTICES_H_

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "engine/comm/rest.h"

namespace lockstep::inline v0_1 {

// Wire: `void Tell(int rank, bool waits)` sends a notice, without waiting for anyone; `bool
// Hear(int* rank, bool* waits)` takes one that has come, in the order in which its rank sent them,
// and says whether there was one.
template <class Wire>
class Notices {
 public:
  Notices(Wire wire, int rank, int size)
      : wire_(std::move(wire)), rank_(rank), waiting_(static_cast<size_t>(size)) {}
  ~Notices() { Hear(); }

  // To be called now and then in a wait that has taken `waited` seconds; all are to know of it
  // after `tell_after`.
  void Wait(double waited, double tell_after) {
    if (waited < next_look_) return;
    next_look_ = waited + kBetweenLooks;
    Hear();
    if (told_) return;
    const bool another_waits = std::find(waiting_.begin(), waiting_.end(), true) != waiting_.end();
    if (another_waits || waited >= tell_after) TellAll(true);
  }
  // Once the wait has ended.
  void GoOn() {
    next_look_ = Rest::kLong;
    if (told_) TellAll(false);
  }

  bool Waits(int rank) const { return waiting_[static_cast<size_t>(rank)]; }
  // All others that do not wait.
  std::vector<int> Late() {
    Hear();
    std::vector<int> late;
    for (int rank = 0; rank < Size(); ++rank) {
      if (rank != rank_ && !Waits(rank)) late.push_back(rank);
    }
    return late;
  }

 private:
  static constexpr double kBetweenLooks = 0.01;

  int Size() const { return static_cast<int>(waiting_.size()); }
  void Hear() {
    int rank = 0;
    bool waits = false;
    while (wire_.Hear(&rank, &waits)) waiting_[static_cast<size_t>(rank)] = waits;
  }
  void TellAll(bool waits) {
    told_ = waits;
    for (int rank = 0; rank < Size(); ++rank) {
      if (rank != rank_) wire_.Tell(rank, waits);
    }
  }

  Wire wire_;
  const int rank_;
  std::vector<char> waiting_;
  bool told_ = false;
  double next_look_ = Rest::kLong;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_NOTICES_H_
