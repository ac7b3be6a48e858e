// Recurrent layers as tests bind them: with segments that the test gives.
#ifndef LOCKSTEP_TESTS_LAYERS_RECURRENT_NETS_H_
#define LOCKSTEP_TESTS_LAYERS_RECURRENT_NETS_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "layers/recurrent/gru.h"
#include "layers/recurrent/last_step.h"
#include "layers/recurrent/lstm.h"
#include "tests/layers/layer_runner.h"

namespace lockstep::inline v0_1::testing {

// Segments that a test gives: those of as many samples as x has.
class GivenSegments final : public Operation {
 public:
  explicit GivenSegments(std::vector<int32_t> segments) : segments_(std::move(segments)) {}
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{
        .outputs = {{Shape{x[0].shape[0], x[0].shape[1]}, DType::kI32, /*batched=*/true}}};
  }
  void Forward(const Step&, const Operands& o) override {
    std::copy_n(segments_.begin(), o.y().size(), o.y().as<int32_t>());
  }

 private:
  std::vector<int32_t> segments_;
};

struct Net {
  bool lstm = true;
  int64_t hidden = 5;
  RecurrentOptions options{};
  std::vector<int32_t> segments{};  // (B, T), or empty
  bool last_step = false;
};

class NetLayer final : public Layer {
 public:
  explicit NetLayer(Net net) : net_(std::move(net)) {}
  std::string kind() const override { return "Net"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    RecurrentOptions options = net_.options;
    if (!net_.segments.empty()) {
      LOCKSTEP_TRY_ASSIGN(options.segments, graph.Add(GivenSegments(net_.segments), {x}));
    }
    LOCKSTEP_TRY_ASSIGN(const Value y, net_.lstm ? Lstm(net_.hidden, options).Build(graph, x)
                                                 : Gru(net_.hidden, options).Build(graph, x));
    if (!net_.last_step) return y;
    return LastStep({.bidirectional = options.bidirectional, .segments = options.segments})
        .Build(graph, y);
  }

 private:
  Net net_;
};

struct Numbers {
  std::vector<float> y, dx;
  std::map<std::string, std::vector<float>> gradients;
};

inline Numbers NumbersOf(LayerRunner& runner, std::span<const float> x, const Shape& in,
                         std::span<const float> dy) {
  Numbers numbers;
  numbers.y = runner.Forward(x, in);
  numbers.dx = runner.Backward(x, in, dy);
  numbers.dx.resize(static_cast<size_t>(in.size()));
  for (const ParameterInfo& info : runner.store().infos()) {
    const std::span<float> gradient = runner.gradient(info.name);
    numbers.gradients[info.name] = {gradient.begin(), gradient.end()};
  }
  return numbers;
}

}  // namespace lockstep::testing

#endif  // LOCKSTEP_TESTS_LAYERS_RECURRENT_NETS_H_
