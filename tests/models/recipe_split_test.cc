#include "models/recipe_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

RecipeData Made(DatasetInfo info, std::vector<float> x, InMemoryDataset::Targets targets) {
  RecipeData data;
  data.train.dataset =
      InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets)).value();
  data.train.indices = AllIndices(data.train.dataset->size());
  data.train_unchanged = data.train;
  return data;
}

RecipeData OfClasses(std::vector<int32_t> labels, std::vector<std::string> names = {}) {
  const auto size = static_cast<int64_t>(labels.size());
  std::vector<float> x(labels.size());
  return Made({.name = "t", .size = size, .x_shape = {1}, .classes = 3, .class_names = names},
              std::move(x), std::move(labels));
}

RecipeData OfTwo(std::vector<float> labels) {
  const auto size = static_cast<int64_t>(labels.size());
  std::vector<float> x(labels.size());
  return Made({.name = "t",
               .size = size,
               .x_shape = {1},
               .task = Task::kBinary,
               .target_dtype = DType::kF32,
               .target_shape = {1},
               .class_names = {"no", "yes"}},
              std::move(x), std::move(labels));
}

// sklearn.utils.class_weight.compute_class_weight("balanced", classes=[0, 1, 2], y=...) of five,
// three and two samples (scikit-learn 1.2).
TEST(BalanceClassesTest, WeighsAsSklearnDoes) {
  Recipe::Loss loss{.balanced = true};
  const RecipeData data = OfClasses({0, 0, 1, 2, 0, 1, 0, 2, 1, 0}, {"a", "b", "c"});
  const std::string said = BalanceClasses(data, loss).value();
  ASSERT_EQ(loss.class_weights.size(), 3u);
  const double wanted[] = {0.6666666666666666, 1.1111111111111112, 1.6666666666666667};
  for (size_t c = 0; c < 3; ++c) EXPECT_DOUBLE_EQ(loss.class_weights[c], wanted[c]);
  EXPECT_THAT(said, HasSubstr("0.6667 (\"a\", 5 training samples)"));
  EXPECT_THAT(said, HasSubstr("1.667 (\"c\", 2 training samples)"));
}

TEST(BalanceClassesTest, CountsTrainingSamplesAlone) {
  Recipe::Loss loss{.balanced = true};
  RecipeData data = OfTwo({1, 0, 0, 0, 1, 0, 0, 1});
  data.train.indices = data.train_unchanged.indices = {0, 1, 2, 3};
  const std::string said = BalanceClasses(data, loss).value();
  EXPECT_EQ(loss.pos_weight, 3.0);
  EXPECT_THAT(said, HasSubstr("loss.pos_weight = 3, for 1 training samples of \"yes\" and 3 of"));
}

TEST(BalanceClassesTest, SaysWhatItReplacesAndWhatItCannot) {
  Recipe::Loss given{.pos_weight = 5.0, .balanced = true};
  EXPECT_THAT(BalanceClasses(OfTwo({1, 0, 0}), given).value(),
              HasSubstr("replaces the loss.pos_weight = 5 of the recipe"));
  EXPECT_EQ(given.pos_weight, 2.0);

  Recipe::Loss loss{.balanced = true};
  EXPECT_THAT(BalanceClasses(OfClasses({0, 1, 1}), loss).status().message(),
              HasSubstr("class 2 has no training sample"));
  RecipeData numbers = Made({.name = "t",
                             .size = 2,
                             .x_shape = {1},
                             .task = Task::kRegression,
                             .target_dtype = DType::kF32,
                             .target_shape = {1}},
                            {0, 0}, std::vector<float>{1, 2});
  EXPECT_THAT(BalanceClasses(numbers, loss).status().message(), HasSubstr("leave it at false"));
  Recipe::Loss off;
  EXPECT_EQ(BalanceClasses(OfTwo({1, 0, 0}), off).value(), "");
  EXPECT_EQ(off.pos_weight, 1.0);
}

