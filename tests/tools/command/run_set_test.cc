// Cross-validation and several seeds, as a user starts them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using ::testing::HasSubstr;

const std::string kSmall = kClinical +
                           " data.size=240 train.epochs=2 model.hidden=[8] train.threads=1 "
                           "output.report=false ";

class RunSet : public Program {
 protected:
  std::vector<std::string> Lines(const std::string& name) {
    std::vector<std::string> lines;
    std::istringstream in(Read(name));
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
};

TEST_F(RunSet, EveryRowIsPredictedByTheRunThatHasNotSeenIt) {
  const Ran ran = Run("train " + kSmall + "output.report=true output.folder=cv --folds 3");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("run 3 of 3: fold-3"));
  EXPECT_THAT(ran.out, HasSubstr("\nmean "));
  EXPECT_THAT(ran.out, HasSubstr("\nall folds "));

  const nlohmann::json summary = Summary("cv");
  EXPECT_EQ(summary.at("status"), "completed");
  EXPECT_EQ(summary.at("folds"), 3);
  double mean = 0.0, low = 1.0, high = 0.0, squares = 0.0;
  std::vector<double> aucs;
  for (const auto& run : summary.at("runs")) {
    const std::string folder = "cv/" + run.at("folder").get<std::string>();
    const double auc = Summary(folder).at("test").at("auc");
    EXPECT_EQ(run.at("auc"), auc);
    aucs.push_back(auc);
    mean += auc / 3.0;
    low = std::min(low, auc);
    high = std::max(high, auc);
    EXPECT_EQ(run.at("samples"), 80);
    EXPECT_THAT(Read(folder + "/recipe.toml"), HasSubstr("folds = 3"));
  }
  ASSERT_EQ(aucs.size(), 3u);
  for (const double auc : aucs) squares += (auc - mean) * (auc - mean);
  const auto& spread = summary.at("metrics").at("auc");
  EXPECT_NEAR(spread.at("mean").get<double>(), mean, 1e-12);
  EXPECT_NEAR(spread.at("sd").get<double>(), std::sqrt(squares / 2.0), 1e-12);
  EXPECT_EQ(spread.at("min"), low);
  EXPECT_EQ(spread.at("max"), high);
  const auto& pooled = summary.at("all_folds").at(0);
  EXPECT_EQ(pooled.at("samples"), 240);

  const std::vector<std::string> lines = Lines("cv/predictions.csv");
  ASSERT_EQ(lines.size(), 241u);
  EXPECT_THAT(lines[0], HasSubstr("row,truth,predicted,p("));
  int right = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    std::istringstream in(lines[i]);
    std::string row, truth, predicted;
    std::getline(in, row, ',');
    std::getline(in, truth, ',');
    std::getline(in, predicted, ',');
    EXPECT_EQ(row, std::to_string(i));
    right += truth == predicted ? 1 : 0;
  }
  EXPECT_NEAR(pooled.at("accuracy").get<double>(), right / 240.0, 1e-12);
  EXPECT_THAT(Read("cv/report.html"), HasSubstr("Every run"));
  EXPECT_THAT(Read("cv/report.html"), HasSubstr("ROC of the samples of all folds"));

  // Each run is one like any other.
  EXPECT_EQ(Run("eval cv/fold-2").code, 0);
  EXPECT_EQ(Run("inspect cv/fold-2").code, 0);
}

