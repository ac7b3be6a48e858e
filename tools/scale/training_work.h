// One training step of a network that can be repeated: what is measured, at one place (threads,
// ranks, batch) of a scaling curve.
#ifndef LOCKSTEP_TOOLS_SCALE_TRAINING_WORK_H_
#define LOCKSTEP_TOOLS_SCALE_TRAINING_WORK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/data/loader.h"
#include "engine/optim/optimizer.h"
#include "engine/parallel/context.h"
#include "engine/train/network.h"
#include "engine/train/training_step.h"

namespace lockstep::inline v0_1::scale {

struct WorkPlace {
  int threads = 1;
  int64_t batch = 1;  // samples of the global batch
  int shards = 1;
  Communicator* communicator = nullptr;  // null: one process. Borrowed

  int ranks() const { return communicator == nullptr ? 1 : communicator->size(); }
  int rank() const { return communicator == nullptr ? 0 : communicator->rank(); }
  // The samples of the largest batch that this rank holds.
  int64_t samples_here() const {
    return BatchCut::OfRank(batch, shards, rank(), ranks()).samples();
  }
};

// Owns network, optimizer, threads and samples; borrows the communicator. One thread at a time;
// Step is collective where there are several ranks.
class TrainingWork {
 public:
  struct Parts {
    std::unique_ptr<Context> context;
    Network network;
    std::unique_ptr<Optimizer> optimizer;
    TrainingStepOptions step{};
    // This rank's samples, as the model's inputs; copied. Unused where there is a loader.
    std::vector<ConstTensor> inputs{};
    // Every step takes its next batch from here.
    std::unique_ptr<Loader> loader{};
  };
  static Result<std::unique_ptr<TrainingWork>> Make(const WorkPlace& place, Parts parts);

  // One whole step, update included. The learning rate is 0: weights stay what they are, so every
  // step is the same work, and none of a thousand on one batch ends in NaN.
  Status Step(StepObserver* observer = nullptr);
  // The optimizer alone.
  Status Update();

  Network& network() { return parts_.network; }
  const Optimizer& optimizer() const { return *parts_.optimizer; }
  const WorkPlace& place() const { return place_; }
  // Times that a step goes through the network's largest batch.
  double parts_per_step() const {
    return static_cast<double>(place_.samples_here()) / static_cast<double>(parts_.network.batch());
  }

 private:
  TrainingWork(const WorkPlace& place, Parts parts) : place_(place), parts_(std::move(parts)) {}
  void CopyInputs();

  WorkPlace place_;
  Parts parts_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<ConstTensor> inputs_;
  std::unique_ptr<TrainingStep> step_;
  uint64_t index_ = 0;
};

// Makes the same model's work at any place.
using MakeWork = std::function<Result<std::unique_ptr<TrainingWork>>(const WorkPlace&)>;

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_TRAINING_WORK_H_
