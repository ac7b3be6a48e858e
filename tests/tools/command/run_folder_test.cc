// What a run leaves behind: checkpoints, metrics, events, a report.
#include <gmock/gmock.h>
#include <signal.h>

#include <cstring>
#include <map>
#include <set>

#include "tests/tools/program.h"

namespace lockstep::tools {
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

TEST_F(RunFolderTest, KeepsAsManyCheckpointsAsAskedAndEachOneGoesOn) {
  // 420 samples to train: 7 steps of 64 in an epoch.
  const std::string run =
      "train " + kClinical + " data.size=600 train.epochs=5 output.checkpoint_seconds=0 ";
  ASSERT_EQ(Run(run + "output.folder=three output.keep_checkpoints=3").code, 0);
  EXPECT_THAT(Names("three", "step-"),
              testing::ElementsAre("step-000000021.safetensors", "step-000000028.safetensors"));
  ASSERT_EQ(Run(run + "output.folder=one output.keep_checkpoints=1").code, 0);
  EXPECT_TRUE(Names("one", "step-").empty());
  EXPECT_TRUE(fs::exists(folder_ / "one/last.safetensors"));

  for (const char* name : {"step-000000021.safetensors", "step-000000028.safetensors"}) {
    const std::string again = std::string("again-") + name;
    fs::copy(folder_ / "three", folder_ / again);
    fs::remove(folder_ / again / "last.safetensors");
    fs::rename(folder_ / again / name, folder_ / again / "last.safetensors");
    ASSERT_EQ(Run("train --resume " + again).code, 0);
    EXPECT_EQ(Summary(again)["parameter_hash"], Summary("three")["parameter_hash"]);
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

}  // namespace
}  // namespace lockstep::tools
