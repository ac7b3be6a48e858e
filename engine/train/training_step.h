// One training step on a global batch: what the training loop, Network::TrainStep and the C
// interface have in common.
//
//   check -> weights of all targets, over all ranks
//   forward, losses, backward (part by part) -> exchange -> norm, clip -> update
//
// Each loss is divided once, by the weight of its targets in the whole global batch, so that the
// mean is right for any weights and any cut; what ranks and parts add up are terms of one tree over
// the shards. Where anything fails, on whichever rank, parameters, statistics, optimizer and
// predictions are on every rank as they were before. Two failures do not end so. Where ranks lose
// each other after the update, while new weights are on their way, the network refuses every call
// until a checkpoint has been loaded. And where an operation throws on one of several ranks, that
// rank ends its step with the error and leaves its communicator in the middle of it: the others
// learn of it when that communicator goes (what an observer throws reaches all ranks).
#ifndef LOCKSTEP_ENGINE_TRAIN_TRAINING_STEP_H_
#define LOCKSTEP_ENGINE_TRAIN_TRAINING_STEP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/optim/clip.h"
#include "engine/optim/optimizer.h"
#include "engine/train/gradient_exchange.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

struct TrainingStepOptions {
  double clip_norm = 0.0;  // global norm of the gradients; 0: not clipped
  // The batch goes through the network in up to this many parts, one after another, which add up to
  // it; the network needs to be bound for one part only. Where parts are whole shards, a power of
  // two for each, cutting changes no bit (but with batch norm, whose statistics are those of a
  // part).
  int64_t parts = 1;
  Wire wire = Wire::kF32;  // how gradients travel between ranks
};

// This process's samples of a global batch, as the model's inputs.
struct GlobalBatch {
  std::span<const ConstTensor> inputs{};
  int64_t samples = 0;  // in `inputs`
  int64_t global_samples = 0;
  // Why this rank has no batch: all ranks then leave the step with this error. Null: it has one.
  const Status* failure = nullptr;
};

struct TrainingStepReport {
  LossSum loss{};  // of the whole global batch, before the update
  // Nothing was updated: a layer's policy left the batch out, or all of its samples have weight 0.
  bool skipped = false;
  bool any_wish = false;                  // some rank brought a wish
  std::optional<double> gradient_norm{};  // before clipping; only where clip_norm asks for it
};

// A part of this process's samples of a global batch, as it goes through the network.
struct BatchPart {
  BatchCut cut;
  int64_t first = 0;  // sample within this process's
};
// How a step cuts its share of a batch of `global_samples`: into as few parts as the network's
// batch allows, at most `most_parts`. Allocates nothing once `parts` has room for them.
void CutIntoParts(const Network& network, int64_t most_parts, int64_t global_samples,
                  std::vector<BatchPart>& parts);

// Borrows the network. One thread at a time; collective where the network has several ranks.
class TrainingStep {
 public:
  // An error if the network does not train, or the parts do not fit ranks and shards.
  static Result<std::unique_ptr<TrainingStep>> Make(Network& network,
                                                    const TrainingStepOptions& options);

  // The most samples that a step can take in this process.
  int64_t largest_batch() const;

  // Binds the optimizer to what this process updates: all parameters, or, of several ranks, its
  // share (GradientExchange). Run does so where it is not bound. An error where it was bound to
  // anything else.
  Status BindOptimizer(Optimizer& optimizer);

  // Null where there are no other ranks.
  const GradientExchange* exchange() const { return gradients_.get(); }

  // `wish`: carried to all ranks, see TrainingStepReport. An optimizer that may fail in the middle
  // of its update (Optimizer::never_fails) costs a copy of all parameters and its states.
  Result<TrainingStepReport> Run(const GlobalBatch& batch, uint64_t index, Optimizer& optimizer,
                                 double learning_rate, bool wish = false,
                                 StepObserver* observer = nullptr);

 private:
  TrainingStep(Network& network, const TrainingStepOptions& options);
  static Result<std::unique_ptr<TrainingStep>> MakeStep(Network& network,
                                                        const TrainingStepOptions& options);
  int64_t ranks() const { return communicator_ == nullptr ? 1 : communicator_->size(); }
  int64_t rank() const { return communicator_ == nullptr ? 0 : communicator_->rank(); }

  using Part = BatchPart;
  Status BookExchange();
  int64_t CellsOf(int rank) const;
  Status CutBatch(const GlobalBatch& batch);
  void StartPart(const Part& part, const GlobalBatch& batch);
  Step StepOf(const Part& part, uint64_t index, const GlobalBatch& batch);
  Status CheckTargets(const GlobalBatch& batch, uint64_t index);
  Status CheckBatch(const GlobalBatch& batch, uint64_t index, Optimizer& optimizer,
                    double learning_rate, bool* skipped);
  Result<TrainingStepReport> RunStep(const GlobalBatch& batch, uint64_t index, Optimizer& optimizer,
                                     double learning_rate, bool wish, StepObserver* observer);
  Status RunParts(const GlobalBatch& batch, uint64_t index, StepObserver* observer);
  void MergeParts(std::span<double> totals);
  void MergeOlderParts(size_t part);
  Status Exchange(const Status& mine, bool wish, std::span<double> numbers, bool* any_wish,
                  bool cells = false);
  Result<double> CheckGradients(ParameterSet parameters);
  Status ShareGradients(const Status& mine, ParameterSet parameters);
  Status UpdateOrPutBack(Optimizer& optimizer, ParameterSet parameters, double learning_rate,
                         double scale);
  Status ShareUpdate();

  Network& network_;
  TrainingStepOptions options_;
  Communicator* communicator_;
  std::vector<ConstTensor> part_inputs_;
  std::vector<Part> parts_;
  bool regular_ = true;                           // parts are subtrees of the tree over the shards
  std::vector<double> sums_, weights_, factors_;  // by loss
  std::vector<double> part_sums_;                 // by part and loss
  std::vector<double> record_, records_;          // of this rank, of all
  bool takes_states_ = false;                     // of rank 0, after each step
  size_t most_cells_ = 0;                         // of gradient_norm_, that a rank owns
  std::atomic<bool> not_finite_{false};           // an operation has found such a gradient
  std::vector<PageMemory> older_;                 // gradients of parts that wait for a partner
  size_t waiting_ = 0;
  GradientNorm gradient_norm_;
  std::unique_ptr<GradientExchange> gradients_;  // of several ranks
  std::function<void(int parameter)> final_;     // tells it of each gradient
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_TRAINING_STEP_H_