TEST(SplitKindTest, ErrorsNameTheKeys) {
  const auto message = [](const Recipe::Data& data, bool in_order = false, SplitKeys keys = {}) {
    return CheckSplitKind(data, in_order, keys).message();
  };
  EXPECT_EQ(message({}), "");
  EXPECT_THAT(message({.kind = "csv", .split = "time"}), HasSubstr("needs data.time"));
  EXPECT_THAT(message({.kind = "csv", .time = "day", .split = "time", .group = "patient"}),
              HasSubstr("leave one out"));
  EXPECT_THAT(message({.kind = "digits", .time = "day", .split = "time"}),
              HasSubstr("\"digits\" have no times"));
  EXPECT_THAT(message({.kind = "digits", .group = "patient"}), HasSubstr("have no groups"));
  EXPECT_THAT(message({.kind = "text", .folds = 3}, true), HasSubstr("leave it at 0"));
  EXPECT_EQ(message({.kind = "series", .group = "patient"}, true), "");
  EXPECT_EQ(message({.kind = "csv", .group = "patient"}, false, {.groups = {0, 1}}), "");
}

TEST(SplitSamplesTest, ErrorsNameTheKeysAndFoldsAreHeldBack) {
  Recipe::Data data{.kind = "csv", .validation = 0.25, .test = 0.25, .group = "patient"};
  const SplitKeys keys{.groups = {0, 0, 0, 0, 0, 0, 0, 1}, .group_names = {"A", "B"}};
  EXPECT_THAT(SplitSamples(8, keys, data, false).status().message(),
              HasSubstr("data.group = \"patient\": group \"A\" alone holds 7 of 8 samples"));
  data = {.kind = "csv", .folds = 4, .fold = 3};
  const Splits third = SplitSamples(40, {}, data, false).value();
  EXPECT_EQ(third.test.size(), 10u);
  EXPECT_EQ(third.validation.size(), 5u);  // 0.15 of the 30 that are left, rounded
  data.fold = 0;
  const Splits any = SplitSamples(40, {}, data, true).value();
  data.fold = 1;
  EXPECT_EQ(any.test, SplitSamples(40, {}, data, false)->test);
  data.folds = 50;
  EXPECT_THAT(SplitSamples(40, {}, data, false).status().message(),
              HasSubstr("data.folds = 50: 40 samples are too few for 50 folds"));
}

TEST(RepeatedRowRemarksTest, CountsAndNames) {
  RecipeData data =
      Made({.name = "t",
            .size = 6,
            .x_shape = {2},
            .task = Task::kBinary,
            .target_dtype = DType::kF32,
            .target_shape = {1}},
           {1, 2, 3, 4, 1, 2, 5, 6, 3, 4, 1, 2}, std::vector<float>{0, 1, 0, 1, 0, 1});
  data.train.indices = data.train_unchanged.indices = {0, 1, 5};
  data.test = {data.train.dataset, {2, 4}};
  data.validation = {data.train.dataset, {3}};
  EXPECT_THAT(
      RepeatedRowRemarks(data).value(),
      ElementsAre("2 of 2 test rows also stand in the training data (row 3 is training row 1, row "
                  "5 is training row 2); 1 of them with another label",
                  "1 of 3 training rows have the features of an earlier one and another label (row "
                  "6 is training row 1)"));
  data.train.indices = data.train_unchanged.indices = {3};
  data.validation.indices.clear();
  EXPECT_THAT(RepeatedRowRemarks(data).value(), IsEmpty());
}

TEST(RecipeFoldsTest, LoadDataHoldsBackOneFold) {
  std::vector<int64_t> tested;
  for (const char* fold : {"1", "2", "3"}) {
    const Recipe recipe = ParseRecipe("", "r.toml",
                                      std::vector<std::string>{"data.size=300", "data.folds=3",
                                                               std::string("data.fold=") + fold})
                              .value();
    const RecipeData data = LoadData(recipe).value();
    EXPECT_EQ(data.train.indices.size() + data.validation.indices.size() + data.test.indices.size(),
              300u);
    tested.insert(tested.end(), data.test.indices.begin(), data.test.indices.end());
  }
  std::sort(tested.begin(), tested.end());
  EXPECT_EQ(tested, AllIndices(300));
}

