#include "tools/scale/predict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace lockstep::inline v0_1::scale {
namespace {

using testing::HasSubstr;

const StepModel kModel{.threads = 4,
                       .constant_seconds = 1e-3,
                       .sample_seconds = 1e-4,
                       .update_seconds = 2e-3,
                       .backward_share = 0.6,
                       .gradient_bytes = 8e6,
                       .buckets = 8,
                       .memory_bytes_per_second = 2e10};
const NetworkCost kNetwork{.latency_seconds = 1e-5, .bytes_per_second = 1e9, .source = "given"};

TEST(ParseNetwork, TakesMicrosecondsAndGigabytes) {
  const auto network = ParseNetwork("2.5,12");
  ASSERT_TRUE(network.ok());
  EXPECT_DOUBLE_EQ(network->latency_seconds, 2.5e-6);
  EXPECT_DOUBLE_EQ(network->bytes_per_second, 12e9);
  EXPECT_TRUE(ParseNetwork("0,1").ok());
}

TEST(ParseNetwork, NamesWhatIsWrongInOneLine) {
  for (const char* text : {"", "2", "2,", ",10", "2,0", "-1,10", "2,-1", "2,10,3", "a,b", "2 ,10",
                           "nan,1", "1,nan", "inf,1", "1,inf"}) {
    const auto network = ParseNetwork(text);
    ASSERT_FALSE(network.ok()) << text;
    EXPECT_THAT(network.status().message(), HasSubstr("--network"));
    EXPECT_EQ(network.status().message().find('\n'), std::string::npos);
  }
}

TEST(FitBatches, FindsConstantAndSlope) {
  StepModel model{.update_seconds = 2e-3};
  std::vector<BatchTime> times;
  for (const int64_t n : {128, 64, 32})
    times.push_back({n, 3e-3 + 5e-5 * static_cast<double>(n) + model.update_seconds});
  FitBatches(times, model);
  // A two by two system of condition 100 at most.
  EXPECT_NEAR(model.constant_seconds, 3e-3, 1e-12);
  EXPECT_NEAR(model.sample_seconds, 5e-5, 1e-14);
}

TEST(FitBatches, NeitherIsNegative) {
  StepModel model;
  FitBatches(std::vector<BatchTime>{{100, 1.0}, {50, 0.4}}, model);  // a line through -0.2
  EXPECT_EQ(model.constant_seconds, 0.0);
  EXPECT_GT(model.sample_seconds, 0.0);
  FitBatches(std::vector<BatchTime>{{100, 1.0}, {50, 1.1}}, model);  // falling
  EXPECT_EQ(model.sample_seconds, 0.0);
  EXPECT_GT(model.constant_seconds, 0.0);
  FitBatches(std::vector<BatchTime>{{100, 1.0}}, model);
  EXPECT_EQ(model.constant_seconds, 0.0);
  EXPECT_DOUBLE_EQ(model.sample_seconds, 0.01);
}

TEST(PredictPoint, OneRankTalksToNobody) {
  const PredictedPoint point = PredictPoint(kModel, kNetwork, 1, 100);
  EXPECT_DOUBLE_EQ(point.seconds, 1e-3 + 1e-2 + 2e-3);
  EXPECT_EQ(point.exchange_seconds, 0.0);
  EXPECT_EQ(point.unhidden_seconds, point.seconds);
}

// The formula once more, by hand: 4 ranks, 25 samples each.
TEST(PredictPoint, FollowsItsFormula) {
  const PredictedPoint point = PredictPoint(kModel, kNetwork, 4, 100);
  const double passes = 1e-3 + 25 * 1e-4, way = 8 * 3 * 1e-5 + 8e6 * 0.75 / 1e9;
  const double hidden = 0.6 * passes;  // less than the way there
  ASSERT_LT(hidden, way);
  const double exchange = way - hidden + way + 8e6 / 2e10 + 2 * 1e-5 * 2;
  EXPECT_NEAR(point.exchange_seconds, exchange, 1e-15);
  EXPECT_NEAR(point.seconds, passes + 2e-3 / 4 + exchange, 1e-15);
  EXPECT_NEAR(point.unhidden_seconds, point.seconds + hidden, 1e-15);
}

// A rank that owns no cell of a bucket is sent none.
TEST(PredictPoint, ThereAreNoMoreMessagesThanCells) {
  StepModel model = kModel;
  model.gradient_bytes = 256.0 * 100.0;
  const NetworkCost slow{.latency_seconds = 1.0, .bytes_per_second = 1e30};
  // 100 each way, and twice seven for the small exchanges; backward hides less than a second.
  EXPECT_NEAR(PredictPoint(model, slow, 100, 100).exchange_seconds, 100 + 100 + 2 * 7, 0.1);
}

// Samples do not come in halves: the largest rank says how long it takes.
TEST(PredictPoint, TheLargestRankCounts) {
  EXPECT_GT(PredictPoint(kModel, kNetwork, 3, 100).seconds,
            PredictPoint(kModel, kNetwork, 3, 99).seconds);
}

TEST(Predict, DoublesUpToWhatWasAskedFor) {
  const Prediction prediction = Predict(kModel, kNetwork, 12, 1000);
  std::vector<int> ranks;
  for (const PredictedPoint& point : prediction.weak) ranks.push_back(point.ranks);
  EXPECT_THAT(ranks, testing::ElementsAre(1, 2, 4, 8, 12));
  EXPECT_EQ(prediction.weak.back().batch, 12000);
  EXPECT_EQ(prediction.strong.back().batch, 1000);
  EXPECT_EQ(prediction.weak.front().speedup, 1.0);
  for (const auto* curve : {&prediction.strong, &prediction.weak}) {
    for (const PredictedPoint& point : *curve) {
      EXPECT_LE(point.unhidden_speedup, point.speedup);
      EXPECT_LE(point.efficiency(), 1.2);  // the update's share falls, so it may be above 1
    }
  }
}

TEST(Predict, AThousandRanksWithoutANetworkToPayForAreIdeal) {
  StepModel model = kModel;
  model.constant_seconds = model.update_seconds = model.gradient_bytes = 0.0;
  const NetworkCost free{.latency_seconds = 0.0, .bytes_per_second = 1e30};
  const Prediction prediction = Predict(model, free, 1024, 1024);
  EXPECT_NEAR(prediction.strong.back().efficiency(), 1.0, 1e-9);
  EXPECT_NEAR(prediction.weak.back().efficiency(), 1.0, 1e-9);
}

TEST(Predict, StrongEndsWhereARankWouldBeWithoutSamples) {
  const Prediction prediction = Predict(kModel, kNetwork, 64, 10);
  EXPECT_EQ(prediction.strong.back().ranks, 8);
  EXPECT_EQ(prediction.weak.back().ranks, 64);
}

}  // namespace
}  // namespace lockstep::scale
