// Whole training steps of the convolutional workloads: train/WORKLOAD/PRECISION/threads:N. One
// iteration is forward, loss, backward and optimizer on a batch that is in memory already. floor_ms
// and of_floor say what the machine's own limits allow (bench/floor.h); a convolution counts there
// as the product that it is, taps in the padding included.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/floor.h"
#include "engine/base/random.h"
#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/loss/cross_entropy.h"
#include "models/resnet.h"

namespace lockstep {
namespace {

struct Workload {
  const char* name;
  int64_t batch, side, classes;
  bool cifar;               // ResNet-20; else ResNet-18
  int64_t width;            // of the first stage
  std::vector<int> stages;  // basic blocks in each
};

const Workload kWorkloads[] = {
    {"resnet20_b128", 128, 32, 10, true, 16, {3, 3, 3}},
    {"resnet18_b16", 16, 224, 1000, false, 64, {2, 2, 2, 2}},
};

bench::StepCost CostOf(const Workload& work, int64_t parameters) {
  bench::StepCost cost;
  int64_t side = work.side, channels = 3;
  const auto conv = [&](int64_t in, int64_t out, int64_t kernel, int64_t out_side) {
    cost.AddProduct(work.batch * out_side * out_side, out, in * kernel * kernel,
                    /*wants_dx=*/in != 3);
  };
  int64_t width = work.width;
  if (!work.cifar) side /= 2;
  conv(channels, width, work.cifar ? 3 : 7, side);
  if (!work.cifar) side /= 2;  // the pool
  channels = width;
  for (size_t stage = 0; stage < work.stages.size(); ++stage) {
    if (stage > 0) side /= 2;
    for (int i = 0; i < work.stages[stage]; ++i) {
      conv(channels, width, 3, side);
      conv(width, width, 3, side);
      if (channels != width) conv(channels, width, 1, side);
      channels = width;
    }
    width *= 2;
  }
  cost.AddProduct(work.batch, work.classes, channels, /*wants_dx=*/true);
  cost.AddSgdMomentum(parameters);
  return cost;
}

void Train(benchmark::State& state, const Workload& work, int threads, bench::Floors& floors) {
  Context ctx({.threads = threads});
  Sgd optimizer(
      {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4, .decay_all = true, .groups = {}});
  const Shape shape{work.batch, work.side, work.side, 3};
  Result<Network> net =
      Network::Bind(ctx, work.cifar ? CifarResNet(20, work.classes) : ResNet18(work.classes),
                    CrossEntropyLoss(), {.input = shape});
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());

  Random random(1, StreamOf("bench"));
  std::vector<float> x(static_cast<size_t>(shape.size()));
  for (float& v : x) v = static_cast<float>(random.Normal());
  std::vector<int32_t> classes(static_cast<size_t>(work.batch));
  for (int32_t& c : classes)
    c = static_cast<int32_t>(random.Below(static_cast<uint64_t>(work.classes)));
  const ConstTensor input(x.data(), shape), target(classes.data(), {work.batch});

  // A step that does not learn is not worth timing: these few must bring the loss on this one batch
  // down.
  const Result<double> first = net->TrainStep(input, target, optimizer);
  if (!first.ok()) return state.SkipWithError(first.status().message().c_str());
  constexpr int kSteps = 5;
  for (int i = 1; i <= kSteps; ++i) {
    const Result<double> now = net->TrainStep(input, target, optimizer);
    if (!now.ok() || !std::isfinite(*now)) return state.SkipWithError("the loss is not finite");
    if (i == kSteps && !(*now < *first)) return state.SkipWithError("the loss does not fall");
  }
  const bench::StepCost cost = CostOf(work, net->parameter_count());
  floors.Of(cost, threads);  // measures, if nobody has: not right behind the steps
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    Result<double> loss_now = net->TrainStep(input, target, optimizer);
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
          ->Unit(benchmark::kMillisecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
