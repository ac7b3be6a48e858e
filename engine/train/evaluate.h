// A network measured on some samples of a dataset, in evaluation mode.
#ifndef LOCKSTEP_ENGINE_TRAIN_EVALUATE_H_
#define LOCKSTEP_ENGINE_TRAIN_EVALUATE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/data/dataset.h"
#include "engine/data/loader.h"
#include "engine/train/decision.h"
#include "engine/train/metrics.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// Some samples of a dataset, in this order. A default-made one is empty.
struct Subset {
  std::shared_ptr<const Dataset> dataset{};
  std::vector<int64_t> indices{};
  bool empty() const { return indices.empty(); }
};

// Says what does not fit: samples of `dataset` against the network's input, its output, its loss.
// Samples without weights count 1 each to a network that weighs them.
Status CheckFits(const Network& network, const Dataset& dataset);

// A batch as a network takes it: x, target and, where it weighs samples, their weights.
class BatchInputs {
 public:
  BatchInputs(const Batch& batch, const Network& network)
      : tensors_{batch.x, batch.target, batch.weights}, count_(network.weighted() ? 3 : 2) {}
  std::span<const ConstTensor> all() const { return {tensors_.data(), count_}; }

 private:
  std::array<ConstTensor, 3> tensors_;
  size_t count_;
};

struct EvaluationOptions {
  // Samples at a time; 0: as many as the network was bound for (with several ranks: as the rank
  // that was bound for the fewest). The loss depends on it in its last bits.
  int64_t batch = 0;
  Communicator* communicator = nullptr;  // null: this process alone. Batches go round the ranks.
  Decision decision{};                   // the model's, for what is predicted
};

// For the same samples again and again; Evaluate() does for once. Borrows the network and the
// communicator. Thread-compatible.
class Evaluator {
 public:
  // Errors: no samples, samples that do not fit the network, a network without a loss.
  static Result<std::unique_ptr<Evaluator>> Make(Network& network, Subset samples,
                                                 const EvaluationOptions& options = {});
  // Collective. An error if an output or the loss is not finite, or the dataset throws.
  Result<EvaluationResult> Run();

  int64_t samples() const { return samples_; }

 private:
  Evaluator(Network& network, Communicator* communicator, const MetricsAccumulator::Plan& plan);
  static Result<std::unique_ptr<Evaluator>> MakeFor(Network& network, Subset samples,
                                                    const EvaluationOptions& options);
  Status RunBatches();

  Network& network_;
  SingleProcess alone_;
  Communicator& communicator_;
  std::unique_ptr<Loader> loader_;  // of this rank's batches; null if it has none
  MetricsAccumulator metrics_;
  int64_t samples_;
};

Result<EvaluationResult> Evaluate(Network& network, Subset samples,
                                  const EvaluationOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_EVALUATE_H_
