#include "engine/train/network.h"

#include <cmath>

#include "engine/base/check.h"
#include "engine/base/denormals.h"

namespace lockstep {
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

}  // namespace

Result<Network> Network::Bind(Context& ctx, std::unique_ptr<Layer> layers,
                              std::unique_ptr<Loss> loss, const NetworkOptions& options) {
  LOCKSTEP_CHECK(layers != nullptr, "a network needs layers");
  if (options.input.rank() < 1 || options.input.size() <= 0) {
    return Status::Invalid("the input shape " + options.input.ToString() + " holds nothing");
  }
  if (options.shards < 1)
    return Status::Invalid("shards must be at least 1, not " + std::to_string(options.shards));
  if (options.training && loss == nullptr)
    return Status::Invalid("a network that trains needs a loss");

  Network net;
  net.ctx_ = &ctx;
  net.options_ = options;
  net.input_ = options.input;
  net.plan_ = std::make_unique<Planner>(PlannerOptions{.shards = options.shards,
                                                       .threads = ctx.threads(),
                                                       .training = options.training,
                                                       .share = options.share_memory});
  Planner& plan = *net.plan_;
  LOCKSTEP_TRY_ASSIGN(const BoundIn bound, BindInScope(*layers, "", options.input, plan));
  net.y_shape_ = bound.bound.out;
  net.needs_x_ = bound.bound.needs_x;
  net.needs_y_ = bound.bound.needs_y;
  {
    Planner::Scope scope(plan, "", loss == nullptr ? "output" : loss->kind(), net.y_shape_);
    if (loss != nullptr) LOCKSTEP_TRY(loss->Bind(net.y_shape_, plan).At("loss " + loss->kind()));
    net.y_ = plan.Book(net.y_shape_.size(), Life::kBound);  // callers read it after the step
    if (options.training)
      net.dy_ = plan.BookBetween(net.y_shape_.size(), {plan.now(), true}, {bound.begin, true});
  }
  net.layers_ = std::move(layers);
  net.loss_ = std::move(loss);
  net.workspace_ = std::make_unique<Workspace>(ctx, plan, options.seed);
  return net;
}

Status Network::Check(ConstTensor x, const ConstTensor* target) const {
  const auto fits = [](const Shape& shape, const Shape& bound) {
    return shape.rank() == bound.rank() && shape.rank() > 0 && shape.batch() > 0 &&
           shape.batch() <= bound.batch() && shape.WithBatch(bound.batch()) == bound;
  };
  if (!fits(x.shape(), input_)) {
    return Status::Invalid("x has the shape " + x.shape().ToString() +
                           ", the network was bound for " + input_.ToString() +
                           " or fewer samples");
  }
  if (target == nullptr) return Status::Ok();
  if (loss_ == nullptr) return Status::Invalid("this network was bound without a loss");
  const Shape wanted = loss_->target_shape(y_shape_.WithBatch(x.shape().batch()));
  if (target->dtype() != loss_->target_dtype() || !(target->shape() == wanted)) {
    return Status::Invalid(std::string("the target is ") + NameOf(target->dtype()) + " of shape " +
                           target->shape().ToString() + ", " + loss_->kind() + " wants " +
                           NameOf(loss_->target_dtype()) + " of shape " + wanted.ToString());
  }
  return Status::Ok();
}

Step Network::MakeStep(Mode mode, const StepOptions& options) const {
  return {.ctx = *ctx_,
          .workspace = *workspace_,
          .mode = mode,
          .seed = options_.seed,
          .index = options.index,
          .first_sample = options.first_sample,
          .version = version_,
          .observer = options.observer,
          .accumulate = options.accumulate};
}

Result<LossSum> Network::Run(const Step& step, ConstTensor x, const ConstTensor* target, Tensor y) {
  layers_->Forward(step, x, y);
  output_ = y;
  if (target == nullptr) return LossSum{};
  return loss_->Forward(step, y, *target);
}

