// The MLP workloads.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bench/workloads.h"
#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/cross_entropy.h"
#include "models/mlp.h"

namespace lockstep::inline v0_1::bench {
namespace {

struct Sizes {
  const char* name;
  int64_t batch, inputs;
  std::vector<int64_t> hidden;
  int64_t outputs;  // 1: binary cross entropy and AdamW; more: cross entropy and SGD with momentum
};

// Made when they are first asked for, which is before main.
std::span<const Sizes> Known() {
  static const Sizes known[] = {
      {"mlp_clinical_b32", 32, 20, {64, 32}, 1},
      {"mlp_clinical_b256", 256, 20, {64, 32}, 1},
      {"mlp_wide_b256", 256, 784, {2048, 2048}, 10},
      {"mlp_deep_b512", 512, 784, std::vector<int64_t>(12, 256), 10},
  };
  return known;
}

StepCost CostOf(const Sizes& work, int64_t batch, int64_t parameters) {
  StepCost cost;
  std::vector<int64_t> widths = work.hidden;
  widths.push_back(work.outputs);
  int64_t inputs = work.inputs;
  for (size_t i = 0; i < widths.size(); ++i) {
    cost.AddProduct(batch, widths[i], inputs, /*wants_dx=*/i > 0);
    inputs = widths[i];
  }
  if (work.outputs == 1) {
    cost.AddAdamW(parameters);
  } else {
    cost.AddSgdMomentum(parameters);
  }
  return cost;
}

Result<std::unique_ptr<BoundWorkload>> Bind(const Sizes& work, Context& ctx,
                                            const scale::WorkPlace& place) {
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
  const int64_t batch = place.samples_here();
  LOCKSTEP_TRY_ASSIGN(
      Network net,
      Network::Bind(
          ctx, std::make_unique<Sequential>(Mlp({.hidden = work.hidden, .outputs = work.outputs})),
          std::move(loss),
          {.input = {batch, work.inputs},
           .shards = place.shards,
           .communicator = place.communicator}));
  auto bound = std::make_unique<BoundWorkload>(std::move(net), std::move(optimizer));
  Random random(1, StreamOf("bench"));
  bound->AddNormal({batch, work.inputs}, random);
  bound->AddBelow(binary ? 2 : work.outputs, {batch}, random);
  if (binary) {
    const std::vector<int32_t>& classes = bound->integers.back();
    bound->floats.emplace_back(classes.begin(), classes.end());
    bound->inputs.back() = ConstTensor(bound->floats.back().data(), {batch, 1});
  }
  bound->cost = CostOf(work, batch, bound->network.parameter_count());
  bound->items = batch;
  return bound;
}

}  // namespace

std::vector<Workload> MlpWorkloads() { return WorkloadsOf(Known(), Bind, benchmark::kMicrosecond); }

}  // namespace lockstep::bench
