#include "engine/data/series/series_dataset.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

// A pipe gives what it holds but once. Whoever opens it again gets nothing, rather than waiting.
TEST(SeriesTest, ASeriesWithoutAHeaderComesFromAPipe) {
  const std::string path = testing::TempDir() + "lockstep_series_pipe";
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    std::ofstream(path) << Rows(20);
    while (!done) {
      const int again = open(path.c_str(), O_WRONLY | O_NONBLOCK);
      if (again >= 0) close(again);
      std::this_thread::yield();
    }
  });
  const Result<Series> series = LoadSeries(path);
  done = true;
  writer.join();
  ASSERT_TRUE(series.ok()) << series.status().message();
  EXPECT_EQ(series->rows(), 20);
  EXPECT_THAT(series->feature_names, IsEmpty());
  std::filesystem::remove(path);
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
  EXPECT_THAT(ErrorOf("1,2\n3\n2,3\n4,4\n"), AllOf(HasSubstr("line 2"), HasSubstr("1 cell")));
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
  const auto parsed = [](bool grouped) {
    SeriesOptions options{.target = int64_t{0}, .unlabelled = true};
    if (grouped) options.group = int64_t{1};
    if (!grouped) options.ignored = {int64_t{1}};
    return ParseSeries("1,a\n10,b\n2,a\n20,b\n3,a\n30,b\n4,a\n", "s.csv", options).value();
  };
  const auto made = MakeSeriesToPredict(parsed(true), 3);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(made->rows, (std::vector<int64_t>{4, 5, 6}));
  std::vector<float> windows(9), targets(3);
  const std::vector<int64_t> all = {0, 1, 2};
  ASSERT_TRUE(
      made->dataset->Gather(all, Tensor(windows.data(), {3, 3, 1}), Tensor(targets.data(), {3, 1}))
          .ok());
  EXPECT_EQ(windows, (std::vector<float>{1, 2, 3, 10, 20, 30, 2, 3, 4}));
  EXPECT_EQ(MakeSeriesToPredict(parsed(false), 3)->rows.size(), 5u);
  EXPECT_THAT(MakeSeriesToPredict(parsed(true), 5).status().message(),
              HasSubstr("4 in the longest group"));
}

// A series that a model was trained on, and one that has its columns in another order and more.
struct Trained {
  SeriesOptions options;
  Series series;
};
Trained TrainedOn(const std::string& text, SeriesOptions options) {
  Trained trained{.options = options, .series = ParseSeries(text, "s.csv", options).value()};
  trained.options.trained = trained.series.columns;
  trained.options.classes = trained.series.classes;
  return trained;
}

TEST(SeriesForAModel, ColumnsAreFoundByName) {
  const Trained trained = TrainedOn("t,u,v,w\n1,2,3,4\n2,3,4,5\n", {.ignored = {"t"}});
  EXPECT_THAT(trained.series.x, ElementsAre(2, 3, 4, 3, 4, 5));
  EXPECT_THAT(trained.series.values, ElementsAre(4, 5));
  for (const char* text : {"w,x,v,u\n4,9,3,2\n5,9,4,3\n", "u;w;v;t\n2;4;3;1\n3;5;4;2\n"}) {
    const auto read = ParseSeries(text, "o.csv", trained.options);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->x, trained.series.x) << text;
    EXPECT_EQ(read->values, trained.series.values) << text;
    EXPECT_EQ(read->feature_names, trained.series.feature_names);
  }
  EXPECT_THAT(ErrorOf("u,w\n1,2\n", trained.options),
              AllOf(HasSubstr("no column \"v\""), HasSubstr("the nearest is")));
  // Without a header: as in training, or what is needed alone.
  for (const char* text : {"1,2,3,4\n2,3,4,5\n", "2,3,4\n3,4,5\n"}) {
    const auto read = ParseSeries(text, "o.csv", trained.options);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->x, trained.series.x) << text;
    EXPECT_THAT(read->remarks, testing::Contains(HasSubstr("by their places")));
  }
  EXPECT_THAT(ErrorOf("1,2\n", trained.options), HasSubstr("it has 2 columns"));
}

TEST(SeriesForAModel, LabelsAreThoseOfTheModel) {
  const std::string text = "v,state,who\n1,off,a\n2,off,b\n3,on,a\n4,idle,b\n";
  Trained trained = TrainedOn(text, {.target = "state", .task = Task::kClasses, .group = "who"});
  EXPECT_THAT(trained.series.classes, ElementsAre("idle", "off", "on"));
  const Series some =
      ParseSeries("who,state,v\nb,on,1\na,off,2\n", "o.csv", trained.options).value();
  EXPECT_THAT(some.labels, ElementsAre(2, 1));
  EXPECT_THAT(some.group_names, ElementsAre("b", "a"));
  EXPECT_THAT(ErrorOf("who,state,v\nb,broken,1\n", trained.options), HasSubstr("\"broken\""));
  EXPECT_THAT(ErrorOf("who,v\nb,1\n", trained.options), HasSubstr("no column \"state\""));
  trained.options.unlabelled = true;
  const auto unlabelled = ParseSeries("who,v\nb,1\na,2\n", "o.csv", trained.options);
  ASSERT_TRUE(unlabelled.ok()) << unlabelled.status().message();
  EXPECT_THAT(unlabelled->x, ElementsAre(1, 2));
  EXPECT_TRUE(unlabelled->labels.empty());
  EXPECT_TRUE(ParseSeries("who,v,state\nb,1,broken\n", "o.csv", trained.options).ok());
}

// What the reader of all tables can do.
TEST(SeriesTest, IsWrittenAsPeopleWriteIt) {
  const std::vector<float> want = {1.5f, 10, 2.5f, 20};
  for (const std::string text :
       {"u,v\n1.5,10\n2.5,20\n", "u;v\n1,5;10\n2,5;20\n", "# made today\nu v\n1.5 10\n 2.5   20\n",
        "sep=;\nu;v\n1.5;10\n2.5;20\n", "u\tv\n'1.5'\t'10'\n'2.5'\t'20'\n",
        "u,v,\n1.5,10,\n2.5,20,\n"}) {
    const auto read = ParseSeries(text, "s.csv");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->x, want) << text;
    EXPECT_THAT(read->feature_names, ElementsAre("u", "v"));
  }
  const Series missing =
      ParseSeries("1,2\n-9,3\n", "s.csv", {.more_missing = {"-9"}, .allow_missing = true}).value();
  EXPECT_TRUE(std::isnan(missing.x[2]));
}

TEST(SeriesTest, AnyNumberOfThreadsReadsTheSame) {
  std::string text = "who,a,b\n";
  for (int i = 0; i < 60000; ++i)
    text +=
        std::to_string(i % 17) + "," + std::to_string(i) + "," + std::to_string(i % 1000) + "\n";
  const Series one = ParseSeries(text, "s.csv", {.group = "who"}).value();
  for (const int threads : {2, 3, 7}) {
    const Series more = ParseSeries(text, "s.csv", {.group = "who", .threads = threads}).value();
    EXPECT_EQ(more.x, one.x);
    EXPECT_EQ(more.places, one.places);
    EXPECT_EQ(more.group_names, one.group_names);
  }
}

}  // namespace
}  // namespace lockstep
