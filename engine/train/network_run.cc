// What a bound network does: training steps, predictions, evaluation. What comes from outside is
// checked before anything moves, and what others throw comes back as a Status.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "engine/base/catch.h"
#include "engine/train/network.h"
#include "engine/train/training_step.h"

namespace lockstep::inline v0_1 {
namespace {

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

// What to do about a type that is nearly right; empty: nothing that could be said.
const char* HowToConvert(DType given, DType wanted) {
  if (given == DType::kF64 && wanted == DType::kF32) return ": convert it to floats";
  if (given == DType::kI64 && wanted == DType::kI32) return ": convert it to 32-bit integers";
  return "";
}

// The bytes of a tensor, measured once: each call asks several times whether they meet.
struct Extent {
  explicit Extent(const ConstTensor& tensor)
      : begin(reinterpret_cast<uintptr_t>(tensor.data())), end(begin + tensor.bytes()) {}
  Extent(const std::byte* data, int64_t bytes)
      : begin(reinterpret_cast<uintptr_t>(data)), end(begin + static_cast<uintptr_t>(bytes)) {}
  bool Meets(const Extent& other) const { return begin < other.end && other.begin < end; }
  uintptr_t begin, end;
};

// Of memory that is given with a call; `own`: the network's.
Status CheckMemory(const std::string& name, DType dtype, const Extent& memory, const Extent& own) {
  if (memory.begin == 0) return Status::Invalid(name + " is null");
  if (memory.begin % SizeOf(dtype) != 0)
    return Status::Invalid(name + " begins at an address that is no multiple of the " +
                           std::to_string(SizeOf(dtype)) + " bytes of " + NameOf(dtype));
  if (memory.Meets(own))
    return Status::Invalid(name + " lies in the memory that the network works in: copy it first");
  return Status::Ok();
}

}  // namespace

Status Network::CheckReady(bool to_train) const {
  if (store_ == nullptr) return Status::Invalid(kMovedFrom);
  if (to_train && !options_.training)
    return Status::Invalid("this network was bound for prediction only");
  if (store_->torn()) {
    return Status::Io(
        "the ranks lost each other while new weights were on their way, so that those of this "
        "network are of no step: load a checkpoint");
  }
  return Status::Ok();
}

void Network::RefuseAccess() const {
  throw ArgumentFailure(store_ == nullptr ? kMovedFrom
                                          : "this network was bound for prediction only");
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
  const Extent own(arena_.data(), arena_.data() == nullptr ? 0 : arena_.bytes());
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
                             spec.shape.WithBatch(most).ToString() + " or fewer samples" +
                             HowToConvert(inputs[i].dtype(), spec.dtype));
    }
    if (shape.batch() != inputs[0].shape().batch()) {
      return Status::Invalid(input.name + " has " + std::to_string(shape.batch()) + " samples, " +
                             graph.inputs()[0].name + " has " +
                             std::to_string(inputs[0].shape().batch()));
    }
    if (shape.batch() > 0)
      LOCKSTEP_TRY(CheckMemory(input.name, spec.dtype, Extent(inputs[i]), own));
  }
  return Status::Ok();
}

// Outputs are written as soon as they are known, while inputs are still read.
Status Network::CheckOutputs(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs,
                             int64_t samples) const {
  const Graph& graph = evaluation_program_->graph();
  if (outputs.size() > graph.outputs().size()) {
    return Status::Invalid("the model gives " + std::to_string(graph.outputs().size()) +
                           " outputs, not " + std::to_string(outputs.size()));
  }
  const Extent own(arena_.data(), arena_.data() == nullptr ? 0 : arena_.bytes());
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::string& name = graph.outputs()[i].name;
    const TensorSpec& spec = graph.spec(graph.outputs()[i].value);
    if (outputs[i].dtype() != spec.dtype || !(outputs[i].shape() == spec.shape.WithBatch(samples)))
      return Status::Invalid(name + " has the shape " + outputs[i].shape().ToString() + " as " +
                             NameOf(outputs[i].dtype()) + ", the network gives " +
                             spec.shape.WithBatch(samples).ToString() + " as " +
                             NameOf(spec.dtype));
    const Extent memory(outputs[i]);
    LOCKSTEP_TRY(CheckMemory(name, spec.dtype, memory, own));
    for (size_t k = 0; k < inputs.size(); ++k) {
      if (memory.Meets(Extent(inputs[k])))
        return Status::Invalid(name + " lies in the memory of " +
                               graph.inputs()[feature_inputs_[k]].name +
                               ", which is still read when it is written");
    }
    for (size_t k = 0; k < i; ++k) {
      if (memory.Meets(Extent(outputs[k])))
        return Status::Invalid(name + " lies in the memory of " + graph.outputs()[k].name);
    }
  }
  return Status::Ok();
}

