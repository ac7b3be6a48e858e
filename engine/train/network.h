// A bound network: a model, its losses and their memory, ready to train and to predict.
//
//   Context ctx;
//   auto net = Network::Bind(ctx, Sequential(Linear(64), BatchNorm(), Relu(), Linear(1)),
//                            BceWithLogitsLoss(), {.input = {32, 20}});
#ifndef LOCKSTEP_ENGINE_TRAIN_NETWORK_H_
#define LOCKSTEP_ENGINE_TRAIN_NETWORK_H_

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/layer.h"
#include "engine/loss.h"
#include "engine/model.h"
#include "engine/optim/optimizer.h"
#include "engine/parallel/context.h"
#include "engine/plan/parameters.h"
#include "engine/plan/program.h"

namespace lockstep::inline v0_1 {

class TrainingStep;

struct NetworkOptions {
  Shape input{};  // of x at the largest batch in this process: (batch, ...). For a Model: the batch
                  // alone counts, its inputs have shapes of their own
  DType input_dtype = DType::kF32;
  uint64_t seed = 0;  // of initial parameters and of random layers
  // Fixed ranges that the global batch is summed in: part of what decides a run's bits. With
  // several ranks each holds shards / ranks of them, which must be a power of two.
  int shards = 1;
  // The most parts that batches will be computed in, TrainingStepOptions::parts. Only a network in
  // which several operations share a parameter must know, to add up what each gives it by itself.
  int64_t parts = 1;
  // How many samples an Evaluator takes at a time, the same on every rank; 0: as many as `input`
  // says. Predict and Evaluate take as many as the larger of the two.
  int64_t evaluation_batch = 0;
  bool training = true;  // false: Predict and Evaluate only, and less memory
  // The processes that share each global batch; null: this one alone. Borrowed.
  Communicator* communicator = nullptr;
  // Of layers with a loss: each sample has a weight, a third input behind x and target (AddLoss).
  //   LOCKSTEP_TRY(
  //       net.TrainStep(std::array{x, target, ConstTensor(weights, {32})}, adam).status());
  bool weighted = false;
  // Shell patterns on names of parameters ("body.*") that training does not change. A batch norm
  // whose weight is frozen normalises by its running statistics. One that matches nothing is an
  // error, kNotFound. What is frozen costs nothing in backward, so it is decided here: to freeze
  // something else later, bind another network and let a ModelCopy carry the weights over
  // (tools/examples/frozen_body.cc).
  std::vector<std::string> frozen{};
  // Layers ("3", "body.1") whose outputs can be read after each step, see output(name).
  std::vector<std::string> layer_outputs{};
  bool input_gradient = false;  // of the loss with respect to x, see input_gradient()
  bool share_memory = true;     // see ProgramOptions
  Fusion fusion = Fusion::kAll;
};

// What of Network::Gradients is not in the batch.
struct StepOptions {
  uint64_t index = 0;        // of the step in the run
  int64_t first_sample = 0;  // of this batch within the global batch
  bool accumulate = false;   // add to the gradients of the call before
  double gradient_scale = 1.0;
  // What each loss is divided by before it is differentiated. 0: its own weight, so that the
  // gradients are those of the mean.
  double divisor = 0.0;
  StepObserver* observer = nullptr;
};

struct StepResult {
  LossSum loss{};        // of several losses: sum is their weighted mean, and weight 1
  bool skipped = false;  // a layer's policy left the batch out: no gradient, nothing changed
  double mean() const { return loss.sum / loss.weight; }
};

// Ownership: owns model, losses (with others, see BindShared) and memory; borrows the Context and
// the Communicator, which must outlive it. Movable: what borrows a network (Predictor, Trainer)
// borrows it from its place. Calls on one that was moved from return an error. One thread at a time.
//
// Errors. Arguments are checked before anything moves: type, shape, number of samples, memory that
// is null, misaligned, or overlaps with what is written; the error (kInvalid) names the argument.
// What a layer, a loss, an optimizer or an observer throws comes back as a Status on the calling
// thread (engine/base/catch.h). A call that fails, whatever the reason, leaves parameters, states,
// optimizer and predictions bit for bit as they were. One failure cannot be undone: where ranks
// lose each other after the update, while new weights are on their way. The network then refuses
// every call (kIo) until a checkpoint has been loaded.
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
  // A model of any inputs, outputs and losses. Bind sets options.input to (batch) of `batch`.
  static Result<Network> Bind(Context& ctx, std::unique_ptr<Model> model, int64_t batch,
                              NetworkOptions options);
  template <std::derived_from<Model> M>
  static Result<Network> Bind(Context& ctx, M model, int64_t batch, NetworkOptions options) {
    return Bind(ctx, std::make_unique<M>(std::move(model)), batch, std::move(options));
  }

  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;
  ~Network();

