// Model files of earlier versions have no description of their table: it is made of the recipe, the
// names of features and classes, and the standardizer.
#include "models/recipe_saved.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/table/table.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Role = TableColumn::Role;

// A model as it was saved: `overrides` are of the recipe, `features` their names (of none: three
// without names).
SavedModel Saved(std::vector<std::string> overrides, Task task, std::vector<std::string> features) {
  overrides.insert(overrides.begin(), {"data.kind=csv", "data.path=trained.csv"});
  SavedModel model;
  model.recipe = ParseRecipe("", "recipe", overrides).value();
  model.samples.x_shape = {features.empty() ? 3 : std::ssize(features)};
  SetTargets(task, task == Task::kClasses ? 3 : 1, model.samples);
  model.samples.feature_names = std::move(features);
  return model;
}

std::vector<std::string> NamesOf(const std::vector<TableColumn>& columns) {
  std::vector<std::string> names;
  for (const TableColumn& column : columns) names.push_back(column.name);
  return names;
}
std::vector<Role> RolesOf(const std::vector<TableColumn>& columns) {
  std::vector<Role> roles;
  for (const TableColumn& column : columns) roles.push_back(column.role);
  return roles;
}

TEST(TrainedColumnsTest, PlacesTellTheOrder) {
  const SavedModel model = Saved({"data.label=-1", R"(data.ignore=["0", "-2"])"}, Task::kBinary,
                                 {"age", "weight", "dose"});
  const std::vector<TableColumn> columns = TrainedColumns(model);
  EXPECT_THAT(NamesOf(columns), ElementsAre("", "age", "weight", "dose", "", ""));
  EXPECT_THAT(RolesOf(columns), ElementsAre(Role::kLeftOut, Role::kFeature, Role::kFeature,
                                            Role::kFeature, Role::kLeftOut, Role::kTarget));
  EXPECT_THAT(RolesOf(TrainedColumns(Saved({"data.label=1"}, Task::kBinary, {}))),
              ElementsAre(Role::kFeature, Role::kTarget, Role::kFeature, Role::kFeature));
}

TEST(TrainedColumnsTest, NamesComeBehindAndNoTableWithoutAHeaderIsTakenForOne) {
  const SavedModel model =
      Saved({"data.label=ill", R"(data.ignore=["id", "0"])"}, Task::kBinary, {"age", "weight"});
  const std::vector<TableColumn> columns = TrainedColumns(model);
  EXPECT_THAT(NamesOf(columns), ElementsAre("age", "weight", "ill", "id", ""));
  EXPECT_THAT(RolesOf(columns), ElementsAre(Role::kFeature, Role::kFeature, Role::kTarget,
                                            Role::kLeftOut, Role::kLeftOut));
  EXPECT_THAT(columns.back().note, HasSubstr("order"));
  // A place that is not there says no more than a name.
  EXPECT_EQ(RolesOf(TrainedColumns(Saved({"data.label=9"}, Task::kBinary, {"age"}))).back(),
            Role::kLeftOut);
}

TEST(TrainedColumnsTest, AValueToBeToldOfASeriesIsAFeatureToo) {
  SavedModel model = Saved({"data.kind=series", "data.label=1", "data.group=0"}, Task::kRegression,
                           {"heat", "flow"});
  model.samples.x_shape = {8, 2};
  EXPECT_THAT(NamesOf(TrainedColumns(model)), ElementsAre("", "heat", "flow"));
  EXPECT_THAT(RolesOf(TrainedColumns(model)),
              ElementsAre(Role::kGroup, Role::kTarget, Role::kFeature));
  model = Saved({"data.kind=series", "data.label=flow"}, Task::kRegression, {"heat", "flow"});
  model.samples.x_shape = {8, 2};
  EXPECT_THAT(RolesOf(TrainedColumns(model)),
              ElementsAre(Role::kFeature, Role::kTarget, Role::kLeftOut));
}

// Rows read by it are what the standardizer made of them: (x - mean) / sd, 0 where a value is
// missing or the channel constant.
TEST(DescriptionForTest, RowsBecomeWhatTheModelWasTrainedOn) {
  SavedModel model =
      Saved({"data.label=-1", "data.missing=mean"}, Task::kClasses, {"age", "weight", "site"});
  model.samples.class_names = {"early", "late", "middle"};
  model.standardizer =
      Standardizer::FromVectors({51.3f, 70.02f, 4.0f}, {11.7f, 0.1f, 0.0f}).value();
  const auto description = DescriptionFor(model).value();
  const Table table =
      ParseTableFor("age,weight,site,stage\n62.5,70.11,4,late\n?,69.95,4,early\n31,NA,5,late\n",
                    "new.csv", *description, {.target = true})
          .value();
  const auto samples = TableSamples(table, description).value();
  EXPECT_EQ(samples->info().class_names, model.samples.class_names);
  std::vector<float> x(9);
  std::vector<int32_t> targets(3);
  ASSERT_TRUE(
      samples->Gather(AllIndices(3), Tensor(x.data(), {3, 3}), Tensor(targets.data(), {3})).ok());
  EXPECT_THAT(targets, ElementsAre(1, 0, 1));
  std::vector<float> before = {62.5f, 70.11f, 4.0f, NAN, 69.95f, 4.0f, 31.0f, NAN, 5.0f};
  model.standardizer->Apply(Tensor(before.data(), {3, 3}));
  for (size_t i = 0; i < x.size(); ++i) {
    // The standardizer subtracts floats, and multiplies by a reciprocal: half a step of the number
    // itself over sd, and two of the result.
    const float magnitude = i % 3 == 1 ? 70.0f / 0.1f : 62.5f / 11.7f;
    EXPECT_TRUE(std::abs(x[i] - before[i]) <= 6e-8f * (magnitude + 2.0f * std::abs(before[i])))
        << i << ": " << x[i] << ", " << before[i];
  }
}

TEST(DescriptionForTest, AsTheModelWasTrainedMissingNumbersAreAnErrorOrNot) {
  const SavedModel strict = Saved({"data.label=-1"}, Task::kBinary, {"age"});
  const auto description = DescriptionFor(strict).value();
  EXPECT_TRUE(description->missing_is_error);
  EXPECT_FALSE(ParseTableFor("age\n41\n?\n", "new.csv", *description, {}).ok());
  EXPECT_TRUE(ParseTableFor("age\n41\n", "new.csv", *description, {}).ok());
  // Classes without names are called by their numbers.
  const SavedModel classes = Saved({"data.label=-1"}, Task::kClasses, {"age"});
  EXPECT_THAT(DescriptionFor(classes).value()->columns.back().categories,
              ElementsAre("0", "1", "2"));
}

TEST(DescriptionForTest, ItsOwnComesFirstAndAWrongStandardizerIsNamed) {
  SavedModel model = Saved({"data.label=-1"}, Task::kBinary, {"age"});
  model.standardizer = Standardizer::FromVectors({1.0f, 2.0f}, {1.0f, 1.0f}).value();
  EXPECT_THAT(DescriptionFor(model).status().message(),
              HasSubstr("takes 1 features, and its standardizer 2"));
  model.samples.table = std::make_shared<const TableDescription>();
  EXPECT_EQ(DescriptionFor(model).value(), model.samples.table);
}

}  // namespace
}  // namespace lockstep
