// The program as a user has it: commands, what they print, how they fail.
#include "tests/tools/program.h"

namespace lockstep::tools {
namespace {

TEST_F(Program, TrainsAndLeavesARunBehind) {
  const Ran ran = Run("train " + kClinical + " data.size=1000 train.epochs=3");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_NE(ran.out.find("epoch   3/3"), std::string::npos) << ran.out;
  const nlohmann::json summary = Summary("runs/clinical");
  EXPECT_EQ(summary["status"], "completed");
  EXPECT_EQ(summary["epochs"], 3);
  EXPECT_GT(summary["test"]["auc"], 0.6);
  EXPECT_EQ(summary["parameter_hash"].get<std::string>().size(), 16u);
  const std::string csv = Read("runs/clinical/metrics.csv");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 4) << csv;

  const Ran eval = Run("eval runs/clinical");
  EXPECT_EQ(eval.code, 0) << eval.out;
  char auc[32];
  std::snprintf(auc, sizeof(auc), "AUC %.4f", summary["test"]["auc"].get<double>());
  EXPECT_NE(eval.out.find(auc), std::string::npos) << eval.out;

  EXPECT_EQ(Run("train " + kClinical + " data.size=1000 train.epochs=1").code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "runs/clinical-2/summary.json"));
}

TEST_F(Program, GivesTheSameBitsOnAnyNumberOfThreads) {
  const std::string arguments =
      "train " + kClinical + " data.size=1000 train.epochs=2 train.batch=256 output.folder=";
  ASSERT_EQ(Run(arguments + "one train.threads=1").code, 0);
  ASSERT_EQ(Run(arguments + "two train.threads=2").code, 0);
  EXPECT_EQ(Summary("one")["parameter_hash"], Summary("two")["parameter_hash"]);
}

TEST_F(Program, StopsOnRequestAndResumesToTheSameBits) {
  const std::string recipe =
      "train " + kClinical + " data.size=2000 train.epochs=40 output.folder=";
  ASSERT_EQ(Run(recipe + "whole").code, 0);
  // The interrupt comes once the first epochs are in the log; a machine that is too quick for that
  // has finished.
  const std::string script = "true; " LOCKSTEP_PROGRAM " " + recipe +
                             "cut & pid=$!; "
                             "while kill -0 $pid 2>/dev/null && ! grep -q '^1,' cut/metrics.csv "
                             "2>/dev/null; do sleep 0.01; done; "
                             "kill -INT $pid 2>/dev/null; wait $pid";
  Write("cut.sh", "set -m\n" + script + "\n");
  const std::string command = "cd " + folder_.string() + " && bash cut.sh >/dev/null 2>&1";
  const int code = WEXITSTATUS(std::system(command.c_str()));
  if (code == 130) {
    const Ran ran = Run("train --resume cut");
    ASSERT_EQ(ran.code, 0) << ran.out;
  } else {
    ASSERT_EQ(code, 0);
  }
  EXPECT_EQ(Summary("cut")["parameter_hash"], Summary("whole")["parameter_hash"]);
  const std::string cut = Read("cut/metrics.csv");
  EXPECT_EQ(std::count(cut.begin(), cut.end(), '\n'), 41);
}

TEST_F(Program, BadInputIsOneClearLine) {
  Write("bad.toml", "[train]\nepoch = 1\n");
  Write("empty.csv", "");
  Write("letters.csv", "1,2,0\n3,x,1\n");
  Write("csv.toml", "[data]\nkind = \"csv\"\n");
  Write("junk.safetensors", "not a checkpoint");
  ExpectFails("train missing.toml", "missing.toml");
  ExpectFails("train bad.toml",
              "bad.toml:2: unknown key \"train.epoch\"; did you mean train.epochs?");
  ExpectFails("train", "needs a recipe");
  ExpectFails("train csv.toml", "needs data.path");
  ExpectFails("train csv.toml data.path=gone.csv", "gone.csv");
  ExpectFails("train csv.toml data.path=empty.csv", "empty.csv");
  ExpectFails("train csv.toml data.path=letters.csv data.header=no", "letters.csv");
  ExpectFails("train csv.toml data.kind=mnist data.path=.", "train-images");
  ExpectFails("train " + kClinical + " train.epochs=none", "must be a whole number");
  ExpectFails("train " + kClinical + " output.folder=/proc/nowhere", "/proc/nowhere");
  ExpectFails("train --resume gone", "gone");
  ExpectFails("eval gone", "gone");
  ExpectFails("eval junk.safetensors", "junk.safetensors");
  ExpectFails("frobnicate", "frobnicate", 2);
  ExpectFails("train " + kClinical + " --no-such-flag", "no-such-flag", 2);
}

TEST_F(Program, ABatchOfOneFailsWithTheReasonAndTheChoices) {
  const std::string arguments =
      "train " + kClinical + " data.size=100 train.epochs=1 train.batch=1";
  const Ran ran = Run(arguments);
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.out.find("single value per channel"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("running"), std::string::npos) << ran.out;
  EXPECT_EQ(Run(arguments + " model.single_value=running").code, 0);
}

TEST_F(Program, PrintsEveryKeyOfARecipe) {
  const Ran ran = Run("train --print-recipe");
  EXPECT_EQ(ran.code, 0);
  Write("all.toml", ran.out);
  EXPECT_EQ(Run("train all.toml data.size=200 train.epochs=1").code, 0);
}

TEST_F(Program, HelpHasExamples) {
  const Ran ran = Run("train --help");
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.out.find("examples:"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::tools
