// How the ranks of a run exchange what a step needs. One rank is one process; a run of one process
// has one rank.
//
// Whatever is summed over ranks is summed in the fixed binary tree of engine/parallel/shards.h over
// the ranks in order, so that a run's bits depend on the number of shards and not on how many ranks
// hold them.
#ifndef LOCKSTEP_ENGINE_COMM_COMMUNICATOR_H_
#define LOCKSTEP_ENGINE_COMM_COMMUNICATOR_H_

#include <cstddef>
#include <span>

#include "engine/base/status.h"

namespace lockstep {

// Collective: every rank calls the same functions in the same order, from the thread that made the
// communicator.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // in [0, size())
  virtual int size() const = 0;

  // all[r * mine.size() ...] = rank r's `mine`, on every rank. all.size() == size() * mine.size().
  virtual Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  // data[i] = the tree sum of data[i] over ranks, on every rank.
  virtual Status AllReduce(std::span<float> data) = 0;
  // data = root's data, on every rank.
  virtual Status Broadcast(std::span<std::byte> data, int root) = 0;
};

// The communicator of a run of one process.
class SingleProcess final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  Status AllReduce(std::span<float> data) override;
  Status Broadcast(std::span<std::byte> data, int root) override;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_COMMUNICATOR_H_
