// Binds one layer alone and runs it forward and backward on the caller's numbers.
#ifndef LOCKSTEP_TESTS_LAYERS_LAYER_RUNNER_H_
#define LOCKSTEP_TESTS_LAYERS_LAYER_RUNNER_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/layer.h"
#include "engine/plan/program.h"

namespace lockstep::inline v0_1::testing {

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

// A "loss" whose gradient with respect to y is what the caller brings as its target.
class GivenGradient final : public LossOperation {
 public:
  Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {{Shape{1}, DType::kF64}}, .reads_x = {false, true}};
  }
  void Forward(const Step&, const Operands& o) override { *o.y().as<double>() = 0.0; }
  void Backward(const Step&, const Operands& o) override {
    std::memcpy(o.dx(0).data(), o.x(1).data(), o.x(1).bytes());
  }
  double Weight(const Step&, const Operands&) const override { return 1.0; }
};

enum class Mode { kTrain, kEvaluate };

class LayerRunner {
 public:
  // `frozen`: as in NetworkOptions.
  LayerRunner(std::unique_ptr<Layer> layer, const Shape& in, std::vector<std::string> frozen = {},
              int threads = 1, int shards = 1)
      : ctx_({.threads = threads}),
        layer_(std::move(layer)),
        frozen_(std::move(frozen)),
        shards_(shards) {
    for (const bool training : {true, false}) {
      Result<std::unique_ptr<Program>> made = Make(in, training);
      status_ = made.status();
      if (!made.ok()) return;
      (training ? training_ : evaluation_) = std::move(*made);
    }
    store_.Allocate(ctx_, /*seed=*/1, /*training=*/true);
    for (Program* program : {training_.get(), evaluation_.get()}) {
      memory_.emplace_back(ctx_, program->step_bytes() + program->kept_bytes() + 64);
      std::byte* const memory = memory_.back().data();
      program->Place(memory, memory + program->step_bytes());
    }
  }

  const Status& status() const { return status_; }
  const Program& program() const { return *training_; }
  const ParameterStore& store() const { return store_; }
  const Shape& out() const { return out_; }

  // y of x, a batch of `samples`.
  std::vector<float> Forward(std::span<const float> x, const Shape& in, Mode mode = Mode::kTrain) {
    Program& program = mode == Mode::kTrain ? *training_ : *evaluation_;
    const Shape out = out_.WithBatch(in.batch());
    std::vector<float> y(static_cast<size_t>(out.size()), NAN);
    store_.Changed();
    const Step step = Start(program, x, in);
    program.SetOutput(0, Tensor(y.data(), out));
    program.Forward(step, /*losses=*/false);
    return y;
  }
  // dx, after Forward with the same x in training.
  std::vector<float> Backward(std::span<const float> x, const Shape& in, std::span<const float> dy,
                              bool accumulate = false) {
    Step step = Start(*training_, x, in);
    step.accumulate = accumulate;
    training_->SetInput(1, ConstTensor(dy.data(), out_.WithBatch(in.batch())));
    const double factor = 1.0;
    training_->Backward(step, {&factor, 1});
    const std::span<const float> dx = training_->input_gradient(0).span<float>();
    return {dx.begin(), dx.end()};
  }

  std::span<float> value(const std::string& name) { return Find(name, false); }
  std::span<float> gradient(const std::string& name) { return Find(name, true); }
  std::span<float> state(const std::string& name) {
    for (size_t i = 0; i < store_.states().size(); ++i) {
      if (store_.states()[i].name == name && store_.states()[i].dtype == DType::kF32)
        return store_.StateToWrite(i).span<float>();
    }
    return {};
  }
  int64_t count(const std::string& name) const {
    for (size_t i = 0; i < store_.states().size(); ++i) {
      if (store_.states()[i].name == name) return store_.state(i).span<int64_t>()[0];
    }
    return -1;
  }

 private:
  Result<std::unique_ptr<Program>> Make(const Shape& in, bool training) {
    Graph graph(
        store_,
        {.training = training, .threads = ctx_.threads(), .shards = shards_, .samples = in.batch()},
        frozen_);
    LOCKSTEP_TRY_ASSIGN(const Value x, graph.AddInput("x", in, DType::kF32, training));
    LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "", *layer_, x));
    out_ = graph.shape(y);
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    if (training) {
      LOCKSTEP_TRY_ASSIGN(const Value dy, graph.AddInput("dy", out_));
      LOCKSTEP_TRY(graph.AddLoss("given", GivenGradient(), {y, dy}));
    }
    return Program::Make(std::move(graph), {});
  }
  Step Start(Program& program, std::span<const float> x, const Shape& in) {
    const BatchCut cut = BatchCut::Whole(in.batch(), shards_);
    program.SetCut(cut);
    program.SetInput(0, ConstTensor(x.data(), in));
    return {.ctx = ctx_,
            .program = program,
            .cut = cut,
            .seed = 1,
            .states = store_.state_memory(/*staged=*/false)};
  }
  std::span<float> Find(const std::string& name, bool gradient) {
    const ParameterSet set = store_.ParametersToWrite();
    for (size_t i = 0; i < set.infos.size(); ++i) {
      if (set.infos[i].name == name)
        return (gradient ? set.gradient(i) : set.value(i)).span<float>();
    }
    return {};
  }

  Context ctx_;
  std::unique_ptr<Layer> layer_;
  std::vector<std::string> frozen_;
  int shards_;
  ParameterStore store_;
  Status status_;
  Shape out_;
  std::unique_ptr<Program> training_, evaluation_;
  std::vector<PageMemory> memory_;
};

}  // namespace lockstep::testing

#endif  // LOCKSTEP_TESTS_LAYERS_LAYER_RUNNER_H_