void Network::Start(Program& program, const BatchCut& cut, std::span<const ConstTensor> inputs) {
  last_ = nullptr;
  program.SetCut(cut);
  for (size_t i = 0; i < inputs.size(); ++i)
    program.SetInput(inputs.size() == feature_inputs_.size() ? feature_inputs_[i] : i, inputs[i]);
}

void Network::Finish(Program& program, bool backward) {
  last_ = &program;
  had_backward_ = backward;
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
  return StatusOf([&] { return RunGradients(inputs, options); });
}

Result<StepResult> Network::Gradients(ConstTensor x, ConstTensor target,
                                      const StepOptions& options) {
  return Gradients(std::array{x, target}, options);
}

Result<StepResult> Network::RunGradients(std::span<const ConstTensor> inputs,
                                         const StepOptions& options) {
  LOCKSTEP_TRY(CheckReady(/*to_train=*/true));
  Program& program = *training_program_;
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/true, batch()));
  if (!std::isfinite(options.gradient_scale) || !(options.divisor >= 0.0) ||
      std::isinf(options.divisor) || options.first_sample < 0) {
    return Status::Invalid(
        "gradient_scale must be finite, divisor and first_sample 0 or more, not " +
        std::to_string(options.gradient_scale) + ", " + std::to_string(options.divisor) + " and " +
        std::to_string(options.first_sample));
  }
  const int64_t samples = inputs[0].shape().batch();
  if (samples < 1) return Status::Invalid("the batch is empty");
  if (options.accumulate && gradients_lost_) {
    return Status::Invalid(
        "the gradients that were to be added to were lost with a call that failed: begin again "
        "without StepOptions::accumulate");
  }
  const BatchCut cut = BatchCut::Whole(samples, program.graph().options().shards);
  LOCKSTEP_TRY_ASSIGN(const Admission admission, program.Admit(cut));
  if (admission == Admission::kSkip) return StepResult{.skipped = true};

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
  gradients_lost_ = true;
  if (options.accumulate) store_->ClearFurtherGradients();
  program.Forward(step, /*losses=*/true, options.observer);
  program.Backward(step, factors_, options.observer);
  store_->AddFurtherGradients(*ctx_);
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] = program.LossSum(i);
  const StepResult result{.loss = Together(program, sums_, weights_)};
  // A part of a batch may hold nothing that counts: its sum and its weight are then 0.
  const double loss = options.divisor > 0.0 ? result.loss.sum : result.mean();
  if (!std::isfinite(loss)) return ExplainNonFinite(step, loss);
  LOCKSTEP_TRY(store_->CheckStagedStates());
  gradients_lost_ = false;
  store_->CommitStates();
  Finish(program, /*backward=*/true);
  return result;
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
  return StatusOf([&] { return RunTrainStep(inputs, optimizer); });
}

Result<double> Network::TrainStep(ConstTensor x, ConstTensor target, Optimizer& optimizer) {
  return TrainStep(std::array{x, target}, optimizer);
}

