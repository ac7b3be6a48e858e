// What a run leaves behind: checkpoints, metrics, events, a report.
#include "tools/command/run_folder.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <cstring>
#include <map>
#include <set>

#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using testing::HasSubstr;

class RunFolderTest : public Program {
 protected:
  std::set<std::string> Names(const std::string& run, const std::string& part) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / run)) {
      const std::string name = entry.path().filename().string();
      if (name.find(part) != std::string::npos) names.insert(name);
    }
    return names;
  }

  // Steps at which the events have this tag, as TensorBoard would show them: files in the order of
  // their names, a restart makes what came before it from its step on void.
  std::vector<int64_t> StepsOf(const std::string& run, const std::string& tag) {
    std::vector<int64_t> steps;
    for (const std::string& name : Names(run, "tfevents")) {
      const std::string file = Read(run + "/" + name);
      for (size_t at = 0; at + 12 <= file.size();) {
        uint64_t length = 0;
        std::memcpy(&length, file.data() + at, 8);
        const std::string event = file.substr(at + 12, length);
        at += 12 + length + 4;
        // Field 1 is a double of 8 bytes, field 2 the step as a varint.
        int64_t step = 0;
        size_t i = 9;
        if (i < event.size() && event[i] == 0x10) {
          for (int shift = 0;; shift += 7) {
            const auto byte = static_cast<unsigned char>(event[++i]);
            step |= static_cast<int64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) break;
          }
          ++i;
        }
        if (i < event.size() && event[i] == 0x3A) {  // field 7: the session starts anew
          std::erase_if(steps, [&](int64_t old) { return old >= step; });
        } else if (event.find(tag) != std::string::npos) {
          steps.push_back(step);
        }
      }
    }
    return steps;
  }

  std::vector<int64_t> EpochsInMetrics(const std::string& run) {
    std::istringstream csv(Read(run + "/metrics.csv"));
    std::vector<int64_t> epochs;
    std::string line;
    std::getline(csv, line);
    while (std::getline(csv, line)) epochs.push_back(std::stoll(line));
    return epochs;
  }
};

TEST_F(RunFolderTest, WhatIsRecordedChangesNoBit) {
  const std::string run = "train " + kClinical + " data.size=600 train.epochs=3 output.folder=";
  ASSERT_EQ(Run(run + "little output.report=false").code, 0);
  ASSERT_EQ(Run(run + "much output.histograms=true output.checkpoint_seconds=0 "
                      "output.keep_checkpoints=9 --curve")
                .code,
            0);
  EXPECT_EQ(Summary("little")["parameter_hash"], Summary("much")["parameter_hash"]);
  EXPECT_FALSE(fs::exists(folder_ / "little/report.html"));
  EXPECT_TRUE(fs::exists(folder_ / "much/report.html"));
  EXPECT_EQ(StepsOf("little", "weights/0.weight").size(), 0u);
  EXPECT_EQ(StepsOf("much", "weights/0.weight").size(), 3u);
  EXPECT_EQ(StepsOf("much", "activations/0").size(), 3u);
  for (const char* tag :
       {"loss/train", "loss/validation", "auc/validation", "learning_rate", "samples_per_second"}) {
    EXPECT_EQ(StepsOf("little", tag).size(), 3u) << tag;
  }
}

