// Whole training steps of the convolutional workloads: train/WORKLOAD/PRECISION/threads:N. One
// iteration is forward, loss, backward and optimizer on a batch that is in memory already. floor_ms
// and of_floor say what the machine's own limits allow (bench/floor.h); a convolution counts there
// as the product that it is, taps in the padding included.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "bench/train_steps.h"
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

  bench::TimeSteps(state, *net, std::array{input, target}, optimizer,
                   CostOf(work, net->parameter_count()), work.batch, threads, floors);
}

const bool kRegistered =
    bench::RegisterTraining(std::span<const Workload>(kWorkloads), benchmark::kMillisecond, Train);

}  // namespace
}  // namespace lockstep
