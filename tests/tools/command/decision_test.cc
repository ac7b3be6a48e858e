// A threshold and a temperature, found at the end of `lockstep train`, and used ever after; and
// what summary.json and report.html say of the predictions.
#include <gmock/gmock.h>

#include <cmath>
#include <sstream>
#include <string>

#include "tests/tools/browser.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

class DecisionOf : public Program {
 protected:
  nlohmann::json Train(const std::string& arguments) {
    const Ran ran =
        Run("train " + kClinical + " data.size=900 train.epochs=3 output.folder=run " + arguments);
    EXPECT_EQ(ran.code, 0) << ran.out;
    said_ = ran.out;
    return Summary("run");
  }
  std::string said_;
};

TEST_F(DecisionOf, AThresholdByRecallIsUsedByEvalAndPredict) {
  const nlohmann::json summary =
      Train("train.threshold=recall train.recall=0.9 train.calibrate=temperature");
  const double threshold = summary["decision"]["threshold"].get<double>();
  EXPECT_TRUE(threshold > 0.0 && threshold < 0.5) << threshold;
  EXPECT_NE(summary["decision"]["temperature"].get<double>(), 1.0);
  EXPECT_THAT(said_, HasSubstr("chosen by recall on"));

  // The same confusion from the run, from eval, and from the outcome that the summary tells.
  const auto& test = summary["test"]["confusion"];
  const auto& outcome = summary["assessment"]["outcome"];
  EXPECT_EQ(summary["assessment"]["split"], "test");
  EXPECT_EQ(outcome["true_negatives"], test[0][0]);
  EXPECT_EQ(outcome["false_positives"], test[0][1]);
  EXPECT_EQ(outcome["false_negatives"], test[1][0]);
  EXPECT_EQ(outcome["true_positives"], test[1][1]);
  EXPECT_EQ(summary["assessment"]["scores"]["auc"]["value"], summary["test"]["auc"]);
  EXPECT_EQ(summary["assessment"]["scores"]["accuracy"]["value"], summary["test"]["accuracy"]);
  const Ran eval = Run("eval run");
  ASSERT_EQ(eval.code, 0) << eval.out;
  EXPECT_THAT(eval.out, HasSubstr("A positive is said above a probability of"));
  EXPECT_THAT(eval.out, HasSubstr("recall (sensitivity)"));
  EXPECT_THAT(eval.out, HasSubstr("95 % interval"));

  ASSERT_EQ(Run("data clinical --size 200 -o table.csv").code, 0);
  const Ran predicted = Run("predict run table.csv");
  ASSERT_EQ(predicted.code, 0) << predicted.out;
  std::istringstream lines(predicted.out);
  std::string line;
  std::getline(lines, line);
  int between = 0;
  while (std::getline(lines, line)) {
    const size_t comma = line.find(',');
    const double p = std::stod(line.substr(comma + 1));
    EXPECT_EQ(line.substr(0, comma), p > threshold ? "event" : "no event") << line;
    between += p > threshold && p <= 0.5;
  }
  EXPECT_GT(between, 0);  // else nothing was seen of it
  const Ran top = Run("predict run table.csv --top 1");
  ASSERT_EQ(top.code, 0) << top.out;
  std::istringstream first(top.out);
  std::getline(first, line);
  std::istringstream again(predicted.out);
  std::string other;
  std::getline(again, other);
  while (std::getline(first, line) && std::getline(again, other))
    EXPECT_EQ(line.substr(0, line.find(',')), other.substr(0, other.find(',')));
}

TEST_F(DecisionOf, TrainingIsTheSameWithAndWithoutIt) {
  const nlohmann::json plain = Train("");
  EXPECT_FALSE(plain.contains("decision"));
  fs::rename(folder_ / "run", folder_ / "plain");
  const nlohmann::json decided = Train("train.threshold=youden train.calibrate=temperature");
  EXPECT_EQ(plain["parameter_hash"], decided["parameter_hash"]);
  EXPECT_EQ(plain["test"]["loss"], decided["test"]["loss"]);
  EXPECT_EQ(plain["test"]["auc"], decided["test"]["auc"]);
  EXPECT_THAT(Run("eval plain").out, Not(HasSubstr("A positive is said above")));
}

TEST_F(DecisionOf, WhatCannotBeFoundIsSaidBeforeAnythingIsWritten) {
  const Ran none = Run("train " + kClinical +
                       " data.size=200 data.validation=0 train.threshold=cost "
                       "output.folder=run");
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.out, HasSubstr("train.threshold = cost"));
  EXPECT_THAT(none.out, HasSubstr("data.validation = 0.15"));
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

