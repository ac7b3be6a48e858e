// Whole training steps of language models: train/WORKLOAD/PRECISION/threads:N. One iteration is
// forward, loss, backward and optimizer on a batch that is in memory already; items are tokens.
// floor_ms and of_floor say what the machine's own limits allow (bench/floor.h).
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/floor.h"
#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/attention/multi_head_attention.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "layers/norm/layer_norm.h"
#include "layers/sequence/embedding.h"
#include "layers/sequence/places.h"

namespace lockstep {
namespace {

struct Workload {
  const char* name;
  int64_t batch, length;
  int64_t layers, heads, width, vocabulary, context;
};

const Workload kWorkloads[] = {
    {"gpt_nano_b12t64", 12, 64, 4, 4, 128, 65, 64},
    {"gpt_mini_b8t256", 8, 256, 6, 6, 384, 65, 256},
    {"gpt2_124m_b4t64", 4, 64, 12, 12, 768, 50304, 1024},
};

class GptModel final : public Model {
 public:
  explicit GptModel(const Workload& work) : work_(work) {}
  Status Build(Graph& graph) const override {
    const float sd = 0.02f;
    LOCKSTEP_TRY_ASSIGN(const Value tokens,
                        graph.AddInput("tokens", {graph.batch(), work_.length}, DType::kI32));
    const Embedding embedding(work_.vocabulary, work_.width, {.init_sd = sd, .padded = false});
    LOCKSTEP_TRY_ASSIGN(const Value of_tokens, Apply(graph, "wte", embedding, tokens));
    LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, tokens));
    LOCKSTEP_TRY_ASSIGN(const Value of_places,
                        Apply(graph, "wpe", PositionEmbedding(work_.context, work_.width, sd),
                              places.positions));
    LOCKSTEP_TRY_ASSIGN(Value x, graph.Add(Sum(), {of_tokens, of_places}));
    const auto linear = [&](int64_t out) {
      return Linear(out, {.init = LinearOptions::WeightInit::kNormal, .init_scale = sd});
    };
    for (int64_t i = 0; i < work_.layers; ++i) {
      const Residual attention(Sequential(
          LayerNorm(), MultiHeadAttention({.heads = work_.heads,
                                           .causal = true,
                                           .init_sd = sd,
                                           .out_init_sd = sd})));
      const Residual feed_forward(
          Sequential(LayerNorm(), linear(4 * work_.width), Gelu(GeluApproximation::kTanh),
                     linear(work_.width)));
      const std::string name = "h" + std::to_string(i);
      LOCKSTEP_TRY_ASSIGN(x, Apply(graph, name + "a", attention, x));
      LOCKSTEP_TRY_ASSIGN(x, Apply(graph, name + "f", feed_forward, x));
    }
    LOCKSTEP_TRY_ASSIGN(x, Apply(graph, "ln_f", LayerNorm(), x));
    Value weight;
    {
      Graph::Scope scope(graph, "wte", "head", &embedding);
      LOCKSTEP_TRY_ASSIGN(weight, embedding.Weight(graph));
    }
    LOCKSTEP_TRY_ASSIGN(const Value y, AddProduct(graph, x, weight));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return AddLoss(graph, "target", CrossEntropyLoss(), y);
  }

 private:
  const Workload& work_;
};

bench::StepCost CostOf(const Workload& work, int64_t parameters) {
  bench::StepCost cost;
  const int64_t rows = work.batch * work.length, width = work.width;
  for (int64_t i = 0; i < work.layers; ++i) {
    cost.AddProduct(rows, 3 * width, width, /*wants_dx=*/true);
    cost.AddAttention(work.batch, work.length, width);
    cost.AddProduct(rows, width, width, /*wants_dx=*/true);
    cost.AddProduct(rows, 4 * width, width, /*wants_dx=*/true);
    cost.AddProduct(rows, width, 4 * width, /*wants_dx=*/true);
  }
  cost.AddProduct(rows, work.vocabulary, width, /*wants_dx=*/true);
  cost.AddAdamW(parameters);
  return cost;
}

void Train(benchmark::State& state, const Workload& work, int threads, bench::Floors& floors) {
  Context ctx({.threads = threads});
  AdamW adam({.lr = 1e-4, .weight_decay = 0.01, .decay_all = true, .groups = {}});
  Result<Network> net =
      Network::Bind(ctx, std::make_unique<GptModel>(work), work.batch, NetworkOptions{});
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());

  Random random(1, StreamOf("bench"));
  std::vector<int32_t> tokens, targets;
  for (int64_t i = 0; i < work.batch * work.length; ++i) {
    const auto vocabulary = static_cast<uint64_t>(work.vocabulary);
    tokens.push_back(static_cast<int32_t>(random.Below(vocabulary)));
    targets.push_back(static_cast<int32_t>(random.Below(vocabulary)));
  }
  const std::vector<ConstTensor> inputs{ConstTensor(tokens.data(), {work.batch, work.length}),
                                        ConstTensor(targets.data(), {work.batch, work.length})};

  // A step that does not learn is not worth timing: these few must bring the loss on this one batch
  // down.
  const Result<double> first = net->TrainStep(inputs, adam);
  if (!first.ok()) return state.SkipWithError(first.status().message().c_str());
  for (int i = 0; i < 5; ++i) {
    const Result<double> now = net->TrainStep(inputs, adam);
    if (!now.ok() || !std::isfinite(*now)) return state.SkipWithError("the loss is not finite");
    if (i == 4 && !(*now < *first)) return state.SkipWithError("the loss does not fall");
  }
  const bench::StepCost cost = CostOf(work, net->parameter_count());
  floors.Of(cost, threads);  // measures, if nobody has: not right behind the steps
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    Result<double> loss_now = net->TrainStep(inputs, adam);
    benchmark::DoNotOptimize(loss_now);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  state.SetItemsProcessed(state.iterations() * work.batch * work.length);
  floors.Report(state, cost, threads, taken.count());
}

const bool kRegistered = [] {
  const auto floors = std::make_shared<bench::Floors>();
  for (const Workload& work : kWorkloads) {
    for (const int threads : {1, 2}) {
      const std::string name =
          std::string("train/") + work.name + "/fp32/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(
          name.c_str(), [=](benchmark::State& state) { Train(state, work, threads, *floors); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