  // One training step on a whole batch (of this process alone): gradients and one update, at the
  // optimizer's own learning rate. `inputs` are those of the model in the order in which it added
  // them, targets among them; each (samples, ...), samples <= the bound batch. Returns the mean
  // loss before the update; NaN where a layer's policy left the batch out, or all of its samples
  // have weight 0. The optimizer is bound at its first step and belongs to this network from then
  // on; several may take turns, and each may be made anew at any time. Its learning rate can be set
  // between steps. Allocates nothing unless it fails. A loss or gradient that is not finite is an
  // error that names the layer.
  Result<double> TrainStep(std::span<const ConstTensor> inputs, Optimizer& optimizer);
  Result<double> TrainStep(ConstTensor x, ConstTensor target, Optimizer& optimizer);

  // Forward, loss and backward alone; then gradients = gradient_scale * d(mean loss)/d(parameters)
  // (or as options.divisor says), added where asked. Statistics of batch norms move. After a call
  // that failed the gradients are lost: the next must not accumulate.
  Result<StepResult> Gradients(std::span<const ConstTensor> inputs,
                               const StepOptions& options = {});
  Result<StepResult> Gradients(ConstTensor x, ConstTensor target, const StepOptions& options = {});

  // Evaluation mode. Predict writes each output y (samples, ...), given all inputs that are no
  // targets; Evaluate returns the loss.
  Status Predict(ConstTensor x, Tensor y, StepObserver* observer = nullptr);
  Status Predict(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs,
                 StepObserver* observer = nullptr);
  Result<LossSum> Evaluate(ConstTensor x, ConstTensor target, StepObserver* observer = nullptr);
  Result<LossSum> Evaluate(std::span<const ConstTensor> inputs, StepObserver* observer = nullptr);
  // The loss of a forward pass in the wrong mode, with batch statistics and dropout, for those who
  // study that mistake. Statistics move, unless the loss is not finite, which is an error.
  Result<LossSum> EvaluateInTrainingMode(ConstTensor x, ConstTensor target, uint64_t index = 0);

  // Of the last pass, until the next: the first output; an output or a layer of
  // NetworkOptions::layer_outputs by name (empty if there is none of that name); the gradient of
  // the loss with respect to the first input (empty if the pass had no backward). All are empty
  // before the first pass and after one that failed. An output that Predict was given memory for is
  // there, in the caller's memory, and only for as long as that lives. In training the scores of
  // many classes may never exist as a whole (engine/plan/rules.h): that output is empty after such
  // a pass, unless it is among layer_outputs.
  ConstTensor output() const { return last_ == nullptr ? ConstTensor() : last_->output(0); }
  ConstTensor output(const std::string& name) const;
  ConstTensor input_gradient() const;

  const Shape& input_shape() const { return input_; }  // of x at the largest batch
  const Shape& output_shape() const { return output_; }
  int64_t batch() const { return options_.input.batch(); }
  int64_t evaluation_batch() const {
    return options_.evaluation_batch > 0 ? options_.evaluation_batch : batch();
  }
  size_t feature_inputs() const { return feature_inputs_.size(); }  // that are no targets
  bool trains() const { return options_.training; }
  int shards() const { return options_.shards; }
  Communicator* communicator() const { return options_.communicator; }
  const Loss* loss() const { return loss_.get(); }
  bool weighted() const { return options_.weighted; }
  Context& context() const { return There(ctx_); }
  // What is run: in a training step, and in evaluation.
  const Program& training_program() const { return There(training_program_); }
  const Program& evaluation_program() const { return There(evaluation_program_); }
  // Of the training program where there is one.
  const Program& program() const {
    return training_program_ != nullptr ? *training_program_ : evaluation_program();
  }
  const LayerTraits& layer_traits() const { return program().graph().traits(); }

  ConstParameterSet parameters() const { return store().parameters(); }
  std::span<const StateInfo> states() const { return store().states(); }
  ConstTensor state(size_t i) const { return store().state(i); }
  // For whoever changes parameters or states: while the result lives, nothing runs.
  ParameterWriter Write() { return ParameterWriter(store()); }
  ParameterStore& store() const { return There(store_); }
  int64_t parameter_count() const;
  // All memory held, in bytes; an optimizer's states come on top.
  int64_t bytes() const {
    return store().parameter_bytes() + store().gradient_bytes() + arena_bytes();
  }
  int64_t arena_bytes() const { return arena_.bytes(); }
  // What a step may find overwritten: for tests that poison it.
  std::span<std::byte> step_memory() const {
    return {arena_.data(), static_cast<size_t>(step_bytes_)};
  }

