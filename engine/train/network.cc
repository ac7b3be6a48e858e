#include "engine/train/network.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "engine/base/check.h"
#include "engine/base/denormals.h"
#include "engine/train/training_step.h"

namespace lockstep {
namespace {

// A layer and a loss as a model of one input and one output.
class LayerModel final : public Model {
 public:
  LayerModel(const Layer& layers, const Loss* loss, const NetworkOptions& options)
      : layers_(layers), loss_(loss), options_(options) {}

  Status Build(Graph& graph) const override {
    const bool goes_on = graph.options().cache_tokens > 0;
    const Shape shape = goes_on ? Shape{graph.batch(), 1} : options_.input.WithBatch(graph.batch());
    LOCKSTEP_TRY_ASSIGN(const Value x,
                        graph.AddInput("x", shape, options_.input_dtype, options_.input_gradient));
    LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "", layers_, x));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return loss_ == nullptr || goes_on
               ? Status::Ok()
               : AddLoss(graph, "target", *loss_, y, 1.0, options_.weighted ? "weights" : "");
  }

 private:
  const Layer& layers_;
  const Loss* loss_;
  const NetworkOptions& options_;
};

// Remembers the first layer that gave a value that is not finite.
class FirstNonFinite final : public StepObserver {
 public:
  void Before(const std::string&, bool) override {}
  void After(const std::string& layer, bool, ConstTensor result) override {
    if (layer_.empty() && !AllFinite(result)) layer_ = layer;
  }
  static bool AllFinite(ConstTensor tensor) {
    if (tensor.dtype() != DType::kF32) return true;
    for (const float v : tensor.span<float>()) {
      if (!std::isfinite(v)) return false;
    }
    return true;
  }
  const std::string& layer() const { return layer_; }

 private:
  std::string layer_;
};

Status CheckOptions(const NetworkOptions& options, bool has_loss) {
  if (options.input.rank() < 1 || options.input.size() <= 0) {
    return Status::Invalid("the input shape " + options.input.ToString() + " holds nothing");
  }
  if (options.evaluation_batch < 0)
    return Status::Invalid("evaluation_batch must be 0 or more, not " +
                           std::to_string(options.evaluation_batch));
  if (options.shards < 1)
    return Status::Invalid("shards must be at least 1, not " + std::to_string(options.shards));
  if (options.training && !has_loss) return Status::Invalid("a network that trains needs a loss");
  const int ranks = options.communicator == nullptr ? 1 : options.communicator->size();
  if (ranks > 1 && !BatchCut::IsRegular(options.shards, ranks)) {
    return Status::Invalid(std::to_string(options.shards) + " shards on " + std::to_string(ranks) +
                           " ranks: each rank must hold a power of two of them, so take " +
                           std::to_string(ranks) + ", " + std::to_string(2 * ranks) + ", " +
                           std::to_string(4 * ranks) + ", ... shards");
  }
  return Status::Ok();
}

}  // namespace

Network::Network() = default;
// A TrainingStep refers to its network, so each place of it makes its own.
Network::Network(Network&& other) noexcept { *this = std::move(other); }
Network& Network::operator=(Network&& other) noexcept {
  ctx_ = other.ctx_;
  options_ = std::move(other.options_);
  layers_ = std::move(other.layers_);
  loss_ = std::move(other.loss_);
  model_ = std::move(other.model_);
  store_ = std::move(other.store_);
  training_program_ = std::move(other.training_program_);
  evaluation_program_ = std::move(other.evaluation_program_);
  last_ = std::exchange(other.last_, nullptr);
  arena_ = std::move(other.arena_);
  step_bytes_ = other.step_bytes_;
  input_ = other.input_;
  output_ = other.output_;
  feature_inputs_ = std::move(other.feature_inputs_);
  sums_ = std::move(other.sums_);
  weights_ = std::move(other.weights_);
  factors_ = std::move(other.factors_);
  admitted_ = other.admitted_;
  steps_ = other.steps_;
  step_.reset();
  other.step_.reset();
  return *this;
}
Network::~Network() = default;

Result<Network> Network::Bind(Context& ctx, std::unique_ptr<Layer> layers,
                              std::unique_ptr<Loss> loss, const NetworkOptions& options) {
  LOCKSTEP_CHECK(layers != nullptr, "a network needs layers");
  LOCKSTEP_TRY(CheckOptions(options, loss != nullptr));
  Network net;
  net.ctx_ = &ctx;
  net.options_ = options;
  net.layers_ = std::move(layers);
  net.loss_ = std::move(loss);
  LOCKSTEP_TRY(net.BuildPrograms());
  return net;
}

