// Whole training steps of the MLP workloads: train/WORKLOAD/PRECISION/threads:N. One iteration is
// forward, loss, backward and optimizer on a batch that is in memory already. floor_ms and of_floor
// say what the machine's own limits allow (bench/floor.h).
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
#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/cross_entropy.h"
#include "models/mlp.h"

namespace lockstep {
namespace {

struct Workload {
  const char* name;
  int64_t batch, inputs;
  std::vector<int64_t> hidden;
  int64_t outputs;  // 1: binary cross entropy and AdamW; more: cross entropy and SGD with momentum
};

const Workload kWorkloads[] = {
    {"mlp_clinical_b32", 32, 20, {64, 32}, 1},
    {"mlp_clinical_b256", 256, 20, {64, 32}, 1},
    {"mlp_wide_b256", 256, 784, {2048, 2048}, 10},
    {"mlp_deep_b512", 512, 784, std::vector<int64_t>(12, 256), 10},
};

bench::StepCost CostOf(const Workload& work, int64_t parameters) {
  bench::StepCost cost;
  std::vector<int64_t> widths = work.hidden;
  widths.push_back(work.outputs);
  int64_t inputs = work.inputs;
  for (size_t i = 0; i < widths.size(); ++i) {
    cost.AddProduct(work.batch, widths[i], inputs, /*wants_dx=*/i > 0);
    inputs = widths[i];
  }
  if (work.outputs == 1) {
    cost.AddAdamW(parameters);
  } else {
    cost.AddSgdMomentum(parameters);
  }
  return cost;
}

void Train(benchmark::State& state, const Workload& work, int threads, bench::Floors& floors) {
  Context ctx({.threads = threads});
  const bool binary = work.outputs == 1;
  std::unique_ptr<Loss> loss;
  std::unique_ptr<Optimizer> optimizer;
  if (binary) {
    loss = std::make_unique<BceWithLogitsLoss>();
    optimizer = std::make_unique<AdamW>(
        AdamWOptions{.lr = 1e-4, .weight_decay = 0.01, .decay_all = true, .groups = {}});
  } else {
    loss = std::make_unique<CrossEntropyLoss>();
    optimizer = std::make_unique<Sgd>(SgdOptions{
        .lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4, .decay_all = true, .groups = {}});
  }
  Result<Network> net = Network::Bind(
      ctx, std::make_unique<Sequential>(Mlp({.hidden = work.hidden, .outputs = work.outputs})),
      std::move(loss), {.input = {work.batch, work.inputs}});
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());

  Random random(1, StreamOf("bench"));
  std::vector<float> x(static_cast<size_t>(work.batch * work.inputs));
  for (float& v : x) v = static_cast<float>(random.Normal());
  std::vector<float> values(static_cast<size_t>(work.batch));
  std::vector<int32_t> classes(static_cast<size_t>(work.batch));
  for (size_t i = 0; i < values.size(); ++i) {
    classes[i] =
        static_cast<int32_t>(random.Below(static_cast<uint64_t>(binary ? 2 : work.outputs)));
    values[i] = static_cast<float>(classes[i]);
  }
  const ConstTensor input(x.data(), {work.batch, work.inputs});
  const ConstTensor target = binary ? ConstTensor(values.data(), {work.batch, 1})
                                    : ConstTensor(classes.data(), {work.batch});

  // A step that does not learn is not worth timing: these few must bring the loss on this one batch
  // down.
  const Result<double> first = net->TrainStep(input, target, *optimizer);
  if (!first.ok()) return state.SkipWithError(first.status().message().c_str());
  for (int i = 0; i < 10; ++i) {
    const Result<double> now = net->TrainStep(input, target, *optimizer);
    if (!now.ok() || !std::isfinite(*now)) return state.SkipWithError("the loss is not finite");
    if (i == 9 && !(*now < *first)) return state.SkipWithError("the loss does not fall");
  }
  const bench::StepCost cost = CostOf(work, net->parameter_count());
  floors.Of(cost,
            threads);  // measures, if nobody has: not right behind the steps, on a hot machine
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    Result<double> loss_now = net->TrainStep(input, target, *optimizer);
    benchmark::DoNotOptimize(loss_now);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  state.SetItemsProcessed(state.iterations() * work.batch);
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
          ->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
