// Whole training steps of the named workloads: train/WORKLOAD/PRECISION/threads:N. One iteration is
// forward, loss, backward and optimizer on a batch that is in memory already. floor_ms and of_floor
// say what the machine's own limits allow (bench/floor.h).
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <string>

#include "bench/floor.h"
#include "bench/workloads.h"

namespace lockstep::inline v0_1::bench {
namespace {

// Checks that it learns, times whole steps on one batch, and reports them beside their floor.
void TimeSteps(benchmark::State& state, BoundWorkload& work, int threads, Floors& floors) {
  // A step that does not learn is not worth timing: these few must bring the loss on this one batch
  // down.
  Network& net = work.network;
  const Result<double> first = net.TrainStep(work.inputs, *work.optimizer);
  if (!first.ok()) return state.SkipWithError(first.status().message().c_str());
  constexpr int kSteps = 8;
  for (int i = 1; i <= kSteps; ++i) {
    const Result<double> now = net.TrainStep(work.inputs, *work.optimizer);
    if (!now.ok() || !std::isfinite(*now)) return state.SkipWithError("the loss is not finite");
    if (i == kSteps && !(*now < *first)) return state.SkipWithError("the loss does not fall");
  }
  floors.Of(work.cost, threads);  // measures, if nobody has: not right behind the steps
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    Result<double> loss_now = net.TrainStep(work.inputs, *work.optimizer);
    benchmark::DoNotOptimize(loss_now);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  state.SetItemsProcessed(state.iterations() * work.items);
  floors.Report(state, work.cost, threads, taken.count());
}

void Train(benchmark::State& state, const Workload& work, int threads, Floors& floors) {
  Context ctx({.threads = threads});
  const auto bound = work.bind(ctx, {.threads = threads, .batch = work.batch});
  if (!bound.ok()) return state.SkipWithError(bound.status().message().c_str());
  TimeSteps(state, **bound, threads, floors);
}

const bool kRegistered = [] {
  const auto floors = std::make_shared<Floors>();
  for (const Workload& work : AllWorkloads()) {
    for (const int threads : {1, 2}) {
      const std::string name = "train/" + work.name + "/fp32/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(
          name.c_str(), [=](benchmark::State& state) { Train(state, work, threads, *floors); })
          ->UseRealTime()
          ->Unit(work.unit);
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep::bench