Result<StepResult> Network::Gradients(ConstTensor x, ConstTensor target,
                                      const StepOptions& options) {
  LOCKSTEP_CHECK(options_.training, "this network was bound for prediction only");
  LOCKSTEP_TRY(Check(x, &target));
  const int64_t samples = x.shape().batch();
  LOCKSTEP_TRY_ASSIGN(const Admission admission, layers_->Admit(samples, Mode::kTrain));
  if (admission == Admission::kSkip) return StepResult{.skipped = true};

  ScopedFlushDenormals flush;
  const Step step = MakeStep(Mode::kTrain, options);
  const Shape y_shape = y_shape_.WithBatch(samples);
  const Tensor y(step[y_], y_shape);
  StepResult result;
  LOCKSTEP_TRY_ASSIGN(result.loss, Run(step, x, &target, y));
  // A part of a batch may hold nothing that counts: its sum and its weight are then 0.
  const double loss = options.divisor > 0.0 ? result.loss.sum : result.mean();
  if (!std::isfinite(loss)) return ExplainNonFinite(step, x, y, loss);

  const Tensor dy(step[dy_], y_shape);
  const double divisor = options.divisor > 0.0 ? options.divisor : result.loss.weight;
  loss_->Backward(step, y, target, options.gradient_scale / divisor, dy);
  layers_->Backward(step, needs_x_ ? x : ConstTensor(), needs_y_ ? y : Tensor(), dy, Tensor());
  ++version_;  // running statistics moved
  return result;
}

// Goes through the layers once more and looks at what each gives: only ever done when a run is
// about to stop.
Status Network::ExplainNonFinite(Step step, ConstTensor x, Tensor y, double loss) {
  const std::string what =
      "the loss is " + std::to_string(loss) + " at step " + std::to_string(step.index);
  if (!FirstNonFinite::AllFinite(x))
    return Status::NonFinite(what + ": the input already holds values that are not finite");
  const ParameterSet parameters = workspace_->parameters();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    if (!FirstNonFinite::AllFinite(parameters.value(i))) {
      return Status::NonFinite(what + ": parameter " + parameters.infos[i].name +
                               " is not finite; lower the learning rate or clip the gradients");
    }
  }
  FirstNonFinite first;
  step.observer = &first;
  layers_->Forward(step, x, y);
  if (!first.layer().empty()) {
    return Status::NonFinite(
        what + ": layer " + first.layer() +
        " is the first whose output is not finite; lower the learning rate or clip the gradients");
  }
  return Status::NonFinite(
      what + ", but every layer's output is finite: look at the targets and their weights");
}

Result<double> Network::TrainStep(ConstTensor x, ConstTensor target, Optimizer& optimizer) {
  if (bound_optimizer_ != &optimizer) {
    LOCKSTEP_TRY(optimizer.Bind(*ctx_, parameters()));
    bound_optimizer_ = &optimizer;
  }
  LOCKSTEP_TRY_ASSIGN(const StepResult result, Gradients(x, target, {.index = steps_}));
  ++steps_;
  if (result.skipped) return 0.0;
  LOCKSTEP_TRY(optimizer.Update(*ctx_, parameters(), optimizer.learning_rate()));
  ParametersChanged();
  return result.mean();
}

Status Network::Predict(ConstTensor x, Tensor y, StepObserver* observer) {
  LOCKSTEP_TRY(Check(x, nullptr));
  const int64_t samples = x.shape().batch();
  if (y.dtype() != DType::kF32 || !(y.shape() == y_shape_.WithBatch(samples))) {
    return Status::Invalid("y has the shape " + y.shape().ToString() + ", the network gives " +
                           y_shape_.WithBatch(samples).ToString() + " as f32");
  }
  if (samples != admitted_) {
    LOCKSTEP_TRY(layers_->Admit(samples, Mode::kEvaluate).status());
    admitted_ = samples;
  }
  ScopedFlushDenormals flush;
  return Run(MakeStep(Mode::kEvaluate, {.observer = observer}), x, nullptr, y).status();
}

Result<LossSum> Network::Evaluate(ConstTensor x, ConstTensor target, StepObserver* observer) {
  LOCKSTEP_TRY(Check(x, &target));
  LOCKSTEP_TRY(layers_->Admit(x.shape().batch(), Mode::kEvaluate).status());
  ScopedFlushDenormals flush;
  const Step step = MakeStep(Mode::kEvaluate, {.observer = observer});
  return Run(step, x, &target, {step[y_], y_shape_.WithBatch(x.shape().batch())});
}

Result<LossSum> Network::EvaluateInTrainingMode(ConstTensor x, ConstTensor target, uint64_t index) {
  LOCKSTEP_TRY(Check(x, &target));
  LOCKSTEP_TRY(layers_->Admit(x.shape().batch(), Mode::kTrain).status());
  ScopedFlushDenormals flush;
  const Step step = MakeStep(Mode::kTrain, {.index = index});
  ++version_;
  return Run(step, x, &target, {step[y_], y_shape_.WithBatch(x.shape().batch())});
}

int64_t Network::parameter_count() const {
  int64_t count = 0;
  for (const ParameterInfo& info : plan_->parameters()) count += info.shape.size();
  return count;
}

}  // namespace lockstep
