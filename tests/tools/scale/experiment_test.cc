// The measurements of a small network, without a look at their figures.
#include "tools/scale/experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <tuple>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "engine/optim/adam.h"
#include "layers/loss/cross_entropy.h"
#include "models/mlp.h"
#include "tools/scale/limits.h"

namespace lockstep::inline v0_1::scale {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kInputs = 12, kClasses = 5;

Result<std::unique_ptr<TrainingWork>> MakeSmall(const WorkPlace& place) {
  auto context = std::make_unique<Context>(ContextOptions{.threads = place.threads});
  const int64_t batch = place.samples_here();
  LOCKSTEP_TRY_ASSIGN(
      Network network,
      Network::Bind(
          *context, Mlp({.hidden = {16}, .outputs = kClasses}), CrossEntropyLoss(),
          {.input = {batch, kInputs}, .shards = place.shards, .communicator = place.communicator}));
  std::vector<float> x(static_cast<size_t>(batch * kInputs));
  std::iota(x.begin(), x.end(), -3.0f);
  std::vector<int32_t> classes(static_cast<size_t>(batch));
  for (size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<int32_t>(i) % kClasses;
  return TrainingWork::Make(
      place,
      {.context = std::move(context),
       .network = std::move(network),
       .optimizer = std::make_unique<AdamW>(AdamWOptions{.lr = 1e-3, .groups = {}}),
       .inputs = {ConstTensor(x.data(), {batch, kInputs}), ConstTensor(classes.data(), {batch})}});
}

const Subject kSmall{.name = "small", .batch = 24, .make = MakeSmall};
const MeasureOptions kQuick{.repetitions = 6, .seconds = 0.0, .warm_up = 1};

using Place = std::tuple<int, int, int64_t, int, bool, bool>;
std::vector<Place> Places(const std::vector<ScalePoint>& points) {
  std::vector<Place> places;
  for (const ScalePoint& p : points)
    places.emplace_back(p.ranks, p.threads, p.batch, p.shards, p.strong, p.weak);
  return places;
}

TEST(PlanPoints, TheBaseIsOfBothCurves) {
  const std::vector<int> threads = {1, 2}, ranks = {1, 2};
  EXPECT_THAT(Places(PlanPoints(kSmall, threads, ranks, true, true)),
              ElementsAre(Place(1, 1, 24, 1, true, true), Place(1, 2, 24, 1, true, false),
                          Place(1, 2, 48, 1, false, true), Place(2, 1, 24, 2, true, false),
                          Place(2, 1, 48, 2, false, true), Place(2, 2, 24, 2, true, false),
                          Place(2, 2, 96, 2, false, true)));
  EXPECT_THAT(Places(PlanPoints(kSmall, threads, std::vector<int>{1}, false, true)),
              ElementsAre(Place(1, 1, 24, 1, false, true), Place(1, 2, 48, 1, false, true)));
  // Samples grow from the base point's, whatever that is.
  EXPECT_THAT(Places(PlanPoints(kSmall, std::vector<int>{2, 3}, std::vector<int>{1}, false, true)),
              ElementsAre(Place(1, 2, 24, 1, false, true), Place(1, 3, 36, 1, false, true)));
}

TEST(TrainingWork, StepsLeaveTheWeightsAsTheyAre) {
  const auto work = MakeSmall({.threads = 2, .batch = 24});
  ASSERT_TRUE(work.ok()) << work.status().message();
  ASSERT_TRUE((*work)->Step().ok());
  const auto values = (*work)->network().parameters().values;
  const std::vector<float> before(values.begin(), values.end());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE((*work)->Step().ok());
  ASSERT_TRUE((*work)->Update().ok());
  EXPECT_TRUE(std::equal(values.begin(), values.end(), before.begin()));
  EXPECT_EQ((*work)->parts_per_step(), 1.0);
}

TEST(MeasurePoints, TimesThoseOfItsOwnNumberOfRanks) {
  for (const int ranks : {1, 2, 4}) {
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      std::vector<ScalePoint> points =
          PlanPoints(kSmall, std::vector<int>{1}, std::vector<int>{1, 2, 4}, true, true);
      const Status status = MeasurePoints(kSmall, kQuick, &communicator, points);
      ASSERT_TRUE(status.ok()) << status.message();
      for (const ScalePoint& point : points) {
        EXPECT_EQ(point.timing.seconds.size(), point.ranks == ranks ? 6u : 0u);
        if (point.ranks == ranks && ranks > 1) {
          EXPECT_GT(point.timing.sent_bytes, 0.0);
        }
      }
    });
  }
}

