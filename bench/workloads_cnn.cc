// The convolutional workloads. A convolution counts as the product that it is, taps in the padding
// included.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bench/workloads.h"
#include "engine/base/random.h"
#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/loss/cross_entropy.h"
#include "models/resnet.h"

namespace lockstep::inline v0_1::bench {
namespace {

struct Sizes {
  const char* name;
  int64_t batch, side, classes;
  bool cifar;               // ResNet-20; else ResNet-18
  int64_t width;            // of the first stage
  std::vector<int> stages;  // basic blocks in each
};

// Made when they are first asked for, which is before main.
std::span<const Sizes> Known() {
  static const Sizes known[] = {
      {"resnet20_b128", 128, 32, 10, true, 16, {3, 3, 3}},
      {"resnet18_b16", 16, 224, 1000, false, 64, {2, 2, 2, 2}},
  };
  return known;
}

StepCost CostOf(const Sizes& work, int64_t batch, int64_t parameters) {
  StepCost cost;
  int64_t side = work.side, channels = 3;
  const auto conv = [&](int64_t in, int64_t out, int64_t kernel, int64_t out_side) {
    cost.AddProduct(batch * out_side * out_side, out, in * kernel * kernel,
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
  cost.AddProduct(batch, work.classes, channels, /*wants_dx=*/true);
  cost.AddSgdMomentum(parameters);
  return cost;
}

Result<std::unique_ptr<BoundWorkload>> Bind(const Sizes& work, Context& ctx,
                                            const scale::WorkPlace& place) {
  const int64_t batch = place.samples_here();
  const Shape shape{batch, work.side, work.side, 3};
  const NetworkOptions options{
      .input = shape, .shards = place.shards, .communicator = place.communicator};
  LOCKSTEP_TRY_ASSIGN(
      Network net,
      work.cifar ? Network::Bind(ctx, CifarResNet(20, work.classes), CrossEntropyLoss(), options)
                 : Network::Bind(ctx, ResNet18(work.classes), CrossEntropyLoss(), options));
  auto bound = std::make_unique<BoundWorkload>(
      std::move(net),
      std::make_unique<Sgd>(SgdOptions{
          .lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4, .decay_all = true, .groups = {}}));
  Random random(1, StreamOf("bench"));
  bound->AddNormal(shape, random);
  bound->AddBelow(work.classes, {batch}, random);
  bound->cost = CostOf(work, batch, bound->network.parameter_count());
  bound->items = batch;
  return bound;
}

}  // namespace

std::vector<Workload> CnnWorkloads() { return WorkloadsOf(Known(), Bind); }

}  // namespace lockstep::bench