Result<double> Network::RunTrainStep(std::span<const ConstTensor> inputs, Optimizer& optimizer) {
  LOCKSTEP_TRY(CheckReady(/*to_train=*/true));
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

Status Network::Predict(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs,
                        StepObserver* observer) {
  return StatusOf([&] { return RunPredict(inputs, outputs, observer); });
}

Status Network::Predict(ConstTensor x, Tensor y, StepObserver* observer) {
  return Predict({&x, 1}, {&y, 1}, observer);
}

Status Network::RunPredict(std::span<const ConstTensor> inputs, std::span<const Tensor> outputs,
                           StepObserver* observer) {
  LOCKSTEP_TRY(CheckReady());
  Program& program = *evaluation_program_;
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/false, MostEvaluated()));
  const int64_t samples = inputs[0].shape().batch();
  if (samples < 1) return Status::Invalid("the batch is empty");
  LOCKSTEP_TRY(CheckOutputs(inputs, outputs, samples));
  const BatchCut cut = BatchCut::Whole(samples, options_.shards);
  if (samples != admitted_) {
    LOCKSTEP_TRY(program.Admit(cut).status());
    admitted_ = samples;
  }
  Start(program, cut, inputs);
  for (size_t i = 0; i < program.graph().outputs().size(); ++i)
    program.SetOutput(i, i < outputs.size() ? outputs[i] : Tensor());
  const Step step = MakeStep(program, cut, 0, 0, /*staged=*/false);
  LOCKSTEP_TRY(program.Check(step, /*losses=*/false));
  program.Forward(step, /*losses=*/false, observer);
  Finish(program, /*backward=*/false);
  return Status::Ok();
}

LossSum Network::LossOn(const Program& program, const Step& step) {
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = program.LossWeight(step, i);
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] = program.LossSum(i);
  return Together(program, sums_, weights_);
}

Result<LossSum> Network::Evaluate(std::span<const ConstTensor> inputs, StepObserver* observer) {
  return StatusOf([&] { return RunEvaluate(inputs, observer); });
}

Result<LossSum> Network::Evaluate(ConstTensor x, ConstTensor target, StepObserver* observer) {
  return Evaluate(std::array{x, target}, observer);
}

Result<LossSum> Network::RunEvaluate(std::span<const ConstTensor> inputs, StepObserver* observer) {
  LOCKSTEP_TRY(CheckReady());
  Program& program = *evaluation_program_;
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/true, MostEvaluated()));
  const int64_t samples = inputs[0].shape().batch();
  if (samples < 1) return Status::Invalid("the batch is empty");
  const BatchCut cut = BatchCut::Whole(samples, options_.shards);
  LOCKSTEP_TRY(program.Admit(cut).status());
  Start(program, cut, inputs);
  for (size_t i = 0; i < program.graph().outputs().size(); ++i) program.SetOutput(i, Tensor());
  const Step step = MakeStep(program, cut, 0, 0, /*staged=*/false);
  LOCKSTEP_TRY(program.Check(step));
  program.Forward(step, /*losses=*/true, observer);
  const LossSum loss = LossOn(program, step);
  Finish(program, /*backward=*/false);
  return loss;
}

Result<LossSum> Network::EvaluateInTrainingMode(ConstTensor x, ConstTensor target, uint64_t index) {
  return StatusOf([&] { return RunInTrainingMode(std::array{x, target}, index); });
}

Result<LossSum> Network::RunInTrainingMode(std::span<const ConstTensor> inputs, uint64_t index) {
  LOCKSTEP_TRY(CheckReady(/*to_train=*/true));
  Program& program = *training_program_;
  LOCKSTEP_TRY(Check(program, inputs, /*targets=*/true, batch()));
  const int64_t samples = inputs[0].shape().batch();
  if (samples < 1) return Status::Invalid("the batch is empty");
  const BatchCut cut = BatchCut::Whole(samples, program.graph().options().shards);
  LOCKSTEP_TRY(program.Admit(cut).status());
  Start(program, cut, inputs);
  store_->StageStates();
  const Step step = MakeStep(program, cut, 0, index, /*staged=*/true);
  LOCKSTEP_TRY(program.Check(step));
  program.Forward(step, /*losses=*/true);
  const LossSum loss = LossOn(program, step);
  if (!std::isfinite(loss.sum)) return ExplainNonFinite(step, loss.sum);
  LOCKSTEP_TRY(store_->CheckStagedStates());
  store_->CommitStates();
  Finish(program, /*backward=*/false);
  return loss;
}

ConstTensor Network::output(const std::string& name) const {
  if (last_ == nullptr) return {};
  const auto& outputs = last_->graph().outputs();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].name == name) return last_->output(i);
  }
  return {};
}

ConstTensor Network::input_gradient() const {
  return last_ != nullptr && had_backward_ ? last_->input_gradient(0) : ConstTensor();
}

}  // namespace lockstep
