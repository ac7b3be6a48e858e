// The named workloads of training steps: models, losses, optimizers and batches of numbers drawn at
// random, for those who time them.
#ifndef LOCKSTEP_BENCH_WORKLOADS_H_
#define LOCKSTEP_BENCH_WORKLOADS_H_

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/floor.h"
#include "engine/base/random.h"
#include "engine/base/status.h"
#include "engine/optim/optimizer.h"
#include "engine/train/network.h"
#include "tools/scale/training_work.h"

namespace lockstep::inline v0_1::bench {

// One of them, ready to train. Borrows the Context.
struct BoundWorkload {
  BoundWorkload(Network bound, std::unique_ptr<Optimizer> steps)
      : network(std::move(bound)), optimizer(std::move(steps)) {}

  // Inputs of this shape, which are kept here.
  void AddNormal(const Shape& shape, Random& random) {
    floats.emplace_back();
    for (int64_t i = 0; i < shape.size(); ++i)
      floats.back().push_back(static_cast<float>(random.Normal()));
    inputs.emplace_back(floats.back().data(), shape);
  }
  void AddBelow(int64_t limit, const Shape& shape, Random& random) {
    integers.emplace_back();
    for (int64_t i = 0; i < shape.size(); ++i)
      integers.back().push_back(static_cast<int32_t>(random.Below(static_cast<uint64_t>(limit))));
    inputs.emplace_back(integers.back().data(), shape);
  }

  Network network;
  std::unique_ptr<Optimizer> optimizer;
  std::vector<std::vector<float>> floats{};
  std::vector<std::vector<int32_t>> integers{};
  std::vector<ConstTensor> inputs{};
  StepCost cost{};    // of the samples here
  int64_t items = 0;  // in them: samples, or tokens
};

struct Workload {
  std::string name{};
  int64_t batch = 0;
  benchmark::TimeUnit unit = benchmark::kMillisecond;
  // For as many threads as the Context has, of which `place` is what else there is to say.
  std::function<Result<std::unique_ptr<BoundWorkload>>(Context&, const scale::WorkPlace& place)>
      bind{};
};

// Of descriptions that live for ever, each with a name and a batch.
template <class Sizes, class Bind>
std::vector<Workload> WorkloadsOf(const Sizes& known, const Bind& bind,
                                  benchmark::TimeUnit unit = benchmark::kMillisecond) {
  std::vector<Workload> all;
  for (const auto& work : known) {
    all.push_back({.name = work.name,
                   .batch = work.batch,
                   .unit = unit,
                   .bind = [&work, bind](Context& ctx, const scale::WorkPlace& place) {
                     return bind(work, ctx, place);
                   }});
  }
  return all;
}

std::vector<Workload> MlpWorkloads();
std::vector<Workload> CnnWorkloads();
std::vector<Workload> GptWorkloads();
std::vector<Workload> AllWorkloads();

}  // namespace lockstep::bench

#endif  // LOCKSTEP_BENCH_WORKLOADS_H_
