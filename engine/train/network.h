// A bound network: layers, a loss and their memory, ready to train and to predict.
//
//   Context ctx;
//   auto net = Network::Bind(ctx, Sequential(Linear(64), BatchNorm(), Relu(), Linear(1)),
//   BceWithLogitsLoss(),
//                            {.input = {32, 20}});
#ifndef LOCKSTEP_ENGINE_TRAIN_NETWORK_H_
#define LOCKSTEP_ENGINE_TRAIN_NETWORK_H_

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/layer.h"
#include "engine/loss.h"
#include "engine/optim/optimizer.h"
#include "engine/parallel/context.h"
#include "engine/plan/planner.h"
#include "engine/plan/workspace.h"

namespace lockstep {

struct NetworkOptions {
  Shape input{};      // of x at the largest batch: (batch, ...)
  uint64_t seed = 0;  // of initial parameters and of random layers
  int shards = 1;     // fixed ranges that the batch is summed in: part of what decides a run's bits
  bool training = true;      // false: Forward only, and less memory
  bool share_memory = true;  // see PlannerOptions::share
};

// What of a training step is not in the batch.
struct StepOptions {
  uint64_t index = 0;        // of the step in the run
  int64_t first_sample = 0;  // of this batch within the global batch
  bool accumulate = false;   // add to the gradients of the step before: micro-batches
  double gradient_scale = 1.0;
  // What the loss is divided by before it is differentiated. 0: its own weight, so that the
  // gradients are those of the mean. Whoever hands in a batch in parts gives all parts the same.
  double divisor = 0.0;
  StepObserver* observer = nullptr;
};

struct StepResult {
  LossSum loss{};
  bool skipped = false;  // a layer's policy left the batch out: no gradient, nothing changed
  double mean() const { return loss.sum / loss.weight; }
};

// Ownership: owns layers, loss and memory; borrows the Context, which must outlive it. Movable. One
// thread at a time.
class Network {
 public:
  // Infers all shapes and makes all memory. An error names the layer, and the shapes that do not
  // fit. `loss` may be null for a network that only predicts.
  static Result<Network> Bind(Context& ctx, std::unique_ptr<Layer> layers,
                              std::unique_ptr<Loss> loss, const NetworkOptions& options);
  template <std::derived_from<Layer> L, std::derived_from<Loss> O>
  static Result<Network> Bind(Context& ctx, L layers, O loss, const NetworkOptions& options) {
    return Bind(ctx, std::make_unique<L>(std::move(layers)), std::make_unique<O>(std::move(loss)),
                options);
  }
  template <std::derived_from<Layer> L>
  static Result<Network> Bind(Context& ctx, L layers, NetworkOptions options) {
    options.training = false;
    return Bind(ctx, std::make_unique<L>(std::move(layers)), nullptr, options);
  }

  // x (samples, ...) and target as the loss wants it, samples <= the bound batch. Allocates nothing
  // unless it fails.
  //
  // Gradients(): forward, loss, backward. gradients = gradient_scale * d(mean loss)/d(parameters)
  // (or as options.divisor says), added where asked. TrainStep(): the same, and one update at the
  // optimizer's own learning rate; returns the mean loss before it. The optimizer is bound at its
  // first step. A loss or gradient that is not finite is an error that names the layer.
  Result<StepResult> Gradients(ConstTensor x, ConstTensor target, const StepOptions& options = {});
  Result<double> TrainStep(ConstTensor x, ConstTensor target, Optimizer& optimizer);

  // Evaluation mode. Predict writes y (samples, ...); Evaluate returns the loss; output() is y of
  // the last forward pass.
  Status Predict(ConstTensor x, Tensor y, StepObserver* observer = nullptr);
  Result<LossSum> Evaluate(ConstTensor x, ConstTensor target, StepObserver* observer = nullptr);
  // The loss of a forward pass in the wrong mode, with batch statistics and dropout, for those who
  // study that mistake.
  Result<LossSum> EvaluateInTrainingMode(ConstTensor x, ConstTensor target, uint64_t index = 0);
  ConstTensor output() const { return output_; }

  const Shape& input_shape() const { return input_; }  // at the largest batch
  const Shape& output_shape() const { return y_shape_; }
  Layer& layers() { return *layers_; }
  Loss* loss() { return loss_.get(); }
  const Loss* loss() const { return loss_.get(); }
  Context& context() const { return *ctx_; }
  const Planner& plan() const { return *plan_; }
  const Workspace& workspace() const { return *workspace_; }
  ParameterSet parameters() const { return workspace_->parameters(); }
  std::span<const StateInfo> states() const { return workspace_->states(); }
  Tensor state(size_t i) const { return workspace_->state(i); }
  int64_t parameter_count() const;
  // All memory held, in bytes; an optimizer's states come on top.
  int64_t bytes() const {
    return workspace_->parameter_bytes() + workspace_->gradient_bytes() + workspace_->arena_bytes();
  }

  // Whoever writes parameters or states (an optimizer, a checkpoint, an average) says so here: what
  // layers derived from them is made anew.
  void ParametersChanged() { ++version_; }

 private:
  Network() = default;
  Status Check(ConstTensor x, const ConstTensor* target) const;
  Step MakeStep(Mode mode, const StepOptions& options) const;
  Result<LossSum> Run(const Step& step, ConstTensor x, const ConstTensor* target, Tensor y);
  Status ExplainNonFinite(Step step, ConstTensor x, Tensor y, double loss);

  Context* ctx_ = nullptr;
  std::unique_ptr<Layer> layers_;
  std::unique_ptr<Loss> loss_;
  std::unique_ptr<Planner> plan_;
  std::unique_ptr<Workspace> workspace_;
  NetworkOptions options_;
  Shape input_, y_shape_;
  bool needs_x_ = false, needs_y_ = false;
  Buffer<float> y_, dy_;
  ConstTensor output_;
  uint64_t version_ = 1;
  int64_t admitted_ = -1;  // samples that the layers agreed to predict last
  uint64_t steps_ = 0;     // of TrainStep
  const Optimizer* bound_optimizer_ = nullptr;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_NETWORK_H_
