// Predictions on many threads from one set of weights, which may be replaced while they are made.
//
//   LOCKSTEP_TRY_ASSIGN(auto predictor, SharedPredictor::Make(net, /*batch=*/1, samples));
//   // on each thread:
//   LOCKSTEP_TRY_ASSIGN(auto worker, predictor.MakeWorker());
//   LOCKSTEP_TRY(worker.Run(x, y));
//   // on the thread that goes on training `net`:
//   LOCKSTEP_TRY(predictor.Publish(net));
//
// A set of weights is immutable: parameters, statistics, and what evaluation makes of them (batch
// norms folded, weights as products read them), once, when it is published. Workers read it and
// write only to memory of their own. Each call is answered by one whole set, the newest that was
// published before the call began; a set is freed when the last worker that used it has gone on to
// another one, which it does in its next call, or is gone.
#ifndef LOCKSTEP_ENGINE_TRAIN_SHARED_PREDICTOR_H_
#define LOCKSTEP_ENGINE_TRAIN_SHARED_PREDICTOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"
#include "engine/io/stored_tensor.h"
#include "engine/parallel/context.h"
#include "engine/train/decision.h"
#include "engine/train/interpretation.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// Thread-safe: all functions, on any threads at the same time. Copies stand for the same predictor.
// It shares the layers of the network that it was made of, and borrows nothing: that network may go
// on training or be gone.
class SharedPredictor {
 public:
  class Worker;

  // With the network's weights as they are now, for up to `batch` samples at a time. What stands
  // around the network is as Interpretation::Make says; by itself y is the network's output. Not while
  // a step of `network` runs.
  static Result<SharedPredictor> Make(const Network& network, int64_t batch,
                                      const DatasetInfo& samples = {.task = Task::kRegression},
                                      std::optional<Standardizer> standardizer = std::nullopt,
                                      const Decision& decision = {});

  // Everything that one thread needs, of up to batch() samples: the engine's memory for their
  // values, and a list of operations. Takes as long as to bind a network. Predictions do not wait
  // for it.
  Result<Worker> MakeWorker() const;

  // From here on the weights are those of `network`, of the same layers (not while a step of it
  // runs), or these: of ModelTensors(), or of ModelCopy::tensors() of the best or averaged ones.
  // All parameters and states, by name; an error names the first that is missing or of another
  // shape or type, and nothing has changed then. Predictions do not wait for it.
  Status Publish(const Network& network);
  Status Publish(std::span<const NamedTensor> weights);
  // And from the same call on, what stands around them: of a model that was trained anew.
  Status Publish(const Network& network, const DatasetInfo& samples,
                 std::optional<Standardizer> standardizer, const Decision& decision = {});

  // How many sets have been published; Make's is the first.
  uint64_t version() const;
  int64_t batch() const;
  const Shape& input_shape() const;  // of batch() samples
  const Shape& output_shape() const;

 private:
  struct Set;
  struct Core;
  explicit SharedPredictor(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  std::shared_ptr<Core> core_;
};

// One thread at a time; as many workers at a time as there are. Movable. It may outlive the
// predictor that it comes from, and answers by the last set then.
class SharedPredictor::Worker {
 public:
  // x (samples, ...), y (samples, ...) as the network's output, samples <= batch(): the same bits
  // as Network::Predict and a Predictor around it give. Computes on the calling thread alone; takes
  // no lock and allocates nothing, but in the first call after a Publish and where it fails.
  Status Run(ConstTensor x, Tensor y);
  // The same of a model of several inputs or outputs: as Network::Predict, with nothing around it.
  Status Predict(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs);

  // Of the set that the last call was answered by (before the first: that would have been).
  uint64_t version() const { return version_; }
  int64_t ClassOf(std::span<const float> predictions) const;

 private:
  friend class SharedPredictor;
  Worker(std::shared_ptr<Core> core, std::unique_ptr<Context> context, Network network);
  void Follow();

  std::shared_ptr<Core> core_;
  std::shared_ptr<const Set> set_;
  uint64_t version_ = 0;
  std::unique_ptr<Context> context_;  // of this thread alone
  Network network_;
  std::vector<float> room_;  // for samples, standardised
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_SHARED_PREDICTOR_H_
