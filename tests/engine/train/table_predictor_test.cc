// One row of a table by the columns' names: what its cells become, what is told in the target's own
// unit, and why.
#include "engine/train/table_predictor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "layers/linear.h"
#include "layers/loss/pinball.h"
#include "models/mlp.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

// age, town, (an identifier), smoker, seen, and a target.
TableDescription Patients(Task task) {
  TableDescription table;
  table.columns = {
      {.name = "age", .kind = Kind::kNumber, .subtracted = 50.0, .divided = 10.0, .fill = 50.0},
      {.name = "town",
       .kind = Kind::kCategory,
       .categories = {"Bergen", "Oslo"},
       .counts = {3, 7},
       .has_missing = true},
      {.name = "id", .role = Role::kLeftOut},
      {.name = "smoker",
       .kind = Kind::kYesNo,
       .categories = {"No", "Yes"},
       .subtracted = 0.25,
       .divided = 0.5,
       .fill = 0.25},
      {.name = "seen",
       .kind = Kind::kDate,
       .subtracted = 18000.0,
       .divided = 100.0,
       .fill = 18000.0},
      {.name = "target", .role = Role::kTarget}};
  TableColumn& target = table.columns.back();
  if (task == Task::kRegression) {
    target.subtracted = 20000.0;
    target.divided = 3000.0;
  } else {
    target.kind = Kind::kCategory;
    target.categories = {"no", "yes"};
    if (task == Task::kClasses) target.categories.push_back("perhaps");
    target.counts.assign(target.categories.size(), 5);
  }
  table.missing = {"", "NA"};
  table.missing_is_error = false;
  table.dialect.number.decimal = ',';
  table.task = task;
  return table;
}

DatasetInfo SamplesOf(TableDescription table) {
  DatasetInfo samples;
  DescribeSamples(std::make_shared<const TableDescription>(std::move(table)), samples);
  return samples;
}

struct Rig {
  Context ctx{{.threads = 1}};
  DatasetInfo samples;
  Network network;
  TablePredictor predictor;

  explicit Rig(Task task, int64_t hidden = 8, int64_t outputs = 1,
               std::vector<double> quantiles = {})
      : samples(SamplesOf(Patients(task))),
        network(Bind(ctx, samples, hidden, outputs, std::move(quantiles))),
        predictor(TablePredictor::Make(network, samples).value()) {}

  static Network Bind(Context& ctx, const DatasetInfo& samples, int64_t hidden, int64_t outputs,
                      std::vector<double> quantiles) {
    MlpOptions options{.outputs = outputs, .norm = MlpOptions::Norm::kNone};
    if (hidden > 0) options.hidden = {hidden};
    auto layers = std::make_unique<Sequential>(Mlp(options));
    std::unique_ptr<Loss> loss;
    if (!quantiles.empty()) loss = std::make_unique<PinballLoss>(std::move(quantiles));
    return Network::Bind(ctx, std::move(layers), std::move(loss),
                         {.input = {16, samples.x_shape.size()}, .seed = 5, .training = false})
        .value();
  }
  std::vector<CellValue> Row(const std::vector<std::string>& cells) {
    std::vector<CellValue> row;
    for (size_t i = 0; i < cells.size(); ++i)
      row.push_back(predictor.Read(predictor.columns()[i], cells[i]).value());
    return row;
  }
  std::vector<float> Encoded(const std::vector<CellValue>& row) {
    std::vector<float> x(static_cast<size_t>(samples.x_shape.size()));
    predictor.Encode(row, x.data());
    return x;
  }
};

TEST(TablePredictorTest, CellsBecomeWhatTheDescriptionSays) {
  Rig rig(Task::kBinary);
  EXPECT_THAT(rig.predictor.columns(), ElementsAre(0, 1, 3, 4));
  const std::vector<float> x = rig.Encoded(rig.Row({"62,5", "Oslo", "yes", "2019-07-15"}));
  EXPECT_EQ(x[0], 1.25f);
  EXPECT_THAT(std::vector<float>(x.begin() + 1, x.begin() + 4), ElementsAre(0.0f, 1.0f, 0.0f));
  EXPECT_EQ(x[4], 1.5f);
  EXPECT_EQ(x[5], 0.92f);  // 18092 days
  const std::vector<float> none = rig.Encoded(rig.Row({"NA", "", "NA", ""}));
  EXPECT_THAT(none, ElementsAre(0.0f, 0.0f, 0.0f, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f));
  const std::vector<float> unseen = rig.Encoded(rig.Row({"50", "Paris", "0", "2019-07-15"}));
  EXPECT_THAT(std::vector<float>(unseen.begin() + 1, unseen.begin() + 4),
              ElementsAre(0.0f, 0.0f, 0.0f));
}

