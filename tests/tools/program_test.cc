// The program as a user has it: commands, what they print, how they fail.
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
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

TEST_F(Program, ALastBatchOfOneIsRefusedBeforeTheEpochThatWouldEndInIt) {
  const std::string arguments = "train " + kClinical +
                                " data.size=100 train.epochs=1 train.batch=23 "
                                "output.report=false output.folder=one ";
  ExpectFails(arguments + "train.last_batch=keep",
              "train.batch = 23 leaves a last batch of 1 of the 70 training samples: 1 BatchNorm");
  EXPECT_FALSE(fs::exists(folder_ / "one"));
  EXPECT_EQ(Run(arguments + "train.last_batch=drop").code, 0);
}

// And by plan, with the key that helps; also where batches are computed in parts.
TEST_F(Program, PlanTellsOfALastBatchOfOne) {
  const std::string recipe = kClinical + " data.size=100 ";
  for (const std::string command : {"plan ", "train "}) {
    ExpectFails(command + recipe + "train.batch=69 train.last_batch=keep",
                "leaves a last batch of 1 of the 70 training samples");
    ExpectFails(command + recipe + "train.batch=69 train.last_batch=keep train.micro_batches=3",
                "train.last_batch=drop");
  }
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
  EXPECT_EQ(Run("plan " + recipe + "train.batch=69 train.last_batch=drop").code, 0);
  EXPECT_EQ(Run("plan " + recipe +
                "train.batch=69 train.micro_batches=3 train.last_batch=keep "
                "model.single_value=skip")
                .code,
            0);
}

TEST_F(Program, PlanSaysWhatTrainWouldSay) {
  const Ran ran =
      Run("plan " + kClinical +
          " data.size=100 schedule.kind=cosine schedule.warmup_epochs=9 train.epochs=4");
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_NE(ran.out.find("note: schedule.warmup_epochs = 9 leaves nothing of train.epochs = 4"),
            std::string::npos)
      << ran.out;
}

TEST_F(Program, ARunFolderStandsForItsModel) {
  const std::string small = " data.size=300 train.epochs=1 ";
  ASSERT_EQ(Run("train " + kClinical + small + "output.folder=first").code, 0);
  for (const std::string weights : {"first", "first/", "first/model.safetensors"}) {
    const Ran ran = Run("train " + kClinical + small + "train.seed=5 model.weights=" + weights);
    EXPECT_EQ(ran.code, 0) << ran.out;
  }
  EXPECT_EQ(Run("plan " + kClinical + small + "model.weights=first").code, 0);
  // Of a run that has no best model yet its last checkpoint.
  fs::remove(folder_ / "first/model.safetensors");
  EXPECT_EQ(Run("train " + kClinical + small + "model.weights=first").code, 0);
  EXPECT_EQ(Run("eval first").code, 0);
  ExpectFails("train " + kClinical + small + "model.weights=nowhere", "model.weights: nowhere");
}

TEST_F(Program, AFrozenNameThatMatchesNothingNamesItsKey) {
  ExpectFails("train " + kClinical + " data.size=300 'model.freeze=[\"layer9*\"]'",
              "model.freeze: no parameter matches 'layer9*'");
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

// What can go wrong around a run: a clear line, and nothing lost.
TEST_F(Program, GoesOnOnlyAsTheRunBegan) {
  ASSERT_EQ(Run("data clinical --size 400 -o patients.csv").code, 0);
  ASSERT_EQ(Run("train " + kClinical +
                " data.kind=csv data.path=patients.csv train.epochs=2 output.folder=run")
                .code,
            0);
  const std::string hash = Summary("run")["parameter_hash"], recipe = Read("run/recipe.toml");
  const auto change = [&](const std::string& from, const std::string& to) {
    const size_t at = recipe.find(from);
    ASSERT_NE(at, std::string::npos);
    Write("run/recipe.toml", std::string(recipe).replace(at, from.size(), to));
  };
  change("beta1 = 0.9", "beta1 = 0.8");
  ExpectFails("train --resume run", "optimizer.beta1 is 0.8, the run began with 0.9");
  change("hidden = [64, 32]", "hidden = [64, 48]");
  ExpectFails("train --resume run", "model.hidden is [64, 48], the run began with [64, 32]");
  change("[model]", "[modle]");
  ExpectFails("train --resume run", "unknown table [modle]");
  Write("run/recipe.toml", recipe);

  const std::string patients = Read("patients.csv");
  fs::rename(folder_ / "patients.csv", folder_ / "moved.csv");
  ExpectFails("train --resume run", "patients.csv");
  ExpectFails("eval run", "patients.csv");
  Write("patients.csv", patients.substr(0, patients.rfind('\n', patients.size() - 2) + 1) + "999" +
                            patients.substr(patients.rfind(',')));
  EXPECT_EQ(Run("train --resume run").code, 1);
  EXPECT_EQ(Summary("run")["parameter_hash"], hash) << "a failed resume changes nothing";

  // Files may move and a run may be given more epochs.
  change("\nepochs = 2", "\nepochs = 3");
  const std::string more = Read("run/recipe.toml");
  Write("run/recipe.toml", std::string(more).replace(more.find("patients.csv"), 12, "moved.csv"));
  const Ran on = Run("train --resume run");
  EXPECT_EQ(on.code, 0) << on.out;
  EXPECT_EQ(Summary("run")["epochs"], 3);

  fs::remove(folder_ / "run/last.safetensors");
  ExpectFails("train --resume run", "finished run without a checkpoint");
}

TEST_F(Program, SaysWhenTheDiskIsFullAndKeepsWhatWasThere) {
  ASSERT_EQ(Run("train " + kClinical + " data.size=500 train.epochs=1 output.folder=run").code, 0);
  const std::string model = Read("run/model.safetensors"), last = Read("run/last.safetensors");
  const std::string recipe = Read("run/recipe.toml");
  Write("run/recipe.toml",
        std::string(recipe).replace(recipe.find("\nepochs = 1"), 11, "\nepochs = 2"));
  // No file may grow beyond 16 KB: to the program the same as a disk that has no more room.
  Write("full.sh", "ulimit -f 16\n" LOCKSTEP_PROGRAM " train --resume run 2>errors\n");
  EXPECT_EQ(WEXITSTATUS(std::system(("cd " + folder_.string() + " && bash full.sh >out").c_str())),
            1);
  const std::string errors = Read("errors");
  EXPECT_NE(errors.find("safetensors: cannot write"), std::string::npos) << errors;
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
  EXPECT_EQ(Read("run/model.safetensors"), model);
  EXPECT_EQ(Read("run/last.safetensors"), last);
  const Ran ran = Run("train --resume run");
  EXPECT_EQ(ran.code, 0) << ran.out;
}

TEST_F(Program, SaysWhereItCannotWrite) {
  Write("file", "");
  ExpectFails("train " + kClinical + " data.size=500 output.folder=file/run", "file/run");
  ExpectFails("train " + kClinical + " data.size=500 output.folder=/proc/run", "/proc/run");
}

}  // namespace
}  // namespace lockstep::tools