Result<Network> Network::Bind(Context& ctx, std::unique_ptr<Model> model, int64_t batch,
                              NetworkOptions options) {
  LOCKSTEP_CHECK(model != nullptr, "a network needs a model");
  options.input = {batch};
  LOCKSTEP_TRY(CheckOptions(options, /*has_loss=*/true));
  Network net;
  net.ctx_ = &ctx;
  net.options_ = std::move(options);
  net.model_ = std::move(model);
  LOCKSTEP_TRY(net.BuildPrograms());
  return net;
}

Result<Graph> Network::Build(PlanOptions plan) const {
  Graph graph(*store_, plan, options_.frozen);
  LOCKSTEP_TRY(model_ != nullptr ? model_->Build(graph)
                                 : LayerModel(*layers_, loss_.get(), options_).Build(graph));
  if (graph.inputs().empty() || graph.outputs().empty())
    return Status::Invalid("a model needs an input and an output");
  for (const std::string& name : options_.layer_outputs) {
    const auto found = graph.layer_outputs().find(name);
    if (found == graph.layer_outputs().end())
      return Status::Invalid("there is no layer " + name + " whose output could be kept");
    LOCKSTEP_TRY(graph.AddOutput(name, found->second, /*always=*/true));
  }
  return graph;
}

Status Network::BuildPrograms() {
  store_ = std::make_unique<ParameterStore>();
  const int ranks = options_.communicator == nullptr ? 1 : options_.communicator->size();
  const ProgramOptions program{.fusion = options_.fusion, .share_memory = options_.share_memory};
  PlanOptions plan{.training = true,
                   .keeps_training = options_.training,
                   .threads = ctx_->threads(),
                   .shards = options_.shards / ranks,
                   .ranks = ranks,
                   .parts = options_.parts,
                   .samples = options_.input.batch()};
  if (options_.training) {
    LOCKSTEP_TRY_ASSIGN(Graph graph, Build(plan));
    if (graph.losses().empty()) return Status::Invalid("a network that trains needs a loss");
    LOCKSTEP_TRY_ASSIGN(training_program_, Program::Make(std::move(graph), program));
  }
  // Each rank evaluates whole batches, in all shards.
  plan.training = false;
  plan.shards = options_.shards;
  plan.ranks = 1;
  plan.parts = 1;
  plan.samples = MostEvaluated();
  LOCKSTEP_TRY_ASSIGN(Graph graph, Build(plan));
  LOCKSTEP_TRY_ASSIGN(evaluation_program_, Program::Make(std::move(graph), program));
  for (const std::string& pattern : options_.frozen) {
    const bool found =
        std::any_of(store_->infos().begin(), store_->infos().end(), [&](const ParameterInfo& info) {
          return fnmatch(pattern.c_str(), info.name.c_str(), 0) == 0;
        });
    if (found) continue;
    std::string message = "no parameter matches '" + pattern + "', to be frozen";
    if (!store_->infos().empty()) message += "; names look like " + store_->infos().front().name;
    return Status::NotFound(message);
  }

  store_->Allocate(*ctx_, options_.seed, options_.training);
  const int64_t evaluation_kept = evaluation_program_->kept_bytes();
  const int64_t training_kept = options_.training ? training_program_->kept_bytes() : 0;
  step_bytes_ = std::max(evaluation_program_->step_bytes(),
                         options_.training ? training_program_->step_bytes() : 0);
  arena_ = PageMemory(*ctx_, step_bytes_ + evaluation_kept + training_kept);
  std::byte* const kept = arena_.data() + step_bytes_;
  evaluation_program_->Place(arena_.data(), kept);
  if (options_.training) training_program_->Place(arena_.data(), kept + evaluation_kept);

  last_ = evaluation_program_.get();
  const Graph& built = evaluation_program_->graph();
  input_ = built.shape(built.inputs()[0].value).WithBatch(batch());
  output_ = built.shape(built.outputs()[0].value).WithBatch(batch());
  sums_.resize(built.losses().size());
  weights_.resize(built.losses().size());
  factors_.resize(built.losses().size());
  for (size_t i = 0; i < built.inputs().size(); ++i) {
    if (!built.IsTarget(i)) feature_inputs_.push_back(i);
  }
  return Status::Ok();
}

