// Runs one of graph_cases.h for one step, in memory full of NaN.
#ifndef LOCKSTEP_TESTS_ENGINE_PLAN_GRAPH_RUNS_H_
#define LOCKSTEP_TESTS_ENGINE_PLAN_GRAPH_RUNS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/network.h"
#include "tests/engine/plan/graph_cases.h"

namespace lockstep::inline v0_1::cases {

class CaseModel final : public Model {
 public:
  // `regions`: of each operation, or -1: what Graph::Recomputed would have made of it.
  explicit CaseModel(const Case& c, std::vector<int> regions = {})
      : case_(c), regions_(std::move(regions)) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value x, graph.AddInput("x", {graph.batch(), kWidth}, DType::kF32,
                                                      /*wants_gradient=*/true));
    LOCKSTEP_TRY(case_.build(graph, x));
    for (size_t i = 0; i < regions_.size(); ++i) graph.nodes()[i].region = regions_[i];
    return Status::Ok();
  }

 private:
  const Case& case_;
  std::vector<int> regions_;
};

// What one step gives, by the names of inputs and parameters.
struct Outcome {
  double loss = 0.0;
  std::map<std::string, std::vector<float>> inputs, gradients;
};

inline std::vector<float> FloatsOf(ConstTensor tensor) {
  return {tensor.f32(), tensor.f32() + tensor.size()};
}

// `observer`: made of the bound network, or null.
inline Outcome RunOf(const Case& c, int64_t samples, Fusion fusion, bool share_memory,
                     const std::vector<int>& regions = {},
                     const std::function<std::unique_ptr<StepObserver>(Network&)>& observer = {}) {
  Context ctx({.threads = 2});
  Result<Network> net = Network::Bind(
      ctx, CaseModel(c, regions), kBatch,
      {.seed = 5, .shards = 2, .frozen = c.frozen, .share_memory = share_memory, .fusion = fusion});
  EXPECT_TRUE(net.ok()) << net.status().message();
  Outcome outcome;
  std::vector<std::vector<float>> data;
  std::vector<ConstTensor> inputs;
  const Graph& graph = net->training_program().graph();
  for (const Graph::Input& input : graph.inputs()) {
    Random random(/*seed=*/1, StreamOf(input.name));
    const Shape shape = graph.shape(input.value).WithBatch(samples);
    std::vector<float> values(static_cast<size_t>(graph.shape(input.value).size()));
    for (float& v : values) v = static_cast<float>(2.0 * random.Uniform() - 1.0);
    values.resize(static_cast<size_t>(shape.size()));
    data.push_back(values);
    outcome.inputs[input.name] = values;
    inputs.emplace_back(data.back().data(), shape);
  }
  // Whatever is read before it is written is NaN.
  std::fill(net->step_memory().begin(), net->step_memory().end(), std::byte{0xFF});
  {
    ParameterWriter write = net->Write();
    for (size_t i = 0; i < write->infos.size(); ++i)
      std::fill_n(write->gradient(i).f32(), write->gradient(i).size(), NAN);
  }
  const std::unique_ptr<StepObserver> watch = observer ? observer(*net) : nullptr;
  const Result<StepResult> result = net->Gradients(inputs, {.observer = watch.get()});
  EXPECT_TRUE(result.ok()) << result.status().message();
  outcome.loss = result.ok() ? result->mean() : NAN;
  const ConstParameterSet parameters = net->parameters();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    outcome.inputs[parameters.infos[i].name] = FloatsOf(parameters.value(i));
    outcome.gradients[parameters.infos[i].name] = FloatsOf(parameters.gradient(i));
  }
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    if (graph.inputs()[i].wants_gradient)
      outcome.gradients[graph.inputs()[i].name] =
          FloatsOf(net->training_program().input_gradient(i));
  }
  return outcome;
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace lockstep::cases

#endif  // LOCKSTEP_TESTS_ENGINE_PLAN_GRAPH_RUNS_H_
