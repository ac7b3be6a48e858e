// A batch that is cut into parts is the batch: the same bits where parts are whole shards.
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/base/integers.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "engine/train/training_step.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/dropout.h"
#include "layers/loss/mse.h"
#include "layers/norm/layer_norm.h"
#include "tests/engine/train/samples.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

struct Outcome {
  uint64_t model = 0;
  std::vector<double> losses;
  std::vector<float> values;
  bool operator==(const Outcome&) const = default;
};

CrossEntropyLossOptions Weighted() {
  return {.label_smoothing = 0.1, .class_weights = {1.0f, 0.5f, 3.0f, 0.0f}};
}

// Some targets count for nothing, among them all of the last quarter: a part may have none at all.
void Ignore(Samples& samples) {
  const auto count = static_cast<size_t>(samples.count);
  for (size_t i = 0; i < count; ++i) {
    if (i % 5 == 1 || i >= count - count / 4) samples.classes[i] = -100;
  }
}

// Four steps of plain SGD, in parts, on batches of `count` samples.
Outcome TrainInParts(int64_t count, int64_t parts, int shards, bool weighted, int threads = 1) {
  constexpr int64_t kBatch = 64;
  Context ctx({.threads = threads});
  Network net =
      Network::Bind(ctx, Sequential(Linear(16), LayerNorm(), Gelu(), Dropout(0.25), Linear(4)),
                    CrossEntropyLoss(weighted ? Weighted() : CrossEntropyLossOptions()),
                    {.input = {CeilDiv(kBatch, parts), kFeatures}, .seed = 7, .shards = shards})
          .value();
  const auto step = TrainingStep::Make(net, {.parts = parts}).value();
  Sgd sgd({.lr = 0.1});
  Outcome outcome;
  for (uint64_t i = 0; i < 4; ++i) {
    Samples samples(count, i);
    if (weighted) Ignore(samples);
    const std::array inputs{samples.x(), samples.ids()};
    const Result<TrainingStepReport> report =
        step->Run({.inputs = inputs, .samples = count, .global_samples = count}, i, sgd, 0.1);
    EXPECT_TRUE(report.ok()) << report.status().message();
    if (report.ok()) outcome.losses.push_back(report->loss.sum / report->loss.weight);
  }
  outcome.model = ModelHash(net);
  const std::span<const float> values = net.parameters().values;
  outcome.values.assign(values.begin(), values.end());
  return outcome;
}

// Batches that fill the network, that are odd, and that leave shards empty.
TEST(PartsTest, OfWholeShardsGiveTheBitsOfTheWhole) {
  for (const bool weighted : {false, true}) {
    for (const int64_t count : {64, 63, 61, 37, 20}) {
      const Outcome whole = TrainInParts(count, 1, 8, weighted);
      ASSERT_EQ(whole.losses.size(), 4u);
      for (const int64_t parts : {2, 4, 8}) {
        for (const int threads : {1, 3}) {
          EXPECT_TRUE(TrainInParts(count, parts, 8, weighted, threads) == whole)
              << count << " samples, " << parts << " parts, " << threads << " threads"
              << (weighted ? ", weighted" : "");
        }
      }
    }
  }
}

// Other parts sum in another order, and nothing else. Four steps of 0.1 times a gradient of at
// most 3 (the largest weight of a class), each from some hundred roundings of 6e-8 of that.
TEST(PartsTest, OfAnyOtherNumberDifferInRoundingOnly) {
  for (const bool weighted : {false, true}) {
    for (const int64_t count : {64, 61, 37}) {
      const Outcome whole = TrainInParts(count, 1, 1, weighted);
      for (const int64_t parts : {2, 3, 5, 16}) {
        const Outcome cut = TrainInParts(count, parts, 1, weighted);
        ASSERT_EQ(cut.losses.size(), 4u);
        for (size_t i = 0; i < 4; ++i)
          EXPECT_FALSE(!(std::abs(cut.losses[i] - whole.losses[i]) <= 1e-5)) << parts;
        for (size_t i = 0; i < whole.values.size(); ++i)
          ASSERT_FALSE(!(std::abs(cut.values[i] - whole.values[i]) <= 4 * 0.3 * 100 * 6e-8))
              << count << " samples, " << parts << " parts, " << i;
      }
    }
  }
}

