#include "tools/report/layer_probe.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <span>

#include "engine/data/loader.h"
#include "engine/train/checkpointing.h"

namespace lockstep::tools {
namespace {

using Clock = std::chrono::steady_clock;

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

class Probe final : public StepObserver {
 public:
  struct Seen {
    std::vector<double> forward, backward;  // in ms, by pass
    Scale output, input_gradient;
  };

  bool measures_scales = false;  // else times
  void StartPass(size_t pass) { pass_ = pass; }

  void Before(const std::string&, bool) override { starts_.push_back(Clock::now()); }
  void After(const std::string& layer, bool backward, ConstTensor result) override {
    const double ms =
        std::chrono::duration<double, std::milli>(Clock::now() - starts_.back()).count();
    starts_.pop_back();
    Seen& seen = layers_[layer];
    if (measures_scales) {
      (backward ? seen.input_gradient : seen.output) = ScaleOf(result);
      return;
    }
    // A layer of several operations is seen once for each.
    std::vector<double>& times = backward ? seen.backward : seen.forward;
    times.resize(pass_);
    times.back() += ms;
  }
  const Seen* Find(const std::string& layer) const {
    const auto found = layers_.find(layer);
    return found == layers_.end() ? nullptr : &found->second;
  }

 private:
  size_t pass_ = 0;
  std::vector<Clock::time_point> starts_;
  std::map<std::string, Seen> layers_;
};

double Median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

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
  ModelCopy before(network);
  before.TakeFrom(network);
  Probe probe;
  Status status;
  for (int pass = 0; pass <= passes && status.ok(); ++pass) {
    probe.measures_scales = pass == 0;  // which warms the caches, too
    probe.StartPass(static_cast<size_t>(pass));
    status = network.Gradients(first->x, first->target, {.observer = &probe}).status();
  }
  before.ApplyTo(network);
  LOCKSTEP_TRY(status);

  std::vector<LayerFacts> all;
  const std::vector<LayerReport>& report = network.program().graph().report();
  for (const LayerReport& layer : report) {
    const Probe::Seen* const seen = probe.Find(layer.path);
    const bool outer = std::any_of(report.begin(), report.end(), [&](const LayerReport& other) {
      return Holds(layer.path, other.path);
    });
    if (seen == nullptr || outer) continue;
    LayerFacts facts{.path = layer.path,
                     .kind = layer.kind,
                     .forward_ms = Median(seen->forward),
                     .backward_ms = Median(seen->backward),
                     .output = seen->output,
                     .input_gradient = seen->input_gradient};
    AddParameters(network.parameters(), facts);
    all.push_back(std::move(facts));
  }
  return all;
}

}  // namespace lockstep::tools
