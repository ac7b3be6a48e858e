#include "models/testing/gradient_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "engine/base/random.h"
#include "models/testing/report.h"

namespace lockstep::inline v0_1::checks {
namespace {

constexpr int kDirections = 4;  // by lot, and one more: along the gradient

// What a gradient is taken with respect to: a parameter, or the input.
struct Leaf {
  std::string name;
  std::span<float> values;
  std::vector<float> gradient;
};

// The slope of the loss in training mode along `direction` from where `leaf` is.
Result<double> SlopeOf(Network& net, const Batch& batch, const Leaf& leaf,
                       const std::vector<double>& direction, double h) {
  const std::vector<float> start(leaf.values.begin(), leaf.values.end());
  Status status;
  const auto loss = [&](double steps) {
    for (size_t i = 0; i < start.size(); ++i)
      leaf.values[i] = static_cast<float>(start[i] + steps * h * direction[i]);
    net.store().Changed();
    const Result<LossSum> sum = net.EvaluateInTrainingMode(batch.x(), batch.target());
    if (!sum.ok()) status = sum.status();
    return sum.ok() ? sum->sum / sum->weight : 0.0;
  };
  const double slope = (8.0 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12.0 * h);
  std::copy(start.begin(), start.end(), leaf.values.begin());
  net.store().Changed();
  LOCKSTEP_TRY(status);
  return slope;
}

std::vector<float> Copy(ConstTensor tensor) {
  if (tensor.empty()) return std::vector<float>(static_cast<size_t>(tensor.size()), 0.0f);
  const auto from = tensor.span<float>();
  return {from.begin(), from.end()};
}

Result<std::string> Gradients(const Subject& subject, uint64_t seed, int64_t* held) {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net,
                      BindSubject(subject, ctx, {.seed = seed, .input_gradient = true}));
  Batch batch(subject, net, subject.input.batch(), seed + 1);
  LOCKSTEP_TRY_ASSIGN(const StepResult step, net.Gradients(batch.x(), batch.target()));
  const double loss = step.mean();
  std::vector<Leaf> leaves;
  if (subject.input_dtype == DType::kF32)
    leaves.push_back({"x", batch.x_values(), Copy(net.input_gradient())});
  const ParameterSet parameters = net.store().ParametersToWrite();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    leaves.push_back({parameters.infos[i].name, parameters.value(i).span<float>(),
                      Copy(parameters.gradient(i))});
  }
  for (const Leaf& leaf : leaves) {
    double norm = 0.0;
    for (const float g : leaf.gradient) norm += static_cast<double>(g) * static_cast<double>(g);
    norm = std::sqrt(norm);
    Random random(7, StreamOf(leaf.name));
    for (int d = 0; d <= kDirections; ++d) {
      std::vector<double> direction(leaf.gradient.begin(), leaf.gradient.end());
      double length = 0.0, want = 0.0;
      for (double& v : direction) {
        if (d < kDirections || norm == 0.0) v = random.Normal();
        length += v * v;
      }
      for (size_t i = 0; i < direction.size(); ++i) {
        direction[i] /= std::sqrt(length);
        want += direction[i] * static_cast<double>(leaf.gradient[i]);
      }
      double best = std::numeric_limits<double>::infinity(), nearest = 0.0;
      for (const double h : {0.03, 0.01, 0.003, 0.001, 0.0003}) {
        LOCKSTEP_TRY_ASSIGN(const double slope, SlopeOf(net, batch, leaf, direction, h));
        const double beyond =
            std::abs(slope - want) - (1.5 * 4e-7 * (1.0 + loss) / h + 2e-3 * norm);
        if (beyond < best) best = beyond, nearest = slope;
      }
      if (!(best <= 0.0)) {
        return "the gradient of " + leaf.name + " (of length " + std::to_string(norm) +
               ") says that the loss changes by " + std::to_string(want) + " along direction " +
               std::to_string(d) + ", it changes by " + std::to_string(nearest);
      }
      if (held != nullptr) ++*held;
    }
  }
  return std::string();
}

Result<std::string> Accumulation(const Subject& subject, uint64_t seed) {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net, BindSubject(subject, ctx, {.seed = seed}));
  const Batch batch(subject, net, subject.input.batch(), seed + 1);
  const ConstParameterSet parameters = net.parameters();
  LOCKSTEP_TRY(net.Gradients(batch.x(), batch.target()).status());
  const std::vector<float> once(parameters.gradients.begin(), parameters.gradients.end());
  LOCKSTEP_TRY(net.Gradients(batch.x(), batch.target()).status());
  const auto differs = [&](const char* how, auto&& fits) {
    for (size_t p = 0; p < parameters.infos.size(); ++p) {
      for (int64_t i = 0; i < parameters.infos[p].shape.size(); ++i) {
        const auto at = static_cast<size_t>(parameters.infos[p].offset + i);
        if (fits(parameters.gradients[at], once[at])) continue;
        return "the gradient of " + parameters.infos[p].name + how + ": [" + std::to_string(i) +
               "] is " + std::to_string(parameters.gradients[at]) + ", once it was " +
               std::to_string(once[at]);
      }
    }
    return std::string();
  };
  const std::string again = differs(" is not overwritten by a second pass",
                                    [](float now, float before) { return now == before; });
  if (!again.empty()) return again;
  LOCKSTEP_TRY(net.Gradients(batch.x(), batch.target(), {.accumulate = true}).status());
  // One more rounding, of a sum that begins elsewhere.
  return differs(" is not added to where a pass accumulates", [](float now, float before) {
    return std::abs(now - 2.0f * before) <= 1e-5f * (0.01f + std::abs(before));
  });
}

}  // namespace

std::string CheckGradients(const Subject& subject, uint64_t seed, int64_t* held) {
  return TextOf(Gradients(subject, seed, held));
}

std::string CheckAccumulation(const Subject& subject, uint64_t seed) {
  return TextOf(Accumulation(subject, seed));
}

}  // namespace lockstep::checks