TEST(MeasurePoints, ErrorsNameThePlace) {
  std::vector<ScalePoint> points = PlanPoints({.batch = 1, .make = MakeSmall}, std::vector<int>{1},
                                              std::vector<int>{1}, true, false);
  const Status status = MeasurePoints(kSmall, kQuick, nullptr, points);
  ASSERT_FALSE(status.ok());  // a batch norm takes no batch of one
  EXPECT_THAT(status.message(), HasSubstr("1 thread, batch 1: "));
}

TEST(MeasureLimits, KnowsEveryLayerAndTheFloors) {
  ScaleResult result{.batch = 24, .options = kQuick};
  const std::vector<int> threads = {1};
  result.points = PlanPoints(kSmall, threads, std::vector<int>{1}, true, false);
  const Status status = MeasureLimits(kSmall, threads, result);
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(result.layers.size(), 1u);
  std::vector<std::string> kinds;
  for (const LayerShare& layer : result.layers[0].layers) {
    kinds.push_back(layer.kind);
    EXPECT_GT(layer.forward_seconds, 0.0) << layer.path;
    EXPECT_GT(layer.backward_seconds, 0.0) << layer.path;
    EXPECT_GT(layer.bound_seconds, 0.0) << layer.path;
  }
  EXPECT_THAT(kinds, testing::Contains("Linear"));
  EXPECT_EQ(result.parameters, 12 * 16 + 16 + 2 * 16 + 16 * 5 + 5);
  EXPECT_GT(result.points[0].floor_seconds, 0.0);
}

TEST(MeasureStepModel, LeavesOutBatchesThatAreTooSmall) {
  Subject subject = kSmall;
  subject.batch = 4;  // a quarter is a batch of one
  LayerTable layers{.threads = 1, .peaks = {.bytes_per_second = 1e10}};
  layers.layers.push_back({.forward_seconds = 1.0, .backward_seconds = 3.0});
  const auto model = MeasureStepModel(subject, layers, kQuick);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->backward_share, 0.75);
  EXPECT_EQ(model->gradient_bytes, 4.0 * (12 * 16 + 16 + 2 * 16 + 16 * 5 + 5));
  EXPECT_EQ(model->buckets, 1.0);
  EXPECT_GT(model->constant_seconds + model->sample_seconds, 0.0);
  EXPECT_GT(model->update_seconds, 0.0);
}

TEST(CheckPrediction, HoldsOnlyWhatHadCoresAgainstIt) {
  std::vector<ScalePoint> points =
      PlanPoints(kSmall, std::vector<int>{1, 2}, std::vector<int>{1, 2, 4}, true, false);
  for (ScalePoint& point : points) point.timing.seconds.assign(6, 0.5);
  points.back().timing.seconds.clear();
  Prediction prediction{.model = {.threads = 1,
                                  .sample_seconds = 0.25,
                                  .gradient_bytes = 0.0,
                                  .memory_bytes_per_second = 1.0},
                        .network = {.bytes_per_second = 1.0}};
  CheckPrediction(points, 2, prediction);
  ASSERT_EQ(prediction.checks.size(), 2u);
  EXPECT_EQ(prediction.checks[0].ranks, 1);
  EXPECT_DOUBLE_EQ(prediction.checks[0].error(), 24 * 0.25 / 0.5 - 1.0);
  EXPECT_EQ(prediction.checks[1].ranks, 2);
  EXPECT_DOUBLE_EQ(prediction.checks[1].error(), 12 * 0.25 / 0.5 - 1.0);
}

}  // namespace
}  // namespace lockstep::scale
