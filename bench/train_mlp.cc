// Whole training steps of the MLP workloads: train/WORKLOAD/PRECISION/threads:N. One iteration is
// forward, loss, backward and optimizer on a batch that is in memory already. floor_ms and of_floor
// say what the machine's own limits allow (bench/floor.h).
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bench/train_steps.h"
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

  bench::TimeSteps(state, *net, std::array{input, target}, *optimizer,
                   CostOf(work, net->parameter_count()), work.batch, threads, floors);
}

const bool kRegistered =
    bench::RegisterTraining(std::span<const Workload>(kWorkloads), benchmark::kMicrosecond, Train);

}  // namespace
}  // namespace lockstep