TEST(TablePredictorTest, NumbersAreTakenAsTheyAre) {
  const Rig rig(Task::kBinary);
  const TablePredictor& predictor = rig.predictor;
  EXPECT_EQ(predictor.Take(0, 62.5)->number, 62.5);
  EXPECT_TRUE(std::isnan(predictor.Take(0, NAN)->number));
  EXPECT_EQ(predictor.Take(3, 1.0)->number, 1.0);
  EXPECT_EQ(predictor.Take(4, 18092.0)->number, predictor.Read(4, "2019-07-15")->number);
  EXPECT_THAT(predictor.Take(3, 0.5).status().message(),
              HasSubstr("yes is 1 and no is 0, not 0.5"));
  EXPECT_THAT(predictor.Take(0, INFINITY).status().message(), HasSubstr("infinite"));
  EXPECT_THAT(predictor.Take(1, 1.0).status().message(), HasSubstr("\"town\" holds categories"));
}

TEST(TablePredictorTest, ACellThatDoesNotFitIsNamed) {
  const Rig rig(Task::kBinary);
  const auto error = [&](int64_t column, const char* text) {
    return rig.predictor.Read(column, text).status().message();
  };
  EXPECT_THAT(error(0, "old"), AllOf(HasSubstr("\"age\""), HasSubstr("\"old\" is not a number")));
  EXPECT_THAT(error(3, "maybe"), HasSubstr("\"maybe\" is not yes or no"));
  EXPECT_THAT(error(4, "soon"), HasSubstr("\"soon\" is not a date"));
  EXPECT_EQ(rig.predictor.Read(1, "Paris")->code, kUnseenCode);
}

TEST(TablePredictorTest, AnswersAreProbabilitiesOrInTheTargetsOwnUnit) {
  Rig binary(Task::kBinary);
  const auto row = binary.Row({"62,5", "Oslo", "yes", "2019-07-15"});
  const TableAnswer yes = binary.predictor.Predict(row).value();
  ASSERT_EQ(yes.numbers.size(), 1u);
  EXPECT_EQ(yes.predicted, yes.numbers[0] > 0.5 ? 1 : 0);
  EXPECT_THAT(binary.predictor.answer_names(), ElementsAre("yes"));

  Rig classes(Task::kClasses, 8, 3);
  const TableAnswer one = classes.predictor.Predict(row).value();
  EXPECT_NEAR(std::accumulate(one.numbers.begin(), one.numbers.end(), 0.0), 1.0, 1e-6);
  EXPECT_THAT(classes.predictor.answer_names(), ElementsAre("no", "yes", "perhaps"));

  Rig regression(Task::kRegression);
  const std::vector<float> x = regression.Encoded(row);
  float y = NAN;
  ASSERT_TRUE(
      regression.network.Predict({x.data(), {1, static_cast<int64_t>(x.size())}}, {&y, {1, 1}})
          .ok());
  const TableAnswer value = regression.predictor.Predict(row).value();
  EXPECT_THAT(value.numbers, ElementsAre(static_cast<float>(double{y} * 3000.0 + 20000.0)));
  EXPECT_EQ(value.predicted, -1);

  Rig quantiles(Task::kRegression, 8, 3, {0.1, 0.5, 0.9});
  const TableAnswer interval = quantiles.predictor.Predict(row).value();
  EXPECT_THAT(quantiles.predictor.answer_names(), ElementsAre("low", "value", "high"));
  EXPECT_TRUE(std::is_sorted(interval.numbers.begin(), interval.numbers.end()));
}

TEST(TablePredictorTest, AWorkerAnswersAsTheNetworkDoes) {
  Rig binary(Task::kBinary), classes(Task::kClasses, 8, 3), regression(Task::kRegression);
  Rig quantiles(Task::kRegression, 8, 3, {0.1, 0.5, 0.9});
  for (Rig* rig : {&binary, &classes, &regression, &quantiles}) {
    const Decision decision{.temperature = 3.0f, .threshold = 0.01f};
    rig->predictor.set_decision(decision);
    SharedPredictor shared =
        SharedPredictor::Make(rig->network, 1, rig->samples, std::nullopt, decision).value();
    SharedPredictor::Worker worker = shared.MakeWorker().value();
    const auto row = rig->Row({"62,5", "Oslo", "yes", "2019-07-15"});
    const TableAnswer want = rig->predictor.Predict(row).value();
    const TableAnswer got = std::as_const(rig->predictor).Predict(row, worker).value();
    EXPECT_EQ(got.numbers, want.numbers);
    EXPECT_EQ(got.predicted, want.predicted);
  }
}