  // The graph of the model for evaluation, built anew for one sample: for export.
  Result<std::unique_ptr<Program>> BuildForExport(Fusion fusion, PageMemory& memory) const;
  // The same for a text that goes on: up to `tokens_at_once` tokens (n, 1) a step, of `most_tokens`
  // in all (PlanOptions::cache_tokens). A model of layers only, or one that adds such an input.
  Result<std::unique_ptr<Program>> BuildForText(int64_t tokens_at_once, int64_t most_tokens,
                                                PageMemory& memory) const;
  // The same for derivatives: at most `samples` at a time, computed as in evaluation, without the
  // model's losses. `finish` wants gradients of inputs and adds what is differentiated in place of
  // the losses (jacobian.h).
  Result<std::unique_ptr<Program>> BuildForDerivatives(int64_t samples,
                                                       const std::function<Status(Graph&)>& finish,
                                                       PageMemory& memory) const;

  // For who predicts with weights that are not a network's own (shared_predictor.h). A network of
  // the same layers that only predicts: on `ctx`, up to `batch` samples at a time, on their own
  // alone. Nothing runs before UseWeights. It may outlive this one.
  Result<Network> BindShared(Context& ctx, int64_t batch) const;
  // Of all that such a network reads: parameters, states, what is derived from them.
  int64_t weight_bytes() const {
    return store_->parameter_bytes() + store_->state_bytes() + evaluation_program_->derived_bytes();
  }
  // From here on its weights are there: weight_bytes(), borrowed, and read only. Networks of one
  // BindShared, and of one batch, may read the same. Allocates nothing from the second call on.
  void UseWeights(std::byte* weights);
  // For the first of them: parameters and states there have been written, the rest is made of them.
  void DeriveWeights();

 private:
  friend class TrainingStep;
  static constexpr char kMovedFrom[] = "this network was moved from: use the one it was moved to";
  Network();
  // What a pointer points to, unless it went with a move (or there is no such thing here).
  template <class Pointer>
  typename std::pointer_traits<Pointer>::element_type& There(const Pointer& pointer) const {
    if (pointer == nullptr) RefuseAccess();
    return *pointer;
  }
  [[noreturn]] void RefuseAccess() const;
  Status CheckReady(bool to_train = false) const;
  Result<Graph> Build(PlanOptions plan) const;
  Status BuildPrograms(bool borrows_weights = false);
  Status Check(const Program& program, std::span<const ConstTensor> inputs, bool targets,
               int64_t most) const;
  int64_t MostEvaluated() const { return std::max(batch(), evaluation_batch()); }
  Status CheckOutputs(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs,
                      int64_t samples) const;
  // A pass begins, and has succeeded.
  void Start(Program& program, const BatchCut& cut, std::span<const ConstTensor> inputs);
  void Finish(Program& program, bool backward);
  Step MakeStep(const Program& program, const BatchCut& cut, int64_t first_sample, uint64_t index,
                bool staged) const;
  // Sum and weight of all losses together.
  static LossSum Together(const Program& program, std::span<const double> sums,
                          std::span<const double> weights);
  LossSum LossOn(const Program& program, const Step& step);
  // The public calls, before what is thrown is caught.
  Result<StepResult> RunGradients(std::span<const ConstTensor> inputs, const StepOptions& options);
  Result<double> RunTrainStep(std::span<const ConstTensor> inputs, Optimizer& optimizer);
  Status RunPredict(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs,
                    StepObserver* observer);
  Result<LossSum> RunEvaluate(std::span<const ConstTensor> inputs, StepObserver* observer);
  Result<LossSum> RunInTrainingMode(std::span<const ConstTensor> inputs, uint64_t index);
  Status ExplainNonFinite(const Step& step, double loss);

  Context* ctx_ = nullptr;
  NetworkOptions options_;
  std::shared_ptr<const Layer> layers_;
  std::shared_ptr<const Loss> loss_;
  std::shared_ptr<const Model> model_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<Program> training_program_, evaluation_program_;
  Program* last_ = nullptr;      // that ran to its end
  bool had_backward_ = false;    // the pass of last_
  bool gradients_lost_ = false;  // by a call that failed
  PageMemory arena_;             // memory of a step, then what each program keeps
  int64_t step_bytes_ = 0;
  Shape input_, output_;
  std::vector<size_t> feature_inputs_;            // those that are no targets
  std::vector<double> sums_, weights_, factors_;  // by loss
  int64_t admitted_ = -1;                         // samples that evaluation was last asked about
  uint64_t steps_ = 0;                            // of TrainStep
  std::unique_ptr<TrainingStep> step_;            // of TrainStep
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_NETWORK_H_
