// What every benchmark of training steps does with its workload: checks that it learns, times whole
// steps on one batch, and reports them beside their floor.
#ifndef LOCKSTEP_BENCH_TRAIN_STEPS_H_
#define LOCKSTEP_BENCH_TRAIN_STEPS_H_

#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bench/floor.h"
#include "engine/optim/optimizer.h"
#include "engine/train/network.h"

namespace lockstep::bench {

// `items` of a step are what items_per_second counts.
inline void TimeSteps(benchmark::State& state, Network& net, std::span<const ConstTensor> inputs,
                      Optimizer& optimizer, const StepCost& cost, int64_t items, int threads,
                      Floors& floors) {
  // A step that does not learn is not worth timing: these few must bring the loss on this one batch
  // down.
  const Result<double> first = net.TrainStep(inputs, optimizer);
  if (!first.ok()) return state.SkipWithError(first.status().message().c_str());
  constexpr int kSteps = 8;
  for (int i = 1; i <= kSteps; ++i) {
    const Result<double> now = net.TrainStep(inputs, optimizer);
    if (!now.ok() || !std::isfinite(*now)) return state.SkipWithError("the loss is not finite");
    if (i == kSteps && !(*now < *first)) return state.SkipWithError("the loss does not fall");
  }
  floors.Of(cost, threads);  // measures, if nobody has: not right behind the steps
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    Result<double> loss_now = net.TrainStep(inputs, optimizer);
    benchmark::DoNotOptimize(loss_now);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  state.SetItemsProcessed(state.iterations() * items);
  floors.Report(state, cost, threads, taken.count());
}

// Registers train/WORKLOAD/fp32/threads:N for each workload, on one thread and on two;
// train(state, workload, threads, floors) runs one.
template <class Workload, class Train>
bool RegisterTraining(std::span<const Workload> workloads, benchmark::TimeUnit unit, Train train) {
  const auto floors = std::make_shared<Floors>();
  for (const Workload& work : workloads) {
    for (const int threads : {1, 2}) {
      const std::string name =
          std::string("train/") + work.name + "/fp32/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(
          name.c_str(), [=](benchmark::State& state) { train(state, work, threads, *floors); })
          ->UseRealTime()
          ->Unit(unit);
    }
  }
  return true;
}

}  // namespace lockstep::bench

#endif  // LOCKSTEP_BENCH_TRAIN_STEPS_H_