TEST(TablePredictorTest, TheUsualRowHasMeansAndTheMostFrequent) {
  const Rig rig(Task::kBinary);
  const std::vector<CellValue>& usual = rig.predictor.usual();
  ASSERT_EQ(usual.size(), 4u);
  EXPECT_EQ(rig.predictor.TextOf(0, usual[0]), "50");
  EXPECT_EQ(rig.predictor.TextOf(1, usual[1]), "Oslo");
  EXPECT_EQ(rig.predictor.TextOf(3, usual[2]), "No");
  EXPECT_EQ(rig.predictor.TextOf(4, usual[3]), "2019-04-14");
  EXPECT_EQ(rig.predictor.TextOf(0, {.number = NAN}), "(missing)");
  EXPECT_EQ(rig.predictor.TextOf(1, {.code = kMissingCode}), "(missing)");
  EXPECT_EQ(rig.predictor.TextOf(1, {.code = kUnseenCode}), "(not seen in training)");
}

// Of a network without a hidden layer a column contributes the sum of w (x - usual), times the
// unit.
TEST(TablePredictorTest, OfALinearModelContributionsAreKnown) {
  for (const Task task : {Task::kBinary, Task::kRegression}) {
    Rig rig(task, /*hidden=*/0);
    const auto row = rig.Row({"62,5", "Bergen", "yes", "2019-07-15"});
    const std::vector<float> x = rig.Encoded(row), usual = rig.Encoded(rig.predictor.usual());
    const std::span<const float> w = rig.network.parameters().value(0).span<float>();
    const Explanation got = rig.predictor.Explain(row).value();
    const double unit = task == Task::kRegression ? 3000.0 : 1.0;
    ASSERT_EQ(got.contributions.size(), 4u);
    size_t column = 0;
    for (const auto& [begin, end] : {std::pair{0, 1}, {1, 4}, {4, 5}, {5, 10}}) {
      double want = 0.0;
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        want += unit * double{w[i]} * (double{x[i]} - double{usual[i]});
      EXPECT_NEAR(got.contributions[column++], want, unit * 8 * 16 * 0x1p-24);
    }
    EXPECT_NEAR(std::accumulate(got.contributions.begin(), got.contributions.end(), 0.0),
                got.prediction - got.baseline, unit * 1e-13);
    const TableAnswer answer = rig.predictor.Predict(row).value();
    if (task == Task::kRegression) {
      EXPECT_EQ(static_cast<float>(got.prediction), answer.numbers[0]);
      EXPECT_EQ(rig.predictor.ExplainedName(answer), "value");
    } else {
      EXPECT_NEAR(1.0 / (1.0 + std::exp(-got.prediction)), answer.numbers[0], 1e-6);
      EXPECT_EQ(rig.predictor.ExplainedName(answer), "log-odds of yes");
    }
  }
}

TEST(TablePredictorTest, OfSeveralClassesThePredictedOneIsExplained) {
  Rig rig(Task::kClasses, 8, 3);
  const auto row = rig.Row({"80", "Bergen", "no", "2019-07-15"});
  const TableAnswer answer = rig.predictor.Predict(row).value();
  const Explanation got = rig.predictor.Explain(row).value();
  const double p = answer.numbers[static_cast<size_t>(answer.predicted)];
  EXPECT_NEAR(got.prediction, std::log(p / (1.0 - p)), 1e-5);
}

TEST(TablePredictorTest, RefusesColumnsAndRowsThatAreNotThere) {
  Rig rig(Task::kBinary);
  const auto row = rig.Row({"62,5", "Oslo", "yes", "2019-07-15"});
  for (const int64_t column : {-1, 6}) {
    EXPECT_THAT(rig.predictor.Read(column, "1").status().message(),
                HasSubstr("no column " + std::to_string(column) + ", the table has 6"));
    EXPECT_EQ(rig.predictor.Take(column, 1.0).status().code(), Code::kInvalid);
  }
  for (const size_t cells : {size_t{0}, size_t{3}}) {
    const auto part = std::span(row).first(cells);
    EXPECT_THAT(rig.predictor.Predict(part).status().message(), HasSubstr("each of the 4 columns"));
    EXPECT_EQ(rig.predictor.Explain(part).status().code(), Code::kInvalid);
  }
  TablePredictor moved = std::move(rig.predictor);
  EXPECT_TRUE(moved.Predict(row).ok());
  EXPECT_THAT(rig.predictor.Predict(row).status().message(), HasSubstr("moved from"));  // NOLINT
  EXPECT_THAT(rig.predictor.Read(0, "1").status().message(), HasSubstr("moved from"));  // NOLINT
}

TEST(TablePredictorTest, RefusesWhatIsOfNoTableOrOfAnother) {
  Context ctx({.threads = 1});
  Network network = Network::Bind(ctx, Linear(1), {.input = {4, 3}}).value();
  DatasetInfo samples{.x_shape = {3}};
  EXPECT_THAT(TablePredictor::Make(network, samples).status().message(),
              HasSubstr("not trained on a table"));
  EXPECT_THAT(TablePredictor::Make(network, SamplesOf(Patients(Task::kBinary))).status().message(),
              HasSubstr("the table gives samples of (10), the network takes (4, 3)"));
}

}  // namespace
}  // namespace lockstep