Result<std::unique_ptr<Program>> Network::BuildForExport(Fusion fusion, PageMemory& memory) const {
  // One sample, and the weights as they are.
  LOCKSTEP_TRY_ASSIGN(Graph graph,
                      Build({.training = false, .keeps_training = true, .samples = 1}));
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Program> program,
                      Program::Make(std::move(graph), {.fusion = fusion}));
  memory = PageMemory(*ctx_, program->step_bytes() + program->kept_bytes());
  program->Place(memory.data(), memory.data() + program->step_bytes());
  return program;
}

Result<std::unique_ptr<Program>> Network::BuildForText(int64_t tokens_at_once, int64_t most_tokens,
                                                       PageMemory& memory) const {
  LOCKSTEP_TRY_ASSIGN(Graph graph, Build({.training = false,
                                          .keeps_training = false,
                                          .threads = ctx_->threads(),
                                          .samples = tokens_at_once,
                                          .cache_tokens = most_tokens}));
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Program> program,
                      Program::Make(std::move(graph), {.fusion = options_.fusion}));
  memory = PageMemory(*ctx_, program->step_bytes() + program->kept_bytes());
  program->Place(memory.data(), memory.data() + program->step_bytes());
  return program;
}

Status Network::Check(const Program& program, std::span<const ConstTensor> inputs, bool targets,
                      int64_t most) const {
  const Graph& graph = program.graph();
  const size_t wanted = targets ? graph.inputs().size() : feature_inputs_.size();
  if (targets && graph.losses().empty())
    return Status::Invalid("this network was bound without a loss");
  if (inputs.size() != wanted) {
    std::string names;
    for (size_t i = 0; i < wanted; ++i)
      names += (i > 0 ? ", " : "") + graph.inputs()[targets ? i : feature_inputs_[i]].name;
    return Status::Invalid("the model takes " + std::to_string(wanted) + " tensors (" + names +
                           "), not " + std::to_string(inputs.size()));
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Graph::Input& input = graph.inputs()[targets ? i : feature_inputs_[i]];
    const TensorSpec& spec = graph.spec(input.value);
    const Shape& shape = inputs[i].shape();
    const bool fits = inputs[i].dtype() == spec.dtype && shape.rank() == spec.shape.rank() &&
                      shape.batch() <= most && shape.WithBatch(spec.shape.batch()) == spec.shape;
    if (!fits) {
      return Status::Invalid(input.name + " is " + NameOf(inputs[i].dtype()) + " of shape " +
                             shape.ToString() + ", the network was bound for " +
                             NameOf(spec.dtype) + " of shape " +
                             spec.shape.WithBatch(most).ToString() + " or fewer samples");
    }
    if (shape.batch() != inputs[0].shape().batch()) {
      return Status::Invalid(input.name + " has " + std::to_string(shape.batch()) + " samples, " +
                             graph.inputs()[0].name + " has " +
                             std::to_string(inputs[0].shape().batch()));
    }
    if (inputs[i].data() == nullptr && shape.size() > 0)
      return Status::Invalid(input.name + " is null");
  }
  return Status::Ok();
}

void Network::Start(Program& program, const BatchCut& cut, std::span<const ConstTensor> inputs) {
  program.SetCut(cut);
  for (size_t i = 0; i < inputs.size(); ++i)
    program.SetInput(inputs.size() == feature_inputs_.size() ? feature_inputs_[i] : i, inputs[i]);
  last_ = &program;
}

Step Network::MakeStep(const Program& program, const BatchCut& cut, int64_t first_sample,
                       uint64_t index, bool staged) const {
  return {.ctx = *ctx_,
          .program = program,
          .cut = cut,
          .first_sample = first_sample,
          .seed = options_.seed,
          .index = index,
          .states = store_->state_memory(staged)};
}

LossSum Network::Together(const Program& program, std::span<const double> sums,
                          std::span<const double> weights) {
  if (sums.size() == 1 && program.graph().losses()[0].factor == 1.0)
    return {.sum = sums[0], .weight = weights[0]};
  LossSum all{.sum = 0.0, .weight = 1.0};
  for (size_t i = 0; i < sums.size(); ++i)
    all.sum += program.graph().losses()[i].factor * sums[i] / weights[i];
  return all;
}

