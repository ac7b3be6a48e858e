// A run that is killed at random moments, again and again, ends like one that was left alone.
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <random>
#include <thread>

#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/training_state.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

class Kill : public Program {
 protected:
  // Starts the program without waiting for it.
  pid_t Start(const std::vector<std::string>& arguments) {
    const pid_t child = fork();
    if (child != 0) return child;
    if (chdir(folder_.c_str()) != 0) _exit(127);
    freopen("/dev/null", "r", stdin);
    freopen("output.txt", "w", stdout);
    dup2(fileno(stdout), fileno(stderr));
    std::vector<char*> argv = {const_cast<char*>(LOCKSTEP_PROGRAM)};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }

  // Leaves its end to be waited for.
  static bool Lives(pid_t child) {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }

  bool Begun() { return fs::exists(folder_ / "killed/recipe.toml"); }

  // Rows of metrics.csv without the columns that were timed, which no two runs share.
  std::vector<std::string> Metrics(const std::string& run) {
    std::istringstream csv(Read(run + "/metrics.csv"));
    std::vector<std::string> rows;
    std::vector<bool> timed;
    for (std::string line; std::getline(csv, line);) {
      std::istringstream cells(line);
      std::string row, cell;
      for (size_t c = 0; std::getline(cells, cell, ','); ++c) {
        if (rows.empty()) timed.push_back(cell.find("second") != std::string::npos);
        if (!timed[c]) row += cell + ",";
      }
      rows.push_back(row);
    }
    return rows;
  }
};

TEST_F(Kill, ResumesWhatWasKilledBeforeItsFirstCheckpoint) {
  const std::string recipe = "train " + kClinical + " data.size=500 train.epochs=2";
  ASSERT_EQ(Run(recipe + " output.folder=whole").code, 0);
  fs::create_directories(folder_ / "killed");
  fs::copy_file(folder_ / "whole/recipe.toml", folder_ / "killed/recipe.toml");
  const Ran ran = Run("train --resume killed");
  ASSERT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, ::testing::HasSubstr("from the beginning"));
  EXPECT_EQ(Summary("killed")["parameter_hash"], Summary("whole")["parameter_hash"]);
}

// A checkpoint is due at every step: a kill loses the step it falls into, and no more. (Recording
// changes no bit: what is compared, and the last stretch, do without.)
TEST_F(Kill, WithinTheFirstEpochNoMoreThanAStepIsLost) {
  // 4200 samples to train, 132 steps to the epoch.
  const std::vector<std::string> arguments = {"train", kClinical, "data.size=6000",
                                              "train.batch=32", "train.epochs=2"};
  std::string whole;
  for (const std::string& one : arguments) whole += one + " ";
  ASSERT_EQ(Run(whole + " output.folder=whole").code, 0);

  std::vector<std::string> first = arguments;
  first.push_back("output.checkpoint_seconds=0");
  first.push_back("output.folder=killed");
  const auto saved = [&]() -> TrainingState {
    const Result<Checkpoint> last = LoadCheckpoint((folder_ / "killed/last.safetensors").string());
    return last.ok() ? TrainingStateFrom(last->meta).value() : TrainingState{};
  };
  int64_t before = 0;
  int within = 0;
  for (int kills = 0; kills < 5; ++kills) {
    const pid_t child = kills == 0 ? Start(first) : Start({"train", "--resume", "killed"});
    int status = 0;
    int64_t seen = before;
    while (seen < before + 5 && Lives(child)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      seen = saved().step;
    }
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, &status, 0), child) << "it ended by itself: " << Read("output.txt");
    const TrainingState after = saved();
    EXPECT_GE(after.step, seen) << "what was saved is never taken back";
    within += after.batch_in_epoch > 0 && after.batch_in_epoch < 132;
    before = after.step;
  }
  // Kills that fall just between two epochs are rare.
  EXPECT_GE(within, 3);
  const Ran last = Run("train --resume killed output.checkpoint_seconds=60");
  ASSERT_EQ(last.code, 0) << last.out;
  EXPECT_THAT(Read("killed/log.txt"),
              ::testing::HasSubstr("goes on from step " + std::to_string(before) + ": output.c"));
  EXPECT_EQ(Summary("killed")["parameter_hash"], Summary("whole")["parameter_hash"]);
  EXPECT_EQ(Metrics("killed"), Metrics("whole"));
}

TEST_F(Kill, AlwaysResumesToTheSameBits) {
  const std::string recipe = "train " + kClinical + " data.size=1500 train.epochs=60";
  ASSERT_EQ(Run(recipe + " output.folder=whole").code, 0);
  // Kills fall into the start, the first epochs or the checkpoints between them, however fast this
  // build and machine are.
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(Run(recipe + " train.epochs=1 output.folder=one").code, 0);
  const auto latest = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);

  const std::vector<std::string> first = {"train",
                                          kClinical,
                                          "data.size=1500",
                                          "train.epochs=60",
                                          "output.checkpoint_seconds=0",
                                          "output.folder=killed"};
  std::mt19937 random(1);
  int kills = 0, finished = 0;
  for (int attempt = 0; attempt < 12; ++attempt) {
    // Between a killed process and the next one there is nothing but the folder.
    const pid_t child = Begun() ? Start({"train", "--resume", "killed"}) : Start(first);
    std::this_thread::sleep_for(latest * (random() % 1000) / 1000);
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
      ++kills;
    } else {  // it was quicker: it must have ended well
      ASSERT_EQ(WEXITSTATUS(status), 0) << Read("output.txt");
      ++finished;
    }
  }
  RecordProperty("kills", kills);
  EXPECT_GT(kills, 0) << finished << " finished";
  ASSERT_TRUE(Begun());
  const Ran last = Run("train --resume killed output.checkpoint_seconds=60");
  ASSERT_EQ(last.code, 0) << last.out;
  EXPECT_EQ(Summary("killed")["parameter_hash"], Summary("whole")["parameter_hash"]);
  EXPECT_EQ(Summary("killed")["test"], Summary("whole")["test"]);
  EXPECT_EQ(Metrics("killed"), Metrics("whole"));
  for (const auto& entry : fs::directory_iterator(folder_ / "killed")) {
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }
}

}  // namespace
}  // namespace lockstep::tools