// Each fold finds a threshold and a temperature of its own; what is said of a row is what the run
// that has not seen it says, then and in `predict`.
TEST_F(RunSet, EveryRowIsToldByTheDecisionOfItsFold) {
  ASSERT_EQ(Run("data clinical --size 240 -o table.csv").code, 0);
  ASSERT_EQ(Run("train " + kSmall +
                "data.size=0 data.kind=csv data.path=table.csv data.validation=0.3 "
                "train.threshold=recall train.recall=0.9 train.calibrate=temperature "
                "output.folder=cv --folds 3")
                .code,
            0);
  struct Said {
    std::string name;
    double p;
  };
  std::vector<std::vector<Said>> by_fold;
  std::set<double> thresholds;
  int64_t hits = 0;
  for (int fold = 1; fold <= 3; ++fold) {
    const std::string run = "cv/fold-" + std::to_string(fold);
    const nlohmann::json summary = Summary(run);
    const double threshold = summary.at("decision").at("threshold");
    EXPECT_LT(threshold, 0.5);
    EXPECT_NE(summary.at("decision").at("temperature"), 1.0);
    thresholds.insert(threshold);
    const auto& confusion = summary.at("test").at("confusion");
    hits += confusion[0][0].get<int64_t>() + confusion[1][1].get<int64_t>();
    ASSERT_EQ(Run("predict " + run + " table.csv -o told.csv").code, 0);
    by_fold.emplace_back();
    const std::vector<std::string> lines = Lines("told.csv");
    for (size_t i = 1; i < lines.size(); ++i) {
      const size_t comma = lines[i].find(',');
      by_fold.back().push_back({lines[i].substr(0, comma), std::stod(lines[i].substr(comma + 1))});
    }
  }
  EXPECT_EQ(thresholds.size(), 3u);
  EXPECT_NEAR(Summary("cv").at("all_folds").at(0).at("accuracy").get<double>(),
              static_cast<double>(hits) / 240.0, 1e-12);
  const std::vector<std::string> lines = Lines("cv/predictions.csv");
  ASSERT_EQ(lines.size(), 241u);
  std::vector<int> as_fold(3);
  int between = 0;
  for (size_t i = 0; i < 240; ++i) {
    std::istringstream in(lines[i + 1]);
    std::string row, truth, predicted, p;
    for (std::string* cell : {&row, &truth, &predicted, &p}) std::getline(in, *cell, ',');
    const double told = std::stod(p);
    between += lines[0].ends_with("p(" + predicted + ")") && told < 0.5 ? 1 : 0;
    bool as_any = false;
    for (size_t fold = 0; fold < 3; ++fold) {
      // Seven digits are written; `predict` takes norms into the products in front of them.
      const Said& said = by_fold[fold][i];
      const bool same = said.name == predicted && std::abs(said.p - told) <= 2e-6;
      as_fold[fold] += same ? 1 : 0;
      as_any = as_any || same;
    }
    EXPECT_TRUE(as_any) << lines[i + 1];
  }
  for (const int rows : as_fold) EXPECT_GE(rows, 80);
  EXPECT_GT(between, 0);  // else nothing was seen of the thresholds
}

TEST_F(RunSet, GoesOnWhereItWasAndThreadsChangeNoBit) {
  ASSERT_EQ(Run("train " + kSmall + "output.folder=cv --folds 3").code, 0);
  const std::string whole = Read("cv/predictions.csv");
  // As if it had been stopped while fold 2 ran.
  fs::remove(folder_ / "cv/summary.json");
  fs::remove(folder_ / "cv/predictions.csv");
  fs::remove_all(folder_ / "cv/fold-3");
  fs::remove(folder_ / "cv/fold-2/summary.json");
  const Ran on = Run("train --resume cv train.threads=2");
  ASSERT_EQ(on.code, 0) << on.out;
  EXPECT_THAT(on.out, HasSubstr("cv/fold-1 has finished"));
  EXPECT_EQ(Read("cv/predictions.csv"), whole);

  // The same command line again, as a job that is started again has it.
  const std::string again = "train " + kSmall + "output.folder=cv --folds 3 --auto-resume";
  EXPECT_THAT(Run(again).out, HasSubstr("cv has finished"));
  ExpectFails("train " + kSmall + "output.folder=cv --folds 3", "holds a run already");
  ExpectFails("train --resume cv --folds 4", "--resume goes on with the one that it names");
  ExpectFails("train --resume cv data.folds=4", "data.folds is 4, the run began with 3");
}

TEST_F(RunSet, OneFoldOfSeveralSeedsIsNotCalledAllFolds) {
  ASSERT_EQ(Run("train " + kSmall + "output.folder=one data.folds=3 data.fold=2 --seeds 2").code,
            0);
  EXPECT_EQ(Summary("one").at("runs").size(), 2u);
  EXPECT_FALSE(Summary("one").contains("all_folds"));
  ExpectFails("eval one", "take one of them, as one/seed-1");
}

TEST_F(RunSet, SeedsAreRunsOfTheirOwn) {
  const Ran ran = Run("train " + kSmall + "output.folder=seeds --seeds 2");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const nlohmann::json summary = Summary("seeds");
  EXPECT_EQ(summary.at("seeds"), nlohmann::json({1, 2}));
  EXPECT_EQ(summary.at("runs").size(), 2u);
  EXPECT_FALSE(summary.contains("all_folds"));
  EXPECT_FALSE(fs::exists(folder_ / "seeds/predictions.csv"));
  EXPECT_NE(Summary("seeds/seed-1").at("parameter_hash"),
            Summary("seeds/seed-2").at("parameter_hash"));
  // The run of a seed is the run that this seed gives alone.
  ASSERT_EQ(Run("train " + kSmall + "train.seed=2 output.folder=two").code, 0);
  EXPECT_EQ(Summary("seeds/seed-2").at("parameter_hash"), Summary("two").at("parameter_hash"));
}