Result<StepResult> Network::Gradients(std::span<const ConstTensor> inputs,
                                      const StepOptions& options) {
  LOCKSTEP_CHECK(options_.training, "this network was bound for prediction only");
  Program& program = *training_program_;
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/true, batch()));
  const int64_t samples = inputs[0].shape().batch();
  if (samples < 1) return Status::Invalid("the batch is empty");
  const BatchCut cut = BatchCut::Whole(samples, program.graph().options().shards);
  LOCKSTEP_TRY_ASSIGN(const Admission admission, program.Admit(cut));
  if (admission == Admission::kSkip) return StepResult{.skipped = true};

  ScopedFlushDenormals flush;
  Start(program, cut, inputs);
  store_->StageStates();
  Step step = MakeStep(program, cut, options.first_sample, options.index, /*staged=*/true);
  step.accumulate = options.accumulate;
  LOCKSTEP_TRY(program.Check(step));
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = program.LossWeight(step, i);
  for (size_t i = 0; i < weights_.size(); ++i) {
    const double divisor = options.divisor > 0.0 ? options.divisor : weights_[i];
    factors_[i] = program.graph().losses()[i].factor * options.gradient_scale / divisor;
  }
  step.backward_follows = true;
  if (options.accumulate) store_->ClearFurtherGradients();
  program.Forward(step, /*losses=*/true, options.observer);
  program.Backward(step, factors_, options.observer);
  store_->AddFurtherGradients(*ctx_);
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] = program.LossSum(i);
  const StepResult result{.loss = Together(program, sums_, weights_)};
  // A part of a batch may hold nothing that counts: its sum and its weight are then 0.
  const double loss = options.divisor > 0.0 ? result.loss.sum : result.mean();
  if (!std::isfinite(loss)) return ExplainNonFinite(step, loss);
  store_->CommitStates();
  return result;
}

Result<StepResult> Network::Gradients(ConstTensor x, ConstTensor target,
                                      const StepOptions& options) {
  return Gradients(std::array{x, target}, options);
}

// Goes through the layers once more and looks at what each gives: only ever done when a step is
// about to fail, which undoes what it does to states.
Status Network::ExplainNonFinite(const Step& step, double loss) {
  // A NaN has a sign, which says nothing.
  const std::string value = std::isnan(loss) ? "nan" : std::to_string(loss);
  const std::string what = "the loss is " + value + " at step " + std::to_string(step.index);
  Program& program = *training_program_;
  for (const Graph::Input& input : program.graph().inputs()) {
    const TensorSpec& spec = program.graph().spec(input.value);
    if (spec.dtype == DType::kF32 && !FirstNonFinite::AllFinite(program.value(input.value)))
      return Status::NonFinite(what + ": the input already holds values that are not finite");
  }
  const ConstParameterSet parameters = store_->parameters();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    if (!FirstNonFinite::AllFinite(parameters.value(i))) {
      return Status::NonFinite(what + ": parameter " + parameters.infos[i].name +
                               " is not finite; lower the learning rate or clip the gradients");
    }
  }
  if (step.ranks == nullptr) {  // others would have to take part
    FirstNonFinite first;
    program.Forward(step, /*losses=*/false, &first);
    if (!first.layer().empty()) {
      return Status::NonFinite(what + ": layer " + first.layer() +
                               " is the first whose output is not finite; lower the learning rate "
                               "or clip the gradients");
    }
  }
  const auto& outputs = program.graph().outputs();
  const bool left_out = std::any_of(outputs.begin(), outputs.end(), [](const Graph::Named& output) {
    return !output.value.valid();
  });
  return Status::NonFinite(
      what + ", but every layer's output is finite" +
      (left_out ? " up to the scores that the loss computes itself: lower the learning rate or "
                  "clip the gradients, or "
                : ": ") +
      "look at the targets and their weights");
}

Result<double> Network::TrainStep(std::span<const ConstTensor> inputs, Optimizer& optimizer) {
  LOCKSTEP_CHECK(options_.training, "this network was bound for prediction only");
  if (step_ == nullptr) {
    LOCKSTEP_TRY_ASSIGN(step_, TrainingStep::Make(*this, {}));
  }
  const int64_t samples =
      inputs.empty() || inputs[0].shape().rank() == 0 ? 0 : inputs[0].shape().batch();
  // Says what is missing, where the step would only say that the batch is empty.
  if (samples == 0) LOCKSTEP_TRY(Check(*training_program_, inputs, /*targets=*/true, batch()));
  LOCKSTEP_TRY_ASSIGN(const TrainingStepReport report,
                      step_->Run({.inputs = inputs, .samples = samples, .global_samples = samples},
                                 steps_, optimizer, optimizer.learning_rate()));
  ++steps_;
  if (report.skipped) return std::numeric_limits<double>::quiet_NaN();
  return report.loss.sum / report.loss.weight;
}

