#include "models/testing/check_loss.h"

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "layers/linear.h"
#include "models/testing/subject_checks.h"

namespace lockstep::inline v0_1::checks {
namespace {

class Borrowed final : public Loss {
 public:
  explicit Borrowed(const Loss& loss) : loss_(&loss) {}
  std::string kind() const override { return loss_->kind(); }
  DType target_dtype() const override { return loss_->target_dtype(); }
  Shape target_shape(const Shape& out) const override { return loss_->target_shape(out); }
  std::span<const double> quantiles() const override { return loss_->quantiles(); }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override {
    return loss_->Build(graph, name, y, target, factor);
  }

 private:
  const Loss* loss_;
};

// Sums in another order, of terms that are rounded to float.
bool IsNear(double a, double b) {
  return std::abs(a - b) <= 1e-5 * (std::abs(a) + std::abs(b)) + 1e-6;
}

Result<std::string> Parts(const Subject& subject, uint64_t seed) {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net, BindSubject(subject, ctx, {.seed = seed}));
  const int64_t batch = subject.input.batch(), half = batch / 2;
  const Batch data(subject, net, batch, seed + 1);
  const auto of = [&](int64_t begin, int64_t end) {
    return net.Evaluate(data.x().Samples(begin, end), data.target().Samples(begin, end));
  };
  LOCKSTEP_TRY_ASSIGN(const LossSum whole, of(0, batch));
  LOCKSTEP_TRY_ASSIGN(const LossSum front, of(0, half));
  LOCKSTEP_TRY_ASSIGN(const LossSum back, of(half, batch));
  if (!IsNear(whole.weight, front.weight + back.weight)) {
    return "the weights of two halves of a batch are " + std::to_string(front.weight) + " and " +
           std::to_string(back.weight) + ", of the whole it is " + std::to_string(whole.weight);
  }
  if (IsNear(whole.sum, front.sum + back.sum)) return std::string();
  return "the sums of two halves of a batch are " + std::to_string(front.sum) + " and " +
         std::to_string(back.sum) + ", of the whole it is " + std::to_string(whole.sum);
}

// The mean loss, and what it moves: the gradients.
struct Outcome {
  double loss = 0.0;
  std::vector<float> gradients{};
};

std::string Difference(const Outcome& a, const Outcome& b) {
  if (!IsNear(a.loss, b.loss))
    return "the loss is " + std::to_string(a.loss) + ", not " + std::to_string(b.loss);
  double largest = 0.0, off = 0.0;
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(b.gradients[i])));
    const double by = std::abs(static_cast<double>(a.gradients[i] - b.gradients[i]));
    if (!(by <= off)) off = by;
  }
  if (off <= 1e-5 * largest + 1e-7) return "";
  return "gradients are off by " + std::to_string(off) + ", the largest is " +
         std::to_string(largest);
}

Result<std::string> Weights(const Subject& subject, uint64_t seed) {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network plain, BindSubject(subject, ctx, {.seed = seed}));
  LOCKSTEP_TRY_ASSIGN(Network weighs, BindSubject(subject, ctx, {.seed = seed, .weighted = true}));
  const int64_t batch = subject.input.batch(), half = batch / 2;
  const Batch data(subject, plain, batch, seed + 1);
  const auto outcome = [](Network& net, const Result<StepResult>& step) -> Result<Outcome> {
    LOCKSTEP_TRY(step.status());
    const auto gradients = net.parameters().gradients;
    return Outcome{step->mean(), {gradients.begin(), gradients.end()}};
  };
  const auto weighed = [&](ConstTensor x, ConstTensor target, const std::vector<float>& weights) {
    const std::array inputs{x, target, ConstTensor(weights.data(), {x.shape().batch()})};
    return outcome(weighs, weighs.Gradients(inputs));
  };
  const ConstTensor x = data.x(), target = data.target();
  const auto count = static_cast<size_t>(batch);
  LOCKSTEP_TRY_ASSIGN(const Outcome all, outcome(plain, plain.Gradients(x, target)));
  LOCKSTEP_TRY_ASSIGN(const Outcome equal, weighed(x, target, std::vector<float>(count, 2.5f)));
  if (const std::string found = Difference(equal, all); !found.empty())
    return "with equal weights for all samples: " + found;
  LOCKSTEP_TRY_ASSIGN(const Outcome front,
                      outcome(plain, plain.Gradients(x.Samples(0, half), target.Samples(0, half))));
  std::vector<float> weights(count, 0.0f);
  std::fill_n(weights.begin(), half, 1.0f);
  LOCKSTEP_TRY_ASSIGN(const Outcome zeros, weighed(x, target, weights));
  if (const std::string found = Difference(zeros, front); !found.empty())
    return "where half of the samples have weight 0: " + found;
  return std::string();
}

}  // namespace

CheckReport CheckLoss(const Loss& loss, const Shape& y, const LossCheckOptions& options) {
  CheckLog log(options);
  Subject subject{
      .layers = [outputs =
                     y.rank() < 2 ? 1 : y.channels()] { return std::make_unique<Linear>(outputs); },
      .loss = [&loss] { return std::make_unique<Borrowed>(loss); },
      .input = y.rank() < 2 ? Shape{8, 1} : y.WithChannels(5),
      .fill_target = options.fill_target};
  if (!subject.fill_target && loss.target_dtype() == DType::kI32) {
    const auto classes = static_cast<uint64_t>(y.rank() < 2 ? 1 : y.channels());
    subject.fill_target = [classes](Tensor to, uint64_t seed) {
      Random random(seed, StreamOf("classes"));
      for (int32_t& id : to.span<int32_t>()) id = static_cast<int32_t>(random.Below(classes));
    };
  }
  bool takes_weights = false;
  log.Make("builds", "alone", [&]() -> std::string {
    if (y.rank() < 2 || y.batch() < 8)
      return "y must be (batch, ...) with a batch of 8 or more, not " + y.ToString();
    Context ctx({.threads = 1});
    const Result<Network> net = BindSubject(subject, ctx, {.seed = options.seed});
    if (!net.ok()) return net.status().message();
    takes_weights = BindSubject(subject, ctx, {.seed = options.seed, .weighted = true}).ok();
    return "";
  });
  if (!log.report().ok()) return log.report();
  CheckSubject(subject, "behind a product", options, /*samples_mix=*/false, log);
  log.Make("parts", "behind a product", [&] { return TextOf(Parts(subject, options.seed)); });
  if (takes_weights)
    log.Make("weights", "behind a product", [&] { return TextOf(Weights(subject, options.seed)); });
  return log.report();
}

}  // namespace lockstep::checks