// checkpoint_seconds=0: one is due at every step.
TEST_F(RunFolderTest, KeepsAsManyCheckpointsAsAskedAndEachOneGoesOn) {
  // 420 samples to train: 7 steps of 64 in an epoch.
  const std::string run =
      "train " + kClinical + " data.size=600 train.epochs=5 output.checkpoint_seconds=0 ";
  ASSERT_EQ(Run(run + "output.folder=three output.keep_checkpoints=3").code, 0);
  EXPECT_THAT(Names("three", "step-"),
              testing::ElementsAre("step-000000033.safetensors", "step-000000034.safetensors"));
  ASSERT_EQ(Run(run + "output.folder=all output.keep_checkpoints=100").code, 0);
  EXPECT_EQ(Names("all", "step-").size(), 34u);
  ASSERT_EQ(Run(run + "output.folder=one output.keep_checkpoints=1").code, 0);
  EXPECT_TRUE(Names("one", "step-").empty());
  EXPECT_TRUE(fs::exists(folder_ / "one/last.safetensors"));

  // Within the first epoch, at the end of one (which is then not reported yet), within the last.
  for (const char* name :
       {"step-000000001.safetensors", "step-000000014.safetensors", "step-000000033.safetensors"}) {
    const std::string again = std::string("again-") + name;
    fs::copy(folder_ / "all", folder_ / again);
    fs::remove(folder_ / again / "last.safetensors");
    fs::rename(folder_ / again / name, folder_ / again / "last.safetensors");
    ASSERT_EQ(Run("train --resume " + again).code, 0);
    EXPECT_EQ(Summary(again)["parameter_hash"], Summary("three")["parameter_hash"]);
    EXPECT_EQ(Summary(again)["test"], Summary("three")["test"]);
    EXPECT_THAT(EpochsInMetrics(again), testing::ElementsAre(0, 1, 2, 3, 4));
    EXPECT_THAT(StepsOf(again, "loss/train"), testing::ElementsAre(7, 14, 21, 28, 35));
  }
}

TEST_F(RunFolderTest, TheBestWeightsSoFarAreThereWhileTheRunGoesOn) {
  // An interrupt at once: whatever was reached is saved; a machine that is too quick has finished.
  Write("cut.sh",
        "set -m\n" LOCKSTEP_PROGRAM " train " + kClinical +
            " train.epochs=400 output.folder=cut & pid=$!\n"
            "while kill -0 $pid 2>/dev/null && ! grep -q '^1,' cut/metrics.csv 2>/dev/null; do "
            "sleep 0.01; done\nkill -INT $pid 2>/dev/null; wait $pid\n");
  const int code = WEXITSTATUS(
      std::system(("cd " + folder_.string() + " && bash cut.sh >/dev/null 2>&1").c_str()));
  ASSERT_TRUE(code == 130 || code == 0) << code;
  const Ran eval = Run("eval cut --split validation");
  EXPECT_EQ(eval.code, 0) << eval.out;
  const std::string report = Read("cut/report.html");
  EXPECT_THAT(report, HasSubstr(code == 130 ? "interrupted" : "completed"));
  EXPECT_THAT(report, HasSubstr("Time of a step by layer"));
}

// Stops at random places, also between the last step of an epoch and its end; by Ctrl-C, and by
// kill -9.
TEST_F(RunFolderTest, NoEpochIsMissingOrTwiceAfterManyStops) {
  const std::string run =
      " train " + kClinical +
      " data.size=300 train.epochs=900 output.folder=cut output.checkpoint_seconds=0.02";
  Write("cut.sh", "set -m\nargs='" + run +
                      "'\nfor i in 1 2 3 4 5 6 7 8; do\n"
                      "  " LOCKSTEP_PROGRAM
                      " $args & pid=$!\n"
                      "  sleep 0.0$((3 + i % 4))\n"
                      "  [ $((i % 3)) = 0 ] && kill -9 $pid || kill -INT $pid\n"
                      "  wait $pid && exit 0\n"
                      "  [ -e cut/recipe.toml ] && args='train --resume cut'\n"
                      "done\n" LOCKSTEP_PROGRAM " $args\n");
  const std::string command = "cd " + folder_.string() + " && bash cut.sh >log.txt 2>&1";
  ASSERT_EQ(WEXITSTATUS(std::system(command.c_str())), 0) << Read("log.txt");
  const std::vector<int64_t> epochs = EpochsInMetrics("cut");
  ASSERT_EQ(epochs.size(), 900u);
  for (size_t i = 0; i < epochs.size(); ++i) ASSERT_EQ(epochs[i], static_cast<int64_t>(i));
  const std::vector<int64_t> steps = StepsOf("cut", "loss/train");
  ASSERT_EQ(steps.size(), 900u);
  for (size_t i = 0; i < steps.size(); ++i) ASSERT_EQ(steps[i], static_cast<int64_t>(4 * i + 4));
}

// ---- One process, one folder --------------------------------------------------------------------