Result<double> Network::TrainStep(ConstTensor x, ConstTensor target, Optimizer& optimizer) {
  return TrainStep(std::array{x, target}, optimizer);
}

Status Network::Predict(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs,
                        StepObserver* observer) {
  Program& program = *evaluation_program_;
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/false, MostEvaluated()));
  const int64_t samples = inputs[0].shape().batch();
  if (samples < 1) return Status::Invalid("the batch is empty");
  const Graph& graph = program.graph();
  if (outputs.size() > graph.outputs().size()) {
    return Status::Invalid("the model gives " + std::to_string(graph.outputs().size()) +
                           " outputs, not " + std::to_string(outputs.size()));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorSpec& spec = graph.spec(graph.outputs()[i].value);
    if (outputs[i].dtype() != spec.dtype || !(outputs[i].shape() == spec.shape.WithBatch(samples)))
      return Status::Invalid(graph.outputs()[i].name + " has the shape " +
                             outputs[i].shape().ToString() + ", the network gives " +
                             spec.shape.WithBatch(samples).ToString() + " as " +
                             NameOf(spec.dtype));
    if (outputs[i].empty()) return Status::Invalid(graph.outputs()[i].name + " is null");
  }
  const BatchCut cut = BatchCut::Whole(samples, options_.shards);
  if (samples != admitted_) {
    LOCKSTEP_TRY(program.Admit(cut).status());
    admitted_ = samples;
  }
  ScopedFlushDenormals flush;
  Start(program, cut, inputs);
  for (size_t i = 0; i < graph.outputs().size(); ++i)
    program.SetOutput(i, i < outputs.size() ? outputs[i] : Tensor());
  const Step step = MakeStep(program, cut, 0, 0, /*staged=*/false);
  LOCKSTEP_TRY(program.Check(step, /*losses=*/false));
  program.Forward(step, /*losses=*/false, observer);
  return Status::Ok();
}

Status Network::Predict(ConstTensor x, Tensor y, StepObserver* observer) {
  return Predict({&x, 1}, {&y, 1}, observer);
}

Result<LossSum> Network::EvaluateOn(Program& program, const Step& step) {
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = program.LossWeight(step, i);
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] = program.LossSum(i);
  return Together(program, sums_, weights_);
}

Result<LossSum> Network::Evaluate(std::span<const ConstTensor> inputs, StepObserver* observer) {
  Program& program = *evaluation_program_;
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/true, MostEvaluated()));
  const int64_t samples = inputs[0].shape().batch();
  if (samples < 1) return Status::Invalid("the batch is empty");
  const BatchCut cut = BatchCut::Whole(samples, options_.shards);
  LOCKSTEP_TRY(program.Admit(cut).status());
  ScopedFlushDenormals flush;
  Start(program, cut, inputs);
  for (size_t i = 0; i < program.graph().outputs().size(); ++i) program.SetOutput(i, Tensor());
  const Step step = MakeStep(program, cut, 0, 0, /*staged=*/false);
  LOCKSTEP_TRY(program.Check(step));
  program.Forward(step, /*losses=*/true, observer);
  return EvaluateOn(program, step);
}

Result<LossSum> Network::Evaluate(ConstTensor x, ConstTensor target, StepObserver* observer) {
  return Evaluate(std::array{x, target}, observer);
}

Result<LossSum> Network::EvaluateInTrainingMode(ConstTensor x, ConstTensor target, uint64_t index) {
  LOCKSTEP_CHECK(options_.training, "this network was bound for prediction only");
  Program& program = *training_program_;
  const std::array inputs{x, target};
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/true, batch()));
  const BatchCut cut = BatchCut::Whole(x.shape().batch(), program.graph().options().shards);
  LOCKSTEP_TRY(program.Admit(cut).status());
  ScopedFlushDenormals flush;
  Start(program, cut, inputs);
  store_->StageStates();
  const Step step = MakeStep(program, cut, 0, index, /*staged=*/true);
  LOCKSTEP_TRY(program.Check(step));
  program.Forward(step, /*losses=*/true);
  store_->CommitStates();
  return EvaluateOn(program, step);
}

ConstTensor Network::output(const std::string& name) const {
  const auto& outputs = last_->graph().outputs();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].name == name) return last_->output(i);
  }
  return {};
}

int64_t Network::parameter_count() const {
  int64_t count = 0;
  for (const ParameterInfo& info : store_->infos()) count += info.shape.size();
  return count;
}

}  // namespace lockstep