TEST_F(DecisionOf, TheSummaryTellsScoresWithIntervalsCalibrationAndImportance) {
  const nlohmann::json all = Train("")["assessment"];
  for (const char* name : {"auc", "average_precision", "accuracy", "recall", "specificity",
                           "precision", "negative_precision", "f1", "brier"}) {
    const auto& score = all["scores"][name];
    EXPECT_LE(score["low"], score["value"]) << name;
    EXPECT_GE(score["high"], score["value"]) << name;
  }
  int64_t samples = 0;
  for (const auto& bin : all["calibration"]) samples += bin["samples"].get<int64_t>();
  EXPECT_EQ(samples, all["samples"].get<int64_t>());
  EXPECT_EQ(all["importance"]["columns"].size(), 20u);
  EXPECT_EQ(all["importance"]["score"], "auc");
}

TEST_F(DecisionOf, ThePageShowsIt) {
  Train("train.threshold=youden");
  const std::string html = Read("run/report.html");
  for (const char* text :
       {"Precision and recall", "Receiver operating characteristic", "Calibration",
        "At other thresholds", "Importance by column", "95 % interval", "(this model&#39;s)"})
    EXPECT_THAT(html, HasSubstr(text));
  if (Browser().empty()) GTEST_SKIP() << "there is no browser";
  for (const int width : {360, 1200}) {
    const Seen seen = OpenInBrowser(html, width, folder_);
    EXPECT_GE(seen.canvases, 8);
    EXPECT_EQ(seen.blank_canvases, 0);
    EXPECT_LE(seen.overflow, 0);
    EXPECT_EQ(seen.errors, "");
  }
}

TEST_F(DecisionOf, SubgroupsAreToldByCategoryAndByRangesOfNumbers) {
  std::string table = "sex,age,pressure,outcome\n";
  for (int i = 0; i < 800; ++i) {
    const double pressure = std::sin(1.3 * i);
    const bool outcome = pressure + 0.5 * std::cos(2.9 * i) > 0.0;
    table += std::string(i % 3 == 0 ? "f" : "m") + "," + std::to_string(20 + (i * 37) % 60) + "," +
             std::to_string(pressure) + "," + (outcome ? "ill" : "well") + "\n";
  }
  Write("table.csv", table);
  Write("recipe.toml",
        "[data]\nkind = \"csv\"\npath = \"table.csv\"\nlabel = \"outcome\"\ntest = 0.5\n"
        "subgroups = [\"sex\", \"age\"]\n[train]\nepochs = 3\n[model]\nhidden = [8]\n");
  const Ran ran = Run("train recipe.toml output.folder=run");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const nlohmann::json groups = Summary("run")["assessment"]["subgroups"];
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0]["column"], "sex");
  EXPECT_EQ(groups[0]["groups"][0]["name"], "m");
  EXPECT_EQ(groups[0]["groups"].size(), 2u);
  EXPECT_EQ(groups[1]["column"], "age");
  EXPECT_EQ(groups[1]["groups"].size(), 4u);  // sixty ages
  int64_t samples = 0;
  for (const auto& group : groups[1]["groups"]) {
    samples += group["samples"].get<int64_t>();
    EXPECT_NE(group["name"].get<std::string>().find(" to "), std::string::npos);
    EXPECT_GT(group["samples"].get<int64_t>(), 60);
  }
  EXPECT_EQ(samples, 400);
  EXPECT_THAT(Read("run/report.html"), HasSubstr("By sex"));
  EXPECT_THAT(Run("eval run").out, HasSubstr("sex = m:"));

  ExpectFails("train recipe.toml output.folder=other data.subgroups=[\\\"height\\\"]",
              "data.subgroups");
  const Ran none = Run("train " + kClinical + " data.size=200 data.subgroups=[sex]");
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.out, HasSubstr("data.subgroups"));
}

TEST_F(DecisionOf, ARegressionShowsItsErrors) {
  std::string table = "a,b,y\n";
  for (int i = 0; i < 300; ++i) {
    const double a = std::sin(i), b = std::cos(1.7 * i);
    table += std::to_string(a) + "," + std::to_string(b) + "," + std::to_string(3 * a - b) + "\n";
  }
  Write("table.csv", table);
  Write("recipe.toml",
        "[data]\nkind = \"csv\"\npath = \"table.csv\"\ntask = \"regression\"\n"
        "[train]\nepochs = 5\n[model]\nhidden = [8]\n[output]\nfolder = \"run\"\n");
  const Ran ran = Run("train recipe.toml");
  ASSERT_EQ(ran.code, 0) << ran.out;
  const nlohmann::json all = Summary("run")["assessment"];
  EXPECT_EQ(all["columns"].size(), 1u);
  EXPECT_EQ(all["columns"][0]["largest_errors"].size(), 10u);
  EXPECT_TRUE(all["scores"]["r2"].contains("low"));
  EXPECT_EQ(all["importance"]["columns"][0]["name"], "a");
  const std::string html = Read("run/report.html");
  for (const char* text :
       {"Predicted and true", "The largest errors", "Errors (predicted less true)"})
    EXPECT_THAT(html, HasSubstr(text));
  EXPECT_THAT(Run("eval run").out, HasSubstr("root mean square error"));
}

}  // namespace
}  // namespace lockstep::tools