TEST_F(RunFolderTest, RunsThatStartTogetherTakeFoldersOfTheirOwn) {
  Write("together.sh",
        "for seed in 11 12 13; do\n  " LOCKSTEP_PROGRAM " train " + kClinical +
            " data.size=200 train.epochs=1 output.report=false train.seed=$seed >$seed.txt 2>&1 & "
            "pids=\"$pids $!\"\ndone\nfor p in $pids; do wait $p || exit 1; done\n");
  for (int round = 0; round < 5; ++round) {
    fs::remove_all(folder_ / "runs");
    const std::string command = "cd " + folder_.string() + " && bash together.sh";
    ASSERT_EQ(WEXITSTATUS(std::system(command.c_str())), 0)
        << Read("11.txt") << Read("12.txt") << Read("13.txt");
    std::set<std::string> seeds;
    for (const char* name : {"runs/clinical", "runs/clinical-2", "runs/clinical-3"}) {
      EXPECT_EQ(Summary(name)["status"], "completed");
      const std::string recipe = Read(std::string(name) + "/recipe.toml");
      for (const char* seed : {"11", "12", "13"}) {
        if (recipe.find(std::string("\nseed = ") + seed) != std::string::npos) seeds.insert(seed);
      }
    }
    EXPECT_EQ(seeds.size(), 3u) << "each seed has a folder";
  }
}

TEST_F(RunFolderTest, AFolderInUseIsRefusedAndNamesWhoHasIt) {
  const std::string train =
      "train " + kClinical + " data.size=200 train.epochs=1 output.folder=run";
  ASSERT_EQ(Run(train).code, 0);
  {
    const Result<FolderLock> held = FolderLock::Take((folder_ / "run").string());
    ASSERT_TRUE(held.ok()) << held.status().message();
    ExpectFails("train --resume run train.epochs=2",
                "run is in use by process " + std::to_string(getpid()));
    // A folder that another process is about to make a run of.
    fs::create_directory(folder_ / "new");
    const Result<FolderLock> other = FolderLock::Take((folder_ / "new").string());
    ASSERT_TRUE(other.ok());
    ExpectFails("train " + kClinical + " output.folder=new", "new is in use by process");
    EXPECT_FALSE(fs::exists(folder_ / "new/recipe.toml"));
  }
  EXPECT_EQ(Run("train --resume run train.epochs=2").code, 0);
  ExpectFails(train, "run holds a run already");
  // A folder that was there before, with no run in it, will do.
  EXPECT_EQ(Run("train " + kClinical + " data.size=200 train.epochs=1 output.folder=new/").code, 0);
}

// ---- Going on otherwise -------------------------------------------------------------------------

TEST_F(RunFolderTest, AFinishedRunGoesOnWithMoreEpochsAndRemembersThatItDid) {
  const std::string train = "train " + kClinical + " data.size=400 schedule.kind=constant ";
  ASSERT_EQ(Run(train + "train.epochs=6 output.folder=whole").code, 0);
  ASSERT_EQ(Run(train + "train.epochs=4 output.folder=more").code, 0);
  const Ran ran =
      Run("train --resume more train.epochs=6 output.report=false output.folder=./more");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("changed: train.epochs 4 -> 6\n"));
  EXPECT_EQ(Summary("more")["parameter_hash"], Summary("whole")["parameter_hash"]);
  EXPECT_THAT(EpochsInMetrics("more"), testing::ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(Read("more/recipe.toml"), HasSubstr("\nepochs = 6"));
  EXPECT_THAT(
      Read("more/log.txt"),
      HasSubstr("goes on from step 20: train.epochs 4 -> 6, output.report true -> false\n"));
  EXPECT_THAT(Read("more/log.txt"), HasSubstr("completed at step 30\n"));
  ExpectFails("train --resume more train.epochs=5", "has come to step 30 already");
  EXPECT_THAT(Read("more/recipe.toml"), HasSubstr("\nepochs = 6"));
}

