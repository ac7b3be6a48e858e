// The language models; items are tokens.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bench/workloads.h"
#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "layers/loss/cross_entropy.h"
#include "models/gpt.h"

namespace lockstep::inline v0_1::bench {
namespace {

struct Sizes {
  const char* name;
  int64_t batch, length;
  GptOptions model;
};

// Made when they are first asked for, which is before main.
std::span<const Sizes> Known() {
  static const Sizes known[] = {
      {"gpt_nano_b12t64", 12, 64, GptNano()},
      {"gpt_mini_b8t256", 8, 256, GptMini()},
      {"gpt2_124m_b4t64", 4, 64, {.vocabulary = 50304}},
  };
  return known;
}

StepCost CostOf(const Sizes& work, int64_t batch, int64_t parameters) {
  StepCost cost;
  const int64_t rows = batch * work.length, width = work.model.width;
  for (int64_t i = 0; i < work.model.layers; ++i) {
    cost.AddProduct(rows, 3 * width, width, /*wants_dx=*/true);
    cost.AddAttention(batch, work.length, width);
    cost.AddProduct(rows, width, width, /*wants_dx=*/true);
    cost.AddProduct(rows, 4 * width, width, /*wants_dx=*/true);
    cost.AddProduct(rows, width, 4 * width, /*wants_dx=*/true);
  }
  cost.AddProduct(rows, work.model.vocabulary, width, /*wants_dx=*/true);
  cost.AddAdamW(parameters);
  return cost;
}

Result<std::unique_ptr<BoundWorkload>> Bind(const Sizes& work, Context& ctx,
                                            const scale::WorkPlace& place) {
  const int64_t batch = place.samples_here();
  LOCKSTEP_TRY_ASSIGN(Network net, Network::Bind(ctx, Gpt(work.model), CrossEntropyLoss(),
                                                 {.input = {batch, work.length},
                                                  .input_dtype = DType::kI32,
                                                  .shards = place.shards,
                                                  .communicator = place.communicator}));
  auto bound = std::make_unique<BoundWorkload>(
      std::move(net), std::make_unique<AdamW>(AdamWOptions{
                          .lr = 1e-4, .weight_decay = 0.01, .decay_all = true, .groups = {}}));
  Random random(1, StreamOf("bench"));
  bound->AddBelow(work.model.vocabulary, {batch, work.length}, random);
  bound->AddBelow(work.model.vocabulary, {batch, work.length}, random);
  bound->cost = CostOf(work, batch, bound->network.parameter_count());
  bound->items = batch * work.length;
  return bound;
}

}  // namespace

std::vector<Workload> GptWorkloads() { return WorkloadsOf(Known(), Bind); }

}  // namespace lockstep::bench
