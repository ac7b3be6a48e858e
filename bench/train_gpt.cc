// Whole training steps of language models: train/WORKLOAD/PRECISION/threads:N. One iteration is
// forward, loss, backward and optimizer on a batch that is in memory already; items are tokens.
// floor_ms and of_floor say what the machine's own limits allow (bench/floor.h).
#include <benchmark/benchmark.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bench/train_steps.h"
#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "layers/loss/cross_entropy.h"
#include "models/gpt.h"

namespace lockstep {
namespace {

struct Workload {
  const char* name;
  int64_t batch, length;
  GptOptions model;
};

const Workload kWorkloads[] = {
    {"gpt_nano_b12t64", 12, 64, GptNano()},
    {"gpt_mini_b8t256", 8, 256, GptMini()},
    {"gpt2_124m_b4t64", 4, 64, {.vocabulary = 50304}},
};

bench::StepCost CostOf(const Workload& work, int64_t parameters) {
  bench::StepCost cost;
  const int64_t rows = work.batch * work.length, width = work.model.width;
  for (int64_t i = 0; i < work.model.layers; ++i) {
    cost.AddProduct(rows, 3 * width, width, /*wants_dx=*/true);
    cost.AddAttention(work.batch, work.length, width);
    cost.AddProduct(rows, width, width, /*wants_dx=*/true);
    cost.AddProduct(rows, 4 * width, width, /*wants_dx=*/true);
    cost.AddProduct(rows, width, 4 * width, /*wants_dx=*/true);
  }
  cost.AddProduct(rows, work.model.vocabulary, width, /*wants_dx=*/true);
  cost.AddAdamW(parameters);
  return cost;
}

void Train(benchmark::State& state, const Workload& work, int threads, bench::Floors& floors) {
  Context ctx({.threads = threads});
  AdamW adam({.lr = 1e-4, .weight_decay = 0.01, .decay_all = true, .groups = {}});
  Result<Network> net =
      Network::Bind(ctx, Gpt(work.model), CrossEntropyLoss(),
                    {.input = {work.batch, work.length}, .input_dtype = DType::kI32});
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());

  Random random(1, StreamOf("bench"));
  std::vector<int32_t> tokens, targets;
  for (int64_t i = 0; i < work.batch * work.length; ++i) {
    const auto vocabulary = static_cast<uint64_t>(work.model.vocabulary);
    tokens.push_back(static_cast<int32_t>(random.Below(vocabulary)));
    targets.push_back(static_cast<int32_t>(random.Below(vocabulary)));
  }
  const std::vector<ConstTensor> inputs{ConstTensor(tokens.data(), {work.batch, work.length}),
                                        ConstTensor(targets.data(), {work.batch, work.length})};

  bench::TimeSteps(state, *net, inputs, adam, CostOf(work, net->parameter_count()),
                   work.batch * work.length, threads, floors);
}

const bool kRegistered =
    bench::RegisterTraining(std::span<const Workload>(kWorkloads), benchmark::kMillisecond, Train);

}  // namespace
}  // namespace lockstep