TEST_F(RunSet, FoldsOfSeveralSeeds) {
  const Ran ran = Run("train " + kSmall + "output.folder=both --folds 2 --seeds 3,7");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_TRUE(fs::exists(folder_ / "both/fold-2-seed-7/model.safetensors"));
  const nlohmann::json summary = Summary("both");
  EXPECT_EQ(summary.at("runs").size(), 4u);
  EXPECT_EQ(summary.at("all_folds").size(), 2u);
  EXPECT_EQ(Lines("both/predictions.csv").size(), 1u + 2u * 240u);
  // Each is the run that it is alone, though seeds of one fold share their data.
  for (const std::string fold : {"1", "2"}) {
    ASSERT_EQ(Run("train " + kSmall + "data.folds=2 train.seed=7 output.folder=one-" + fold +
                  " data.fold=" + fold)
                  .code,
              0);
    EXPECT_EQ(Summary("both/fold-" + fold + "-seed-7").at("parameter_hash"),
              Summary("one-" + fold).at("parameter_hash"));
  }
}

TEST_F(RunSet, SaysWhatItCannot) {
  ExpectFails("train " + kSmall + "--seeds 1,x", "--seeds takes how many");
  ExpectFails("train " + kSmall + "--seeds 0", "--seeds takes how many");
  ExpectFails("train " + kSmall + "--seeds 4,4", "a seed comes twice");
  ExpectFails("train " + kSmall + "--folds 3 --digest d.txt", "--digest is of one run");
  ExpectFails("train " + kSmall + "data.folds=1", "data.folds must be 2 or more");
  EXPECT_EQ(Run("train " + kSmall + "--folds 1").code, 2);
  for (const std::string command : {"train ", "plan "}) {
    ExpectFails(command + LOCKSTEP_SOURCE_DIR "/models/recipes/sums_gpt.toml data.folds=3",
                "data.folds: samples of data.kind = \"sums\" have several answers each");
  }
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(RunSet, BalancedClassesTravelWithTheModel) {
  const Ran ran = Run("train " + kSmall + "loss.balanced=true output.folder=run");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("note: loss.balanced: loss.pos_weight = "));
  EXPECT_THAT(Read("run/recipe.toml"), HasSubstr("balanced = true"));
  EXPECT_THAT(Read("run/recipe.toml"), ::testing::Not(HasSubstr("pos_weight = 1.0")));
  const double loss = Summary("run").at("test").at("loss");
  const Ran eval = Run("eval run");
  const size_t at = eval.out.find("loss ");
  ASSERT_NE(at, std::string::npos) << eval.out;
  EXPECT_NEAR(std::stod(eval.out.substr(at + 5)), loss, 1e-3);  // four digits are shown
  fs::remove(folder_ / "run/summary.json");
  const Ran on = Run("train --resume run train.epochs=3");
  EXPECT_EQ(on.code, 0) << on.out;
}

// Every fold standardises its targets by scales of its own: put together they are in their own
// unit.
TEST_F(RunSet, NumbersOfAllFoldsAreInTheirOwnUnit) {
  std::string text = "x,price\n";
  for (int i = 0; i < 90; ++i)
    text += std::to_string(i % 13) + "," + std::to_string(20000 + 1000 * (i % 13) + i) + "\n";
  Write("t.csv", text);
  Write("r.toml", "[data]\nkind = \"csv\"\npath = \"t.csv\"\ntask = \"regression\"\n");
  const Ran ran =
      Run("train r.toml train.epochs=30 output.report=false output.folder=cv --folds 3");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const std::vector<std::string> lines = Lines("cv/predictions.csv");
  ASSERT_EQ(lines.size(), 91u);
  EXPECT_EQ(lines[0], "row,truth,predicted");
  double absolute = 0.0;
  for (int i = 0; i < 90; ++i) {
    std::istringstream in(lines[static_cast<size_t>(i) + 1]);
    std::string row, truth, predicted;
    std::getline(in, row, ',');
    std::getline(in, truth, ',');
    std::getline(in, predicted, ',');
    EXPECT_NEAR(std::stod(truth), 20000 + 1000 * (i % 13) + i, 0.01);
    absolute += std::abs(std::stod(truth) - std::stod(predicted));
  }
  const nlohmann::json summary = Summary("cv");
  EXPECT_NEAR(summary.at("all_folds").at(0).at("mae").get<double>(), absolute / 90.0, 0.01);
  double mean = 0.0;
  for (const auto& run : summary.at("runs")) mean += run.at("mae").get<double>() / 3.0;
  EXPECT_NEAR(mean, absolute / 90.0, 0.01);  // folds of one size
}

}  // namespace
}  // namespace lockstep::tools
