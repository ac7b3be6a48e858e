#include "engine/data/series/series_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace lockstep {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Rows "i,10*i": the value is ten times the moment.
std::string Rows(int count, const std::string& behind = "", int first = 0) {
  std::string text;
  for (int i = first; i < first + count; ++i)
    text += std::to_string(i) + "," + std::to_string(10 * i) + behind + "\n";
  return text;
}

struct Sample {
  std::vector<float> x;
  float target;
};
Sample Read(const Dataset& dataset, int64_t index) {
  Sample sample{std::vector<float>(static_cast<size_t>(dataset.info().x_shape.size())), 0.0f};
  const std::vector<int64_t> indices = {index};
  EXPECT_TRUE(dataset
                  .Gather(indices, Tensor(sample.x.data(), dataset.XShape(1)),
                          Tensor(&sample.target, dataset.TargetShape(1)))
                  .ok());
  return sample;
}
std::string ErrorOf(const std::string& text, const SeriesOptions& options = {}) {
  return ParseSeries(text, "s.csv", options).status().message();
}

TEST(SeriesTest, TellsTheValueSoManyMomentsOn) {
  for (const int64_t horizon : {1, 2, 5}) {
    const SeriesData data =
        MakeSeriesData(ParseSeries(Rows(20), "s.csv").value(), {.context = 3, .horizon = horizon})
            .value();
    EXPECT_EQ(data.dataset->info().x_shape, (Shape{3, 2}));
    EXPECT_EQ(data.dataset->info().target_shape, Shape{1});
    ASSERT_EQ(data.dataset->size(), 20 - 2 - horizon);
    for (int64_t i = 0; i < data.dataset->size(); ++i) {
      const Sample sample = Read(*data.dataset, i);
      const auto begin = static_cast<float>(i);
      EXPECT_THAT(sample.x, ElementsAre(begin, 10 * begin, begin + 1, 10 * (begin + 1), begin + 2,
                                        10 * (begin + 2)));
      EXPECT_EQ(sample.target, 10 * (begin + 2 + static_cast<float>(horizon)));
    }
  }
}

TEST(SeriesTest, ASingleColumnIsASeries) {
  const Series series = ParseSeries("1\n2\n4\n8\n", "s.csv").value();
  EXPECT_EQ(series.features, 1);
  EXPECT_EQ(MakeSeriesData(series, {.context = 2}).value().dataset->size(), 2);
}

TEST(SeriesTest, TellsTheLabelOfTheLastMoment) {
  const std::string text = "v,state\n1,off\n2,off\n3,on\n4,off\n";
  const Series series =
      ParseSeries(text, "s.csv", {.target = "state", .task = Task::kClasses}).value();
  EXPECT_EQ(series.features, 1);
  EXPECT_THAT(series.classes, ElementsAre("off", "on"));
  EXPECT_THAT(series.feature_names, ElementsAre("v"));
  const SeriesData data = MakeSeriesData(series, {.context = 2}).value();
  ASSERT_EQ(data.dataset->size(), 3);
  std::vector<int32_t> labels(3);
  ASSERT_TRUE(data.dataset->Gather(AllIndices(3), {}, Tensor(labels.data(), Shape{3})).ok());
  EXPECT_THAT(labels, ElementsAre(0, 1, 0));

  const Series binary =
      ParseSeries(text, "s.csv", {.target = "state", .task = Task::kBinary}).value();
  const SeriesData two = MakeSeriesData(binary, {.context = 2}).value();
  EXPECT_EQ(two.dataset->info().target_shape, Shape{1});
  EXPECT_EQ(Read(*two.dataset, 1).target, 1.0f);
}

// What a window sees and what is told from it are of one part: nothing of the future is trained on.
TEST(SeriesTest, NoWindowCrossesFromOnePartToAnother) {
  const SeriesData data =
      MakeSeriesData(ParseSeries(Rows(100), "s.csv").value(),
                     {.context = 5, .horizon = 3, .validation = 0.2, .test = 0.15})
          .value();
  const auto check = [&](const std::vector<int64_t>& part, float least, float most) {
    EXPECT_EQ(part.size(), static_cast<size_t>(most - least + 1) - 7);
    for (const int64_t i : part) {
      const Sample sample = Read(*data.dataset, i);
      EXPECT_GE(sample.x.front(), least);
      EXPECT_LE(sample.target / 10, most);
    }
  };
  check(data.splits.train, 0, 64);
  check(data.splits.validation, 65, 84);
  check(data.splits.test, 85, 99);
}

