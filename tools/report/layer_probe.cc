#include "tools/report/layer_probe.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <span>

#include "engine/data/loader.h"
#include "engine/train/checkpointing.h"
#include "tools/scale/layer_clock.h"
#include "tools/scale/statistics.h"

namespace lockstep::inline v0_1::tools {
namespace {

class Sums {
 public:
  void Add(std::span<const float> values) {
    for (const float value : values) {
      squares_ += static_cast<double>(value) * static_cast<double>(value);
      zeros_ += value == 0.0f;
    }
    count_ += static_cast<double>(values.size());
  }
  Scale scale() const {
    if (count_ == 0.0) return {};
    return {std::sqrt(squares_ / count_), zeros_ / count_};
  }

 private:
  double squares_ = 0.0, zeros_ = 0.0, count_ = 0.0;
};

Scale ScaleOf(ConstTensor tensor) {
  Sums sums;
  if (!tensor.empty() && tensor.dtype() == DType::kF32) sums.Add(tensor.span<float>());
  return sums.scale();
}

// Measures what flows through the layers, in one pass.
class Scales final : public StepObserver {
 public:
  struct Seen {
    Scale output, input_gradient;
  };

  void Before(const std::string&, bool) override {}
  void After(const std::string& layer, bool backward, ConstTensor result) override {
    Seen& seen = layers_[layer];
    (backward ? seen.input_gradient : seen.output) = ScaleOf(result);
  }
  const std::map<std::string, Seen>& layers() const { return layers_; }

 private:
  std::map<std::string, Seen> layers_;
};

void AddParameters(const ConstParameterSet& parameters, LayerFacts& facts) {
  Sums weights, gradients;
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    if (!parameters.infos[i].name.starts_with(facts.path + ".")) continue;
    weights.Add(parameters.value(i).span<float>());
    if (!parameters.gradients.empty()) gradients.Add(parameters.gradient(i).span<float>());
  }
  facts.weights = weights.scale();
  facts.weight_gradient = gradients.scale();
}

// The whole network, its outermost layer and its losses have no path.
bool Holds(const std::string& outer, const std::string& inner) {
  return outer.empty() ? !inner.empty() : inner.starts_with(outer + ".");
}

}  // namespace

Result<std::vector<LayerFacts>> ProbeLayers(Network& network, const Subset& samples, int passes) {
  const int64_t batch =
      std::min(network.input_shape().batch(), static_cast<int64_t>(samples.indices.size()));
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<Loader> loader,
      Loader::Make(samples.dataset, {samples.indices.begin(), samples.indices.begin() + batch},
                   {.batch = batch, .shuffle = false}));
  LOCKSTEP_TRY_ASSIGN(const Batch* const first, loader->Next());
  const BatchInputs inputs(*first, network);
  ModelCopy before(network);
  LOCKSTEP_TRY(before.TakeFrom(network));
  Scales scales;
  scale::LayerClock clock;
  // The first pass warms the caches, too.
  Status status = network.Gradients(inputs.all(), {.observer = &scales}).status();
  for (int pass = 0; pass < passes && status.ok(); ++pass) {
    clock.StartPass();
    status = network.Gradients(inputs.all(), {.observer = &clock}).status();
  }
  LOCKSTEP_TRY(before.ApplyTo(network));
  LOCKSTEP_TRY(status);

  std::vector<LayerFacts> all;
  const std::vector<LayerReport>& report = network.program().graph().report();
  for (const LayerReport& layer : report) {
    const auto seen = scales.layers().find(layer.path);
    const bool outer = std::any_of(report.begin(), report.end(), [&](const LayerReport& other) {
      return Holds(layer.path, other.path);
    });
    if (seen == scales.layers().end() || outer) continue;
    const auto timed = clock.layers().find(layer.path);
    const scale::LayerTimes times =
        timed == clock.layers().end() ? scale::LayerTimes{} : timed->second;
    LayerFacts facts{.path = layer.path,
                     .kind = layer.kind,
                     .forward_ms = scale::MedianOf(times.forward) * 1e3,
                     .backward_ms = scale::MedianOf(times.backward) * 1e3,
                     .output = seen->second.output,
                     .input_gradient = seen->second.input_gradient};
    AddParameters(network.parameters(), facts);
    all.push_back(std::move(facts));
  }
  return all;
}

}  // namespace lockstep::tools
