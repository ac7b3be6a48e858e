#include "engine/data/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {
namespace {

TEST(Objective, IsFoundByTaskAndByName) {
  for (const Objective& one : Objectives()) {
    EXPECT_EQ(&ObjectiveOf(one.task), &one);
    EXPECT_EQ(ObjectiveNamed(one.name), &one);
  }
  EXPECT_EQ(ObjectiveNamed("auto"), nullptr);
  EXPECT_EQ(ObjectiveNamed(""), nullptr);
}

TEST(Objective, EveryOneHasItsLossFirstAmongItsMetrics) {
  for (const Objective& one : Objectives()) {
    ASSERT_FALSE(one.metrics.empty()) << one.name;
    EXPECT_STREQ(one.metrics.front(), "loss");
    for (const char* metric : one.metrics) EXPECT_TRUE(HasMetric(one, metric));
    EXPECT_FALSE(HasMetric(one, "no such metric"));
  }
  EXPECT_EQ(MetricsText(ObjectiveOf(Task::kBinary)), "loss, accuracy or auc");
  EXPECT_EQ(MetricsText(ObjectiveOf(Task::kClasses)), "loss or accuracy");
  EXPECT_EQ(MetricsText(ObjectiveOf(Task::kRegression)), "loss, mae or r2");
}

TEST(Objective, ThePredictedClassIsTheLikelyOneAndTheFirstAmongEquals) {
  EXPECT_EQ(PredictedClass(Reading::kPositive, std::vector<float>{0.5f}), 0);
  EXPECT_EQ(PredictedClass(Reading::kPositive, std::vector<float>{std::nextafter(0.5f, 1.0f)}), 1);
  EXPECT_EQ(PredictedClass(Reading::kOneOf, std::vector<float>{0.2f, 0.4f, 0.4f}), 1);
  EXPECT_EQ(PredictedClass(Reading::kValues, std::vector<float>{3.0f}), -1);
}

// What SetTargets makes is what datasets accept, and says how many outputs a network must have.
TEST(Objective, TargetsOfEveryTaskMakeADatasetAndSayHowManyOutputsItNeeds) {
  for (const Objective& one : Objectives()) {
    SCOPED_TRACE(one.name);
    const int64_t count = one.task == Task::kBinary ? 1 : 3;
    DatasetInfo info{.name = "made", .size = 2, .x_shape = {1}};
    SetTargets(one.task, count, info);
    EXPECT_EQ(OutputsOf(info), count);
    InMemoryDataset::Targets targets;
    if (one.target_dtype == DType::kI32) {
      targets = std::vector<int32_t>{0, 2};
    } else {
      targets = std::vector<float>(static_cast<size_t>(2 * count), 1.0f);
    }
    const auto dataset = InMemoryDataset::Make(info, std::vector<float>{0.0f, 1.0f}, targets);
    EXPECT_TRUE(dataset.ok()) << dataset.status().message();
  }
  DatasetInfo info;
  SetTargets(Task::kClasses, 3, info);
  EXPECT_EQ(ClassCount(info), 3);
  SetTargets(Task::kBinary, 1, info);
  EXPECT_EQ(ClassCount(info), 2);
  SetTargets(Task::kRegression, 3, info);
  EXPECT_EQ(ClassCount(info), 0);
}

}  // namespace
}  // namespace lockstep