TEST(RecipeFoldsTest, AnImpossibleFoldIsRefusedWithTheRecipe) {
  const std::vector<std::string> overrides = {"data.folds=3", "data.fold=4"};
  EXPECT_THAT(ParseRecipe("", "r.toml", overrides).status().message(),
              HasSubstr("data.fold = 4 is none of the 3 folds"));
}

// ---- Tables --------------------------------------------------------------------------------------

class TableSplitTest : public ::testing::Test {
 protected:
  // Visits of 24 patients, each with a day, a weight and an outcome.
  static std::string Visits(const std::string& last = "") {
    std::string text = "patient,seen,marker,weight,outcome\n";
    for (int i = 0; i < 96; ++i) {
      const int patient = (i * 7) % 24;
      text += "P" + std::to_string(patient) + ",2020-03-" + std::to_string(10 + i % 15) + "," +
              std::to_string((i * 37) % 101) + "." + std::to_string(i) + "," +
              std::to_string(i % 4) + ".5," + (patient % 3 == 0 ? "ill" : "well") + "\n";
    }
    return text + last;
  }
  Result<RecipeData> Load(std::vector<std::string> overrides, const std::string& text,
                          SavedSamples saved = {}) {
    const std::string path = folder_ / "visits.csv";
    Spill(path, text);
    overrides.insert(overrides.begin(), {"data.kind=csv", "data.path=\"" + path + "\""});
    LOCKSTEP_TRY_ASSIGN(const Recipe recipe, ParseRecipe("", "r.toml", overrides));
    return LoadData(recipe, std::move(saved));
  }
  TemporaryFolder folder_;
};

TEST_F(TableSplitTest, GroupsStayTogetherAndAModelFindsThemAgain) {
  const auto data =
      Load({"data.group=patient", "data.validation=0.25", "data.test=0.25"}, Visits());
  ASSERT_TRUE(data.ok()) << data.status().message();
  std::set<int64_t> tested;
  for (const int64_t row : data->test.indices) tested.insert((row * 7) % 24);
  for (const int64_t row : data->train.indices) EXPECT_EQ(tested.count((row * 7) % 24), 0u);
  EXPECT_EQ(data->test.indices.size(), 24u);
  const auto table = data->train.dataset->info().table;
  ASSERT_NE(table, nullptr);
  EXPECT_THAT(ToJson(*table), ::testing::Not(HasSubstr("P17")));  // the model knows no patient
  const auto again = Load({"data.group=patient", "data.validation=0.25", "data.test=0.25"},
                          Visits(), {.table = table});
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->test.indices, data->test.indices);
}

TEST_F(TableSplitTest, TheLatestRowsAreTested) {
  const auto data = Load({"data.time=seen", "data.split=time", "data.test=0.2"}, Visits());
  ASSERT_TRUE(data.ok()) << data.status().message();
  int64_t latest = 0;
  for (const int64_t row : data->train.indices) latest = std::max(latest, row % 15);
  for (const int64_t row : data->test.indices) EXPECT_GT(row % 15, latest);
  EXPECT_THAT(
      Load({"data.time=seen", "data.split=time", "data.missing=mean"}, Visits("P1,,3.5,1,ill\n"))
          .status()
          .message(),
      HasSubstr("row 97 has no value in the column of data.time = \"seen\""));
}

TEST_F(TableSplitTest, WeightsComeWithTheRows) {
  const auto data = Load({"data.weight=weight"}, Visits());
  ASSERT_TRUE(data.ok()) << data.status().message();
  ASSERT_TRUE(data->train.dataset->info().weighted);
  const std::vector<int64_t> rows = {5, 0, 3};
  std::vector<float> weights(3);
  ASSERT_TRUE(data->train.dataset->GatherWeights(rows, weights).ok());
  EXPECT_THAT(weights, ElementsAre(1.5f, 0.5f, 3.5f));
  EXPECT_THAT(Load({"data.weight=weight"}, Visits("P1,2020-03-11,3.5,-2,ill\n")).status().message(),
              HasSubstr("weight"));
}

}  // namespace
}  // namespace lockstep