// Nothing is measured here that could tell: only the names of the classes and the number of samples
// do.
TEST_F(RunFolderTest, OtherSamplesOrOtherNamesOfClassesAreNotGoneOnWith) {
  const auto write = [&](int rows, const std::string& first_class) {
    std::string text = "x,y,label\n";
    for (int i = 0; i < rows; ++i) {
      text += std::to_string(i % 7) + "," + std::to_string(i % 5) + ",";
      text += (i % 3 == 0 ? first_class : i % 3 == 1 ? "b" : "c") + std::string("\n");
    }
    Write("t.csv", text);
  };
  write(43, "a");
  const Ran first = Run("train " LOCKSTEP_SOURCE_DIR
                        "/models/recipes/table.toml data.path=t.csv data.task=classes "
                        "data.standardize=false train.batch=8 train.epochs=1 "
                        "schedule.kind=constant output.report=false output.folder=run");
  ASSERT_EQ(first.code, 0) << first.out;
  write(43, "d");  // b and c would become the first two classes
  ExpectFails("train --resume run train.epochs=2", "data.classes of t.csv is");
  write(45, "a");  // 31 to train on, as before, but others
  ExpectFails("train --resume run train.epochs=2", "saved with samples in all 43, now it is 45");
  write(43, "a");
  std::string one_number = Read("t.csv");
  one_number[one_number.find("\n5,") + 1] = '4';
  Write("t.csv", one_number);
  ExpectFails("train --resume run train.epochs=2", "the content of t.csv has changed");
  write(43, "a");
  EXPECT_EQ(Run("train --resume run train.epochs=2").code, 0);
}

TEST_F(RunFolderTest, ATextOfTheSameLengthAndCharactersIsNotGoneOnWith) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "a cat and a dog " + std::to_string(i % 10) + "\n";
  Write("t.txt", text);
  const Ran first = Run("train " LOCKSTEP_SOURCE_DIR
                        "/models/recipes/shakespeare_lstm.toml data.path=t.txt data.context=8 "
                        "model.hidden=8 train.batch=8 train.epochs=1 data.windows=16 "
                        "output.report=false output.folder=run");
  ASSERT_EQ(first.code, 0) << first.out;
  std::swap(text[3], text[4]);
  Write("t.txt", text);
  ExpectFails("train --resume run train.epochs=2", "the content of t.txt has changed");
  std::swap(text[3], text[4]);
  Write("t.txt", text);
  EXPECT_EQ(Run("train --resume run train.epochs=2").code, 0);
}

TEST_F(RunFolderTest, WhatTheRunIsMadeOfDoesNotChangeAndIsNamed) {
  ASSERT_EQ(Run("train " + kClinical + " data.size=200 train.epochs=1 output.folder=run").code, 0);
  const std::string recipe = Read("run/recipe.toml"), log = Read("run/log.txt");
  for (const char* change :
       {"model.hidden=[8]", "model.norm=layer", "data.size=300", "data.seed=9", "data.split_seed=9",
        "train.seed=9", "train.batch=16", "train.shards=2", "loss.pos_weight=2.0",
        "optimizer.kind=sgd", "train.ema_decay=0.9", "train.monitor=loss"}) {
    const std::string key = std::string(change).substr(0, std::string(change).find('='));
    ExpectFails(std::string("train --resume run train.epochs=3 ") + change, key + " is ");
  }
  ExpectFails("train --resume run output.folder=other", "stays in its folder");
  ExpectFails("train --resume run other.toml", "the run's own recipe");
  ExpectFails("train --resume run train.epoch=3", "train.epochs");
  EXPECT_EQ(Read("run/recipe.toml"), recipe);
  EXPECT_EQ(Read("run/log.txt"), log);
}

// ---- Every way out ------------------------------------------------------------------------------