// Against the definition, for a network of one layer, in double:
//   L = sum_i w[t_i] (log sum_c exp y_ic - y_it) / sum_i w[t_i],   over targets that count
//   dL/db_c = sum_i w[t_i] (softmax(y_i)_c - [c = t_i]) / sum_i w[t_i]
TEST(PartsTest, WeighTheTargetsOfTheWholeBatch) {
  constexpr int64_t kCount = 61;
  const std::vector<float> weights = {1.0f, 0.5f, 3.0f, 0.0f};
  Samples samples(kCount);
  Ignore(samples);
  for (const int64_t parts : {1, 2, 8}) {
    Context ctx({.threads = 1});
    Network net = Network::Bind(ctx, Sequential(Linear(kClasses)),
                                CrossEntropyLoss({.class_weights = weights}),
                                {.input = {CeilDiv(int64_t{64}, parts), kFeatures}, .shards = 8})
                      .value();
    const std::vector<float> w = Copy(net.parameters().value(0)),
                             b = Copy(net.parameters().value(1));
    double loss = 0.0, total = 0.0;
    std::array<double, kClasses> slope{};
    for (size_t i = 0; i < kCount; ++i) {
      const int32_t target = samples.classes[i];
      if (target < 0) continue;
      const double weight = weights[static_cast<size_t>(target)];
      std::array<double, kClasses> e{};
      double sum = 0.0, of_target = 0.0;
      for (size_t c = 0; c < kClasses; ++c) {
        double y = b[c];
        for (size_t f = 0; f < kFeatures; ++f)
          y += double{w[c * kFeatures + f]} * samples.features[i * kFeatures + f];
        if (static_cast<int32_t>(c) == target) of_target = y;
        sum += e[c] = std::exp(y);
      }
      loss += weight * (std::log(sum) - of_target);
      total += weight;
      for (size_t c = 0; c < kClasses; ++c)
        slope[c] += weight * (e[c] / sum - (static_cast<int32_t>(c) == target ? 1.0 : 0.0));
    }
    const auto step = TrainingStep::Make(net, {.parts = parts}).value();
    Sgd sgd;
    const std::array inputs{samples.x(), samples.ids()};
    const TrainingStepReport report =
        step->Run({.inputs = inputs, .samples = kCount, .global_samples = kCount}, 0, sgd, 1.0)
            .value();
    EXPECT_EQ(report.loss.weight, total);  // sums of halves
    // Terms of size 1, rounded as floats.
    EXPECT_FALSE(!(std::abs(report.loss.sum / report.loss.weight - loss / total) <= 1e-6));
    for (size_t c = 0; c < kClasses; ++c) {
      const double moved = double{b[c]} - net.parameters().value(1).f32()[c];
      EXPECT_FALSE(!(std::abs(moved - slope[c] / total) <= 1e-6)) << parts << " " << c;
    }
  }
}

TEST(PartsTest, ThatDoNotFitAreRefused) {
  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, Sequential(Linear(1)), MseLoss(), {.input = {8, kFeatures}, .shards = 4})
          .value();
  EXPECT_FALSE(TrainingStep::Make(net, {.parts = 0}).ok());
  EXPECT_FALSE(TrainingStep::Make(net, {.clip_norm = -1.0}).ok());
  const auto step = TrainingStep::Make(net, {.parts = 2}).value();
  EXPECT_EQ(step->largest_batch(), 16);
  const Samples samples(17);
  const std::array inputs{samples.x(), samples.numbers()};
  Sgd sgd;
  const uint64_t before = ModelHash(net);
  const Status status =
      step->Run({.inputs = inputs, .samples = 17, .global_samples = 17}, 0, sgd, 0.1).status();
  EXPECT_THAT(status.message(), HasSubstr("(16, 6) or fewer samples"));
  EXPECT_EQ(ModelHash(net), before);
}

}  // namespace
}  // namespace lockstep::toy
