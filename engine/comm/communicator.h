// How the ranks of a run exchange what a step needs. One rank is one process (or, for tests and
// hosts that want it so, one thread: thread_ranks.h); a run of one process has one rank.
//
// Whatever is summed over ranks is summed in the fixed binary tree of engine/parallel/shards.h over
// the ranks in order, so that a run's bits depend on the number of shards and not on how many ranks
// hold them. Communicators carry bytes; none of them adds a float.
#ifndef LOCKSTEP_ENGINE_COMM_COMMUNICATOR_H_
#define LOCKSTEP_ENGINE_COMM_COMMUNICATOR_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// One message each. Borrowed: the memory stays where it is while the Exchange lives.
struct Outgoing {
  int to = 0;
  std::span<const std::byte> bytes{};
};
struct Incoming {
  int from = 0;
  std::span<std::byte> bytes{};
};

// Messages that are sent and received together, again and again, without allocating. Outlived by
// its communicator. Between Start and the Done that is true, outgoing memory is not written and
// incoming memory not looked at.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // Starts all messages. REQUIRES: the last Start is done.
  virtual Status Start() = 0;
  // Moves messages on where that needs a hand, and says whether all have arrived. Never blocks.
  virtual Result<bool> Done() = 0;
  // Until Done; calls Communicator::Watch::slow while it lasts.
  virtual Status Wait() = 0;
};

// Collective: every rank calls the same functions in the same order, from the thread that made the
// communicator. An error of any of them (a rank has gone, a wait was given up) leaves a
// communicator of which nothing more can be expected: the run ends and is resumed from its last
// checkpoint.
class Communicator {
 public:
  // What becomes of a rank that waits. `slow` is called on the waiting thread, once after
  // `slow_after` seconds and then each time the wait has become twice as long, with what it waits
  // for and from whom ("gradients of 3.weight from rank 2"). A wait of give_up_after seconds (0:
  // never) is an error.
  struct Watch {
    double slow_after = 10.0;
    double give_up_after = 0.0;
    std::function<void(const std::string& what, double seconds)> slow{};
  };

  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // in [0, size())
  virtual int size() const = 0;

  // Books messages that are sent again and again; `what` names them for Watch. Message i from one
  // rank to another is message i that the other booked from it, in an exchange of the same number
  // in the order of Book calls, and as long; none is to oneself. Collective: ranks with nothing to
  // exchange book nothing at the same place.
  virtual Result<std::unique_ptr<Exchange>> Book(std::string what, std::vector<Outgoing> outgoing,
                                                 std::vector<Incoming> incoming) = 0;

  // all[r * mine.size() ...] = rank r's `mine`, on every rank. all.size() == size() * mine.size();
  // `mine` may be its own place in `all`.
  virtual Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  // data = root's data, on every rank.
  virtual Status Broadcast(std::span<std::byte> data, int root) = 0;

  // data[i] = the tree sum of data[i] over ranks, on every rank. For small or rare sums: every rank
  // receives what all others have (gradients: engine/train/gradient_exchange.h).
  Status AllReduce(std::span<float> data);
  // Returns once every rank has come here.
  Status Barrier();

  void set_watch(Watch watch) { watch_ = std::move(watch); }
  const Watch& watch() const { return watch_; }
  // Seconds this rank has spent waiting for others, and bytes it has sent them, since it was made.
  double waited_seconds() const { return waited_seconds_; }
  double sent_bytes() const { return sent_bytes_; }

 protected:
  Watch watch_;
  double waited_seconds_ = 0.0, sent_bytes_ = 0.0;

 private:
  std::vector<float> gathered_;  // of AllReduce
};

// The communicator of a run of one process.
class SingleProcess final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Result<std::unique_ptr<Exchange>> Book(std::string what, std::vector<Outgoing> outgoing,
                                         std::vector<Incoming> incoming) override;
  Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  Status Broadcast(std::span<std::byte> data, int root) override;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_COMMUNICATOR_H_
