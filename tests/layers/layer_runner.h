// Binds one layer alone and runs it forward and backward on the caller's numbers.
#ifndef LOCKSTEP_TESTS_LAYERS_LAYER_RUNNER_H_
#define LOCKSTEP_TESTS_LAYERS_LAYER_RUNNER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/layer.h"

namespace lockstep::testing {

// In [-1, 1), multiples of 2^-15: what Value() of tests/golden/make_layers.py gives.
inline std::vector<float> Values(uint32_t stream, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u + stream * 40503u + 12345u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    h *= 3266489917u;
    values[i] = static_cast<float>(h >> 16 & 0xFFFF) / 32768.0f - 1.0f;
  }
  return values;
}

class LayerRunner {
 public:
  LayerRunner(std::unique_ptr<Layer> layer, const Shape& in, int threads = 1, int shards = 1)
      : ctx_({.threads = threads}),
        layer_(std::move(layer)),
        plan_({.shards = shards, .threads = threads}) {
    Result<BoundIn> bound = BindInScope(*layer_, "", in, plan_);
    status_ = bound.status();
    if (!bound.ok()) return;
    out_ = bound->bound.out;
    workspace_ = std::make_unique<Workspace>(ctx_, plan_, /*seed=*/1);
  }

  const Status& status() const { return status_; }
  Layer& layer() { return *layer_; }
  const Planner& plan() const { return plan_; }
  const Shape& out() const { return out_; }

  // y of x, a batch of `samples`.
  std::vector<float> Forward(std::span<const float> x, const Shape& in, Mode mode = Mode::kTrain) {
    const Shape out = out_.WithBatch(in.batch());
    std::vector<float> y(static_cast<size_t>(out.size()), NAN);
    ++version_;
    layer_->Forward(MakeStep(mode), {x.data(), in}, {y.data(), out});
    return y;
  }
  // dx, after Forward with the same x in training.
  std::vector<float> Backward(std::span<const float> x, const Shape& in, std::span<const float> y,
                              std::span<const float> dy, Mode mode = Mode::kTrain,
                              bool accumulate = false) {
    const Shape out = out_.WithBatch(in.batch());
    std::vector<float> dx(x.size(), NAN);
    Step step = MakeStep(mode);
    step.accumulate = accumulate;
    layer_->Backward(step, {x.data(), in}, {y.data(), out}, {dy.data(), out}, {dx.data(), in});
    return dx;
  }

  std::span<float> value(const std::string& name) { return Find(name, false); }
  std::span<float> gradient(const std::string& name) { return Find(name, true); }
  std::span<float> state(const std::string& name) {
    for (size_t i = 0; i < workspace_->states().size(); ++i) {
      if (workspace_->states()[i].name == name) return workspace_->state(i).span<float>();
    }
    return {};
  }

 private:
  Step MakeStep(Mode mode) {
    return {.ctx = ctx_, .workspace = *workspace_, .mode = mode, .seed = 1, .version = version_};
  }
  std::span<float> Find(const std::string& name, bool gradient) {
    const ParameterSet set = workspace_->parameters();
    for (size_t i = 0; i < set.infos.size(); ++i) {
      if (set.infos[i].name == name)
        return (gradient ? set.gradient(i) : set.value(i)).span<float>();
    }
    return {};
  }

  Context ctx_;
  std::unique_ptr<Layer> layer_;
  Planner plan_;
  Status status_;
  Shape out_;
  std::unique_ptr<Workspace> workspace_;
  uint64_t version_ = 1;
};

}  // namespace lockstep::testing

#endif  // LOCKSTEP_TESTS_LAYERS_LAYER_RUNNER_H_
