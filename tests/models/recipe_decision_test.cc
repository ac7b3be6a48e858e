#include "models/recipe_decision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/bce_with_logits.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;

// x is the logit, wrong by a factor of `factor`; positives from -1 to 3, negatives from -3 to 1.
Subset Samples(Task task, float factor, int64_t size = 40) {
  std::vector<float> x, targets;
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < size; ++i) {
    const bool positive = i % 2 == 0;
    const float place = 4.0f * static_cast<float>(i) / static_cast<float>(size);
    x.push_back(factor * (place - (positive ? 1.0f : 3.0f)));
    targets.push_back(positive ? 1.0f : 0.0f);
    classes.push_back(positive ? 1 : 0);
  }
  DatasetInfo info{.name = "line", .size = size, .x_shape = {1}};
  SetTargets(task, task == Task::kClasses ? 2 : 1, info);
  InMemoryDataset::Targets all = targets;
  if (task == Task::kClasses) all = classes;
  auto made = InMemoryDataset::Make(std::move(info), std::move(x), std::move(all));
  EXPECT_TRUE(made.ok());
  return {.dataset = *made, .indices = AllIndices(size)};
}

Recipe Asking(const std::string& text) {
  const Result<Recipe> recipe = ParseRecipe(text, "recipe");
  EXPECT_TRUE(recipe.ok()) << recipe.status().message();
  return *recipe;
}

std::string ErrorOf(const std::string& text, const Subset& validation) {
  const Status status = CheckDecision(Asking(text), validation);
  EXPECT_FALSE(status.ok()) << text;
  return status.message();
}

TEST(RecipeDecision, SaysBeforeTrainingWhatStandsInTheWay) {
  const Subset binary = Samples(Task::kBinary, 1.0f);
  EXPECT_TRUE(CheckDecision(Asking(""), {}).ok());
  EXPECT_FALSE(AsksForDecision(Asking("train.recall = 0.5")));
  for (const char* text : {"train.threshold = \"youden\"", "train.calibrate = \"temperature\"",
                           "train.threshold = \"cost\"\ntrain.calibrate = \"temperature\""}) {
    EXPECT_TRUE(AsksForDecision(Asking(text)));
    EXPECT_TRUE(CheckDecision(Asking(text), binary).ok());
    EXPECT_THAT(ErrorOf(text, {}), HasSubstr("data.validation = 0.15"));
  }
  EXPECT_THAT(ErrorOf("train.threshold = \"youden\"", Samples(Task::kClasses, 1.0f)),
              HasSubstr("train.threshold = youden is for a binary task"));
  EXPECT_THAT(ErrorOf("train.threshold = \"recall\"", Samples(Task::kRegression, 1.0f)),
              HasSubstr("train.threshold = half"));
  EXPECT_THAT(ErrorOf("train.calibrate = \"temperature\"", Samples(Task::kRegression, 1.0f)),
              HasSubstr("train.calibrate = none"));
  EXPECT_TRUE(
      CheckDecision(Asking("train.calibrate = \"temperature\""), Samples(Task::kClasses, 1.0f))
          .ok());
  Subset positives = binary;
  positives.indices = {0, 2, 4};
  EXPECT_THAT(ErrorOf("train.threshold = \"youden\"", positives),
              HasSubstr("all 3 of them are positive"));
}

TEST(RecipeDecision, RefusesOtherWordsByTheirKey) {
  const auto threshold = ParseRecipe("train.threshold = \"best\"", "recipe");
  ASSERT_FALSE(threshold.ok());
  EXPECT_THAT(threshold.status().message(), HasSubstr("train.threshold"));
  EXPECT_THAT(threshold.status().message(), HasSubstr("half, youden, cost, recall"));
  EXPECT_FALSE(ParseRecipe("train.calibrate = \"isotonic\"", "recipe").ok());
  EXPECT_FALSE(ParseRecipe("train.recall = 1.5", "recipe").ok());
  EXPECT_FALSE(ParseRecipe("train.false_negative_cost = 0.0", "recipe").ok());
}

class FoundOnALine : public testing::Test {
 protected:
  // Says x.
  Network Net(const Subset& samples) {
    Network net = Network::Bind(ctx_, std::make_unique<Sequential>(Linear(1)),
                                std::make_unique<BceWithLogitsLoss>(),
                                {.input = samples.dataset->XShape(8), .seed = 1})
                      .value();
    auto writer = net.Write();
    writer->value(0).span<float>()[0] = 1.0f;
    writer->value(1).span<float>()[0] = 0.0f;
    return net;
  }
  Context ctx_{{.threads = 1}};
};

TEST_F(FoundOnALine, NothingIsFoundWhereNothingIsAsked) {
  const Subset samples = Samples(Task::kBinary, 1.0f);
  Network net = Net(samples);
  const auto found = FindDecision(Asking(""), net, samples);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->decision, Decision{});
  EXPECT_TRUE(found->remarks.empty());
}

TEST_F(FoundOnALine, RecallReachesItsShareOnTheSamplesAndSaysSo) {
  const Subset samples = Samples(Task::kBinary, 1.0f);
  Network net = Net(samples);
  const auto found =
      FindDecision(Asking("train.threshold = \"recall\"\ntrain.recall = 0.9"), net, samples);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_LT(found->decision.threshold, 0.5f);
  ASSERT_EQ(found->remarks.size(), 1u);
  EXPECT_THAT(found->remarks[0], HasSubstr("chosen by recall on 40 validation samples"));
  EXPECT_THAT(found->remarks[0], HasSubstr("recall 90.0 %"));
  const auto result = Evaluate(net, samples, {.decision = found->decision});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->confusion[3], 18);
}

TEST_F(FoundOnALine, TheTemperatureGrowsWithTheFactorThatOutputsAreWrongBy) {
  const std::string both = "train.calibrate = \"temperature\"\ntrain.threshold = \"youden\"";
  std::vector<float> temperatures, thresholds;
  for (const float factor : {1.0f, 4.0f}) {
    const Subset samples = Samples(Task::kBinary, factor);
    Network net = Net(samples);
    const auto found = FindDecision(Asking(both), net, samples);
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_EQ(found->remarks.size(), 2u);
    temperatures.push_back(found->decision.temperature);
    thresholds.push_back(found->decision.threshold);
  }
  // Found to four digits behind the point.
  EXPECT_NEAR(temperatures[1], 4.0f * temperatures[0], 5e-4f);
  // Of calibrated probabilities, so that it is the same one.
  EXPECT_NEAR(thresholds[1], thresholds[0], 1e-3f);
}

TEST_F(FoundOnALine, WithoutABestTemperatureProbabilitiesStay) {
  Subset samples = Samples(Task::kBinary, 1.0f);
  std::vector<int64_t> right;  // those that are told rightly
  for (int64_t i = 0; i < 40; ++i) {
    const float logit = (i % 2 == 0 ? -1.0f : -3.0f) + 0.1f * static_cast<float>(i);
    if ((logit > 0.05f) == (i % 2 == 0) && std::abs(logit) > 0.05f) right.push_back(i);
  }
  samples.indices = right;
  Network net = Net(samples);
  const auto found = FindDecision(Asking("train.calibrate = \"temperature\""), net, samples);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->decision.temperature, 1.0f);
  ASSERT_EQ(found->remarks.size(), 1u);
  EXPECT_THAT(found->remarks[0], HasSubstr("stay as they are"));
}

}  // namespace
}  // namespace lockstep