TEST_F(RunFolderTest, ALossThatLeavesTheFiniteNumbersKeepsTheBestModelAndALowerRateGoesOn) {
  // This rate is right for some epochs: the weights grow until one of them is infinite.
  const Ran ran = Run("train " + kClinical +
                      " data.size=400 train.epochs=3000 schedule.kind=constant optimizer.kind=sgd "
                      "optimizer.learning_rate=100 output.folder=run");
  ASSERT_EQ(ran.code, 1) << ran.out;
  ASSERT_THAT(ran.out, HasSubstr("*\n")) << "an epoch that was the best";
  const std::string last_line = ran.out.substr(ran.out.rfind('\n', ran.out.size() - 2) + 1);
  EXPECT_THAT(last_line, HasSubstr("the best model so far is in run/model.safetensors"));
  EXPECT_THAT(last_line, HasSubstr("train --resume run optimizer.learning_rate=10 goes on"));
  EXPECT_EQ(Summary("run")["status"], "not finite");
  EXPECT_THAT(Read("run/log.txt"), HasSubstr("failed at step "));
  EXPECT_EQ(Run("eval run").code, 0);

  const std::string model = Read("run/model.safetensors"), last = Read("run/last.safetensors");
  ExpectFails("train --resume run", "lockstep train --resume run optimizer.learning_rate=10");
  ExpectFails("train --resume run train.epochs=9", "lockstep train --resume run");
  EXPECT_EQ(Read("run/model.safetensors"), model);
  EXPECT_EQ(Read("run/last.safetensors"), last);
  const int64_t epochs = static_cast<int64_t>(EpochsInMetrics("run").size());
  const Ran on = Run("train --resume run optimizer.learning_rate=0.01 train.epochs=" +
                     std::to_string(epochs + 2));
  ASSERT_EQ(on.code, 0) << on.out;
  EXPECT_THAT(on.out, HasSubstr("changed: optimizer.learning_rate 100.0 -> 0.01"));
  EXPECT_EQ(Summary("run")["status"], "completed");
}

TEST_F(RunFolderTest, ANetworkThatFailsAtOnceStartsAgainAtALowerRate) {
  const std::string train = "train " + kClinical +
                            " data.size=400 train.epochs=2 optimizer.kind=sgd model.norm=none "
                            "train.batch=8 optimizer.learning_rate=1e6 output.folder=run";
  const Ran ran = Run(train);
  ASSERT_EQ(ran.code, 1) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("starts it again at a lower rate (nothing was saved yet)"));
  ExpectFails("train --resume run", "would end so again");
  const Ran on = Run("train --resume run optimizer.learning_rate=0.01");
  ASSERT_EQ(on.code, 0) << on.out;
  EXPECT_EQ(Summary("run")["status"], "completed");
}

// Nothing but the way out saves here, and the run would go on for days.
TEST_F(RunFolderTest, ASignalAndAClosedPipeSaveAndGoOnToTheSameBits) {
  const std::string endless = "train " + kClinical +
                              " data.size=400 train.epochs=100000000 schedule.kind=constant "
                              "train.keep_best=false output.checkpoint_seconds=1e9 "
                              "output.report=false output.folder=";
  // Whoever runs the tests may have them ignored, which the program would respect.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(number, SIG_DFL);
  for (const std::string way : {"INT", "TERM", "HUP", "PIPE"}) {
    const bool pipe = way == "PIPE";
    Write("way.sh", pipe ? LOCKSTEP_PROGRAM " " + endless + way + " 2>errors | head -n 4 >out\n" +
                               "exit ${PIPESTATUS[0]}\n"
                         : "set -m\n" LOCKSTEP_PROGRAM " " + endless + way +
                               " >out 2>errors & pid=$!\n"
                               "while kill -0 $pid && ! grep -q '^1,' " +
                               way + "/metrics.csv; do sleep 0.01; done\nkill -" + way +
                               " $pid; wait $pid\n");
    const std::string command = "cd " + folder_.string() + " && bash way.sh 2>/dev/null";
    EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), pipe ? 1 : 130) << way << Read("errors");
    EXPECT_THAT(Read("errors"), HasSubstr("and saved; lockstep train --resume " + way)) << way;
    if (pipe) {
      EXPECT_THAT(Read("errors"), HasSubstr("the pipe is closed"));
    }
    EXPECT_THAT(Read(way + "/log.txt"), HasSubstr("and saved")) << way;
    const size_t epochs = EpochsInMetrics(way).size() + 1;
    const std::string until = " train.epochs=" + std::to_string(epochs);
    ASSERT_EQ(Run("train --resume " + way + until).code, 0) << way;
    ASSERT_EQ(Run(endless + "whole-" + way + until).code, 0);
    EXPECT_EQ(Summary(way)["parameter_hash"], Summary("whole-" + way)["parameter_hash"]) << way;
  }
}

}  // namespace
}  // namespace lockstep::tools
