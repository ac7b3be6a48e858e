// Small datasets made from a seed, and a run wired up on one of them.
#ifndef LOCKSTEP_TESTS_ENGINE_TRAIN_TOY_DATA_H_
#define LOCKSTEP_TESTS_ENGINE_TRAIN_TOY_DATA_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/dataset.h"
#include "engine/data/loader.h"
#include "engine/loss.h"
#include "engine/optim/adam.h"
#include "engine/parallel/context.h"
#include "engine/train/network.h"
#include "engine/train/trainer.h"
#include "gtest/gtest.h"
#include "layers/activation.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "layers/norm/batch_norm.h"

namespace lockstep::inline v0_1::toy {

using DatasetPtr = std::shared_ptr<const Dataset>;

inline DatasetPtr MakeDataset(DatasetInfo info, std::vector<float> x,
                              InMemoryDataset::Targets targets) {
  auto made = InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets));
  EXPECT_TRUE(made.ok()) << made.status().message();
  return *made;
}

// Classes 0, 1, 2, ... in turn, each N(0, spread) around a centre of its own, itself N(0, 1).
inline DatasetPtr Blobs(int64_t samples, int64_t features, int64_t classes, double spread,
                        uint64_t seed) {
  Random random(seed, StreamOf("blobs"));
  std::vector<double> centres(static_cast<size_t>(classes * features));
  for (double& c : centres) c = random.Normal();
  std::vector<float> x;
  std::vector<int32_t> targets;
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t c = i % classes;
    targets.push_back(static_cast<int32_t>(c));
    for (int64_t f = 0; f < features; ++f) {
      const double centre = centres[static_cast<size_t>(c * features + f)];
      x.push_back(static_cast<float>(centre + spread * random.Normal()));
    }
  }
  return MakeDataset({.name = "blobs",
                      .size = samples,
                      .x_shape = {features},
                      .task = Task::kClasses,
                      .classes = classes},
                     std::move(x), std::move(targets));
}

// Positive where the first two features, each +-[0.25, 1), have the same sign: no line separates
// the classes, and two hidden layers can do so without error. Labels are wrong with probability
// `noise`.
inline DatasetPtr Quadrants(int64_t samples, int64_t features, double noise, uint64_t seed) {
  Random random(seed, StreamOf("quadrants"));
  std::vector<float> x, targets;
  for (int64_t i = 0; i < samples; ++i) {
    bool positive = true;
    for (int64_t f = 0; f < features; ++f) {
      const double u = 2.0 * random.Uniform() - 1.0;
      const double v = f < 2 ? std::copysign(0.25 + 0.75 * std::abs(u), u) : u;
      if (f < 2) positive = positive == (v > 0.0);
      x.push_back(static_cast<float>(v));
    }
    targets.push_back(positive == (random.Uniform() < noise) ? 0.0f : 1.0f);
  }
  return MakeDataset({.name = "quadrants",
                      .size = samples,
                      .x_shape = {features},
                      .task = Task::kBinary,
                      .target_dtype = DType::kF32,
                      .target_shape = {1}},
                     std::move(x), std::move(targets));
}

// targets: (2 x0 - x1 + 0.5, x0 + x2).
inline DatasetPtr Planes(int64_t samples, uint64_t seed) {
  Random random(seed, StreamOf("planes"));
  std::vector<float> x, targets;
  for (int64_t i = 0; i < samples; ++i) {
    for (int f = 0; f < 3; ++f) x.push_back(static_cast<float>(random.Normal()));
    const float* row = x.data() + x.size() - 3;
    targets.push_back(2.0f * row[0] - row[1] + 0.5f);
    targets.push_back(row[0] + row[2]);
  }
  return MakeDataset({.name = "planes",
                      .size = samples,
                      .x_shape = {3},
                      .task = Task::kRegression,
                      .target_dtype = DType::kF32,
                      .target_shape = {2}},
                     std::move(x), std::move(targets));
}

inline Sequential BnMlp(int64_t hidden, int64_t outputs, BatchNormOptions norm = {}) {
  return Sequential(Linear(hidden), BatchNorm(norm), Relu(), Linear(hidden), BatchNorm(norm),
                    Relu(), Linear(outputs));
}

// A network, an optimizer, a loader and a trainer, in the order of their lives.
struct RigOptions {
  int threads = 1;
  int shards = 1;
  int64_t bound = 0;  // batch that the network is bound for; 0: the loader's
  uint64_t seed = 7;
  LoaderOptions loader{.batch = 32, .seed = 7, .prefetch = 0};
  AdamWOptions adam{.lr = 3e-3};
  Communicator* communicator = nullptr;
};

class Rig {
 public:
  template <class L>
  Rig(const Subset& train, Sequential layers, L loss, const RigOptions& options,
      TrainerOptions trainer_options)
      : ctx({.threads = options.threads}), optimizer(options.adam) {
    auto made = Loader::Make(train.dataset, train.indices, options.loader);
    if (!(status = made.status()).ok()) return;
    loader = std::move(*made);
    // A rank may never see a sample.
    const int64_t bound =
        options.bound > 0 ? options.bound : std::max<int64_t>(1, loader->largest_count());
    auto bound_net = Network::Bind(ctx, std::move(layers), std::move(loss),
                                   {.input = train.dataset->XShape(bound),
                                    .seed = options.seed,
                                    .shards = options.shards,
                                    .communicator = options.communicator,
                                    .weighted = train.dataset->info().weighted});
    if (!(status = bound_net.status()).ok()) return;
    net = std::make_unique<Network>(std::move(*bound_net));
    trainer_options.seed = options.seed;
    auto made_trainer = Trainer::Make(*net, optimizer, *loader, std::move(trainer_options));
    status = made_trainer.status();
    if (status.ok()) trainer = std::move(*made_trainer);
  }

  Status status;
  Context ctx;
  AdamW optimizer;
  std::unique_ptr<Loader> loader;
  std::unique_ptr<Network> net;
  std::unique_ptr<Trainer> trainer;
};

// The samples of `base` with a weight each.
class WeightedDataset final : public Dataset {
 public:
  WeightedDataset(DatasetPtr base, std::vector<float> weights)
      : Dataset(Weighted(base->info())), base_(std::move(base)), weights_(std::move(weights)) {}

 private:
  static DatasetInfo Weighted(DatasetInfo info) {
    info.weighted = true;
    return info;
  }
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override {
    return base_->Gather(indices, x, target, epoch);
  }
  Status ReadWeights(std::span<const int64_t> indices, std::span<float> weights) const override {
    for (size_t i = 0; i < indices.size(); ++i)
      weights[i] = weights_[static_cast<size_t>(indices[i])];
    return Status::Ok();
  }

  DatasetPtr base_;
  std::vector<float> weights_;
};

inline Subset All(const DatasetPtr& data) { return {data, AllIndices(data->size())}; }
// Every `of`-th sample belongs to the second, the others to the first.
inline std::pair<Subset, Subset> Deal(const DatasetPtr& data, int64_t of) {
  Subset first{.dataset = data}, second{.dataset = data};
  for (int64_t i = 0; i < data->size(); ++i)
    ((i + 1) % of == 0 ? second : first).indices.push_back(i);
  return {std::move(first), std::move(second)};
}

}  // namespace lockstep::toy

#endif  // LOCKSTEP_TESTS_ENGINE_TRAIN_TOY_DATA_H_
