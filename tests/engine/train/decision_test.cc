#include "engine/train/decision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/train/metrics.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;

TEST(DecisionTest, TravelsInMetadataToTheLastBit) {
  EXPECT_TRUE(MetadataOf(Decision{}).empty());
  EXPECT_EQ(*DecisionFrom({}), Decision{});
  const Decision decision{.temperature = std::nextafter(1.3f, 2.0f), .threshold = 1.0f / 3.0f};
  EXPECT_EQ(*DecisionFrom(MetadataOf(decision)), decision);
  const Decision ends{.temperature = kMostTemperature, .threshold = 0.0f};
  EXPECT_EQ(*DecisionFrom(MetadataOf(ends)), ends);
}

TEST(DecisionTest, RefusesWhatNoRunWrites) {
  for (const char* text : {"", "x", "nan", "inf", "-1", "1.5", "0.5x", " 0.5", "1e99"}) {
    const auto decision = DecisionFrom({{"decision.threshold", text}});
    ASSERT_FALSE(decision.ok()) << text;
    EXPECT_THAT(decision.status().message(), HasSubstr("decision.threshold"));
    EXPECT_THAT(decision.status().message(), HasSubstr("from 0 to 1"));
  }
  for (const char* text : {"0", "-2", "nan", "101", "0.001"})
    EXPECT_FALSE(DecisionFrom({{"decision.temperature", text}}).ok()) << text;
}

TEST(DecisionTest, TheTemperatureDividesOutputs) {
  std::vector<float> binary = {4.0f, -2.0f}, classes = {2.0f, 0.0f, 4.0f}, numbers = {7.0f};
  MakePredictions(Reading::kPositive, 2.0f, Tensor(binary.data(), {2, 1}));
  EXPECT_NEAR(binary[0], 1.0 / (1.0 + std::exp(-2.0)), 4e-7);
  EXPECT_NEAR(binary[1], 1.0 / (1.0 + std::exp(1.0)), 4e-7);
  MakePredictions(Reading::kOneOf, 2.0f, Tensor(classes.data(), {1, 3}));
  EXPECT_NEAR(classes[2], std::exp(2.0) / (std::exp(1.0) + 1.0 + std::exp(2.0)), 4e-7);
  MakePredictions(Reading::kValues, 2.0f, Tensor(numbers.data(), {1, 1}));
  EXPECT_EQ(numbers[0], 7.0f);
}

TEST(DecisionTest, MetricsSayWhatAPredictionSays) {
  // Thresholds at the probabilities themselves, and a bit to either side.
  const std::vector<float> logits = {-3.1f, -0.7f, 0.0f, 0.4f, 2.9f}, labels = {0, 1, 0, 1, 1};
  for (const float temperature : {1.0f, 1.7f}) {
    std::vector<float> p = logits;
    MakePredictions(Reading::kPositive, temperature, Tensor(p.data(), {5, 1}));
    for (const float at : p) {
      for (const float threshold : {std::nextafter(at, 0.0f), at, std::nextafter(at, 1.0f)}) {
        MetricsAccumulator metrics({.task = Task::kBinary,
                                    .samples = 5,
                                    .batch = 5,
                                    .decision = {temperature, threshold}});
        metrics.Reset();
        ASSERT_TRUE(metrics
                        .Add(ConstTensor(logits.data(), {5, 1}), ConstTensor(labels.data(), {5, 1}),
                             {1.0, 1.0})
                        .ok());
        SingleProcess alone;
        const Result<EvaluationResult> result = metrics.Finish(alone);
        ASSERT_TRUE(result.ok());
        int64_t said = 0;
        for (const float v : p)
          said += ClassOf({temperature, threshold}, Reading::kPositive, std::span(&v, 1));
        EXPECT_EQ(result->confusion[1] + result->confusion[3], said) << threshold;
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