// Rows of two machines alternate in the file.
TEST(SeriesTest, NoWindowCrossesFromOneGroupToAnother) {
  std::string text;
  for (int i = 0; i < 10; ++i) {
    text += "a," + std::to_string(i) + "\nb," + std::to_string(100 + i) + "\n";
    if (i == 0) text += "c,7\n";
  }
  const Series series = ParseSeries(text, "s.csv", {.group = int64_t{0}}).value();
  EXPECT_EQ(series.features, 1);
  EXPECT_THAT(series.group_names, ElementsAre("a", "b", "c"));
  EXPECT_THAT(series.group_ends, ElementsAre(10, 20, 21));
  const SeriesData data = MakeSeriesData(series, {.context = 3}).value();
  EXPECT_EQ(data.dataset->size(), 14);
  EXPECT_EQ(data.short_groups, 1);
  for (int64_t i = 0; i < data.dataset->size(); ++i) {
    const Sample sample = Read(*data.dataset, i);
    EXPECT_EQ(sample.target, sample.x[0] + 3);
  }
}

TEST(SeriesTest, MissingFeaturesAreRefusedOrNaN) {
  const std::string text = "1,2\nNA,3\n3,4\n";
  EXPECT_THAT(ErrorOf(text), AllOf(HasSubstr("line 2, column 1"), HasSubstr("missing value")));
  const Series series = ParseSeries(text, "s.csv", {.allow_missing = true}).value();
  EXPECT_TRUE(series.has_missing);
  EXPECT_TRUE(std::isnan(series.x[2]));
  const SeriesData data = MakeSeriesData(series, {.context = 1}).value();
  EXPECT_TRUE(data.dataset->info().has_missing);
  // Not of what is to be told.
  EXPECT_THAT(ErrorOf("1,2\n2,NA\n", {.allow_missing = true}), HasSubstr("line 2, column 2"));
}

TEST(SeriesTest, WrongTablesSayWhere) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf("a,b\n"), HasSubstr("only a header"));
  EXPECT_THAT(ErrorOf("1,2\n3\n"), AllOf(HasSubstr("line 2"), HasSubstr("1 fields")));
  EXPECT_THAT(ErrorOf("1,2\nx,3\n"), HasSubstr("no number"));
  EXPECT_THAT(ErrorOf("1,2\n", {.target = "b"}), HasSubstr("no label column"));
  EXPECT_THAT(ErrorOf("1,2\n", {.group = int64_t{1}}), HasSubstr("groups as well"));
  EXPECT_THAT(ErrorOf("1,2\n", {.ignored = {int64_t{1}}}), HasSubstr("ignored as well"));
  EXPECT_THAT(ErrorOf("1\n2\n", {.task = Task::kClasses}), HasSubstr("no feature is left"));
  EXPECT_THAT(ErrorOf("1,a\n2,\n", {.task = Task::kClasses}), HasSubstr("label is missing"));
}

TEST(SeriesTest, SeriesThatAreTooShortAreRefusedWithTheNumbers) {
  const Series series = ParseSeries(Rows(20), "s.csv").value();
  const auto error = [&](const SeriesWindows& windows) {
    return MakeSeriesData(series, windows).status().message();
  };
  EXPECT_THAT(error({.context = 20}), AllOf(HasSubstr("needs 21 moments"), HasSubstr("of 20")));
  EXPECT_THAT(error({.context = 5, .validation = 0.2}), HasSubstr("to validate"));
  EXPECT_THAT(error({.context = 5, .test = 0.2}), HasSubstr("to test"));
  EXPECT_THAT(error({.context = 0}), HasSubstr("at least 1"));
  EXPECT_THAT(error({.context = 5, .horizon = 0}), HasSubstr("at least 1"));
  EXPECT_THAT(error({.context = 2, .validation = 0.5, .test = 0.5}), HasSubstr("nothing to train"));
  EXPECT_FALSE(MakeSeriesData(series, {.context = 2, .validation = 0.0 / 0.0}).ok());
}

TEST(SeriesToPredict, EachCompleteWindowOfAGroupEndsAtARow) {
  const std::vector<float> x = {1, 10, 2, 20, 3, 30, 4};
  const std::vector<std::string> groups = {"a", "b", "a", "b", "a", "b", "a"};
  const auto made = MakeSeriesToPredict("s.csv", 3, 1, x, groups);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(made->rows, (std::vector<int64_t>{4, 5, 6}));
  std::vector<float> windows(9), targets(3);
  const std::vector<int64_t> all = {0, 1, 2};
  ASSERT_TRUE(
      made->dataset->Gather(all, Tensor(windows.data(), {3, 3, 1}), Tensor(targets.data(), {3, 1}))
          .ok());
  EXPECT_EQ(windows, (std::vector<float>{1, 2, 3, 10, 20, 30, 2, 3, 4}));
  EXPECT_EQ(MakeSeriesToPredict("s.csv", 3, 1, x, {})->rows.size(), 5u);
  EXPECT_FALSE(MakeSeriesToPredict("s.csv", 5, 1, x, groups).ok());
}

}  // namespace
}  // namespace lockstep
