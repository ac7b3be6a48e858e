// `mpirun -n R lockstep train`: the same run on any number of ranks, and what is said where it cannot
// be.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include "tests/tools/ranks_program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kRecipes = LOCKSTEP_SOURCE_DIR "/models/recipes/";

class TrainRanks : public RanksProgram {
 protected:
  // Everything of a summary that does not tell time or ranks.
  nlohmann::json Result(const std::string& run) {
    nlohmann::json json = Summary(run);
    for (const char* key : {"seconds", "recording_seconds", "threads", "bytes", "communication"})
      json.erase(key);
    return json;
  }
};

TEST_F(TrainRanks, RecipesOfAllKindsEndInTheBitsOfOneProcess) {
  const std::vector<std::pair<std::string, std::string>> recipes = {
      {"clinical", "clinical.toml data.size=700 train.epochs=2 train.shards=4"},
      {"digits", "digits_cnn.toml data.size=300 train.epochs=1 train.shards=4 train.batch=50"},
      {"sums",
       "sums_gpt.toml data.size=200 schedule.kind=constant train.epochs=1 train.shards=4 "
       "train.batch=30 "
       "train.ema_decay=0.9"}};
  for (const auto& [name, recipe] : recipes) {
    const std::string train = "train " + kRecipes + recipe + " output.report=false output.folder=";
    const Ran alone = Run(train + name);
    ASSERT_EQ(alone.code, 0) << alone.out;
    for (const int ranks : {2, 4}) {
      const std::string folder = name + std::to_string(ranks);
      const Ran ran = RunOn(ranks, train + folder);
      ASSERT_EQ(ran.code, 0) << ran.out;
      EXPECT_EQ(Result(folder), Result(name)) << folder;
      const auto communication = Summary(folder)["communication"];
      EXPECT_EQ(communication["ranks"], ranks);
      EXPECT_EQ(communication["steps"].size(), static_cast<size_t>(ranks));
      EXPECT_GE(communication["share"], 0.0);
      EXPECT_LE(communication["share"], 1.0);
      for (const auto& bucket : communication["last_backward"]["buckets"]) {
        EXPECT_GT(bucket["sent_bytes"], 0);
        EXPECT_LE(bucket["started"], communication["last_backward"]["seconds"]);
        EXPECT_LE(bucket["started"], bucket["arrived"]);
      }
      // One voice.
      EXPECT_EQ(ran.out.find("parameter hash"), ran.out.rfind("parameter hash")) << ran.out;
      EXPECT_THAT(ran.out, AllOf(HasSubstr(std::to_string(ranks) + " ranks over "),
                                 HasSubstr("CPUs "), HasSubstr("waiting for other ranks")));
    }
  }
  // Measuring a model takes all ranks as well.
  const std::string one = Run("eval clinical").out;
  EXPECT_THAT(one, HasSubstr("AUC"));
  const Ran three = RunOn(3, "eval clinical");
  EXPECT_EQ(three.code, 0);
  EXPECT_EQ(three.out, one);
}

TEST_F(TrainRanks, WhatCannotRunIsSaidOnceAndEndsAllRanks) {
  const std::string train = "train " + kClinical + " data.size=300 output.folder=run ";
  const auto complaint = [&](const Ran& ran) {
    EXPECT_NE(ran.code, 0) << ran.out;
    EXPECT_FALSE(fs::exists(folder_ / "run")) << ran.out;
    const std::vector<std::string> said = Said(ran.out);
    EXPECT_EQ(said.size(), 1u) << ran.out;
    return said.empty() ? "" : said[0];
  };
  EXPECT_EQ(complaint(RunOn(3, train + "train.shards=8")),
            "lockstep: train.shards = 8 cannot be held by 3 ranks, each a power of two of them; 12 "
            "can");
  EXPECT_THAT(complaint(RunOn(2, train + "train.shards=2 train.batch=500 train.last_batch=drop")),
              Not(HasSubstr("rank")));
  EXPECT_THAT(complaint(RunOn(2, "train none.toml")), HasSubstr("none.toml"));
  // One rank has another recipe, other data, or none.
  const auto both = [&](const std::string& first, const std::string& second) {
    return complaint(Shell(Launch(1) + Lockstep(first) + " : -n 1 " + Lockstep(second)));
  };
  EXPECT_THAT(both(train + "train.shards=2", "train none.toml"),
              AllOf(HasSubstr("rank 1: "), HasSubstr("none.toml")));
  EXPECT_EQ(
      both(train + "train.shards=2", train + "train.shards=2 optimizer.learning_rate=0.5"),
      "lockstep: optimizer.learning_rate is 0.5 on rank 1 and 0.003 on rank 0: all ranks of a "
      "run need the same recipe");
  Write("table.csv", "a,b,c\n1,2,0\n3,1,1\n2,2,0\n5,1,1\n1,1,0\n2,3,1\n4,4,0\n4,1,1\n");
  Write("other.csv", "a,b,c\n1,2,0\n3,1,1\n2,2,0\n5,1,1\n1,1,0\n2,3,1\n4,4,0\n4,2,1\n");
  const std::string table =
      "train " + kRecipes +
      "table.toml train.shards=2 data.label=c output.folder=run "
      "data.validation=0 data.test=0 train.batch=4 train.last_batch=keep data.path=" +
      folder_.string();
  EXPECT_THAT(both(table + "/table.csv", table + "/other.csv"),
              AllOf(HasSubstr("the data ("), HasSubstr("of rank 1 is")));
}

// One rank can write no more: all stop, what was saved before stays, and the run can go on.
TEST_F(TrainRanks, ADiskThatIsFullOnOneRankEndsTheRunReadyToGoOn) {
  const std::string train =
      "train " + kClinical + " data.size=1500 train.epochs=40 train.shards=2 output.folder=";
  ASSERT_EQ(Run(train + "whole").code, 0);
  const pid_t launcher = Start(Launch(2) + Lockstep(train + "run output.checkpoint_seconds=0"));
  while (Lives(launcher) && !fs::exists(folder_ / "run/last.safetensors"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const std::vector<pid_t> pids = RanksOf(launcher);
  ASSERT_EQ(pids.size(), 2u);
  const rlimit full{.rlim_cur = 3000, .rlim_max = RLIM_INFINITY};
  ASSERT_EQ(prlimit(pids[1], RLIMIT_FSIZE, &full, nullptr), 0);
  EXPECT_TRUE(Wait(launcher, 60.0)) << Read("output.txt");
  EXPECT_EQ(code_, 1) << Read("output.txt");
  const std::vector<std::string> said = Said(Read("output.txt"));
  ASSERT_EQ(said.size(), 1u) << Read("output.txt");
  EXPECT_THAT(said[0], AllOf(HasSubstr("rank "), HasSubstr("too large"), HasSubstr("--resume")));
  for (const auto& entry : fs::directory_iterator(folder_ / "run"))
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  const Ran last = RunOn(2, "train --resume run output.checkpoint_seconds=60");
  EXPECT_EQ(last.code, 0) << last.out;
  EXPECT_EQ(Summary("run")["parameter_hash"], Summary("whole")["parameter_hash"]);
}

// A scheduler's signal reaches one rank: all save and end with a code to be requeued on, and the same
// command line goes on, until it says that there is nothing left to do.
TEST_F(TrainRanks, ASignalSavesAndTheSameCommandGoesOnUntilItIsFinished) {
  const std::string train =
      "train " + kClinical + " data.size=1500 train.epochs=40 train.shards=4 output.folder=";
  ASSERT_EQ(Run(train + "whole").code, 0);
  const std::string again = train + "run --auto-resume";
  int ranks = 4;
  for (const int signal : {SIGUSR1, SIGTERM}) {
    const pid_t launcher = Start(Launch(ranks) + Lockstep(again));
    while (Lives(launcher) && Read("output.txt").find("epoch ") == std::string::npos)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const std::vector<pid_t> pids = RanksOf(launcher);
    ASSERT_EQ(pids.size(), static_cast<size_t>(ranks)) << Read("output.txt");
    kill(pids.back(), signal);
    kill(pids.back(), signal);  // as schedulers do
    ASSERT_TRUE(Wait(launcher, 60.0)) << Read("output.txt");
    EXPECT_EQ(code_, 130) << Read("output.txt");
    EXPECT_THAT(Said(Read("output.txt")), ElementsAre(HasSubstr("and saved")));
    ranks /= 2;
  }
  const Ran last = RunOn(2, again);
  EXPECT_EQ(last.code, 0) << last.out;
  EXPECT_EQ(Summary("run")["parameter_hash"], Summary("whole")["parameter_hash"]);
  const std::string log = Read("run/log.txt");
  EXPECT_EQ(log.find("begins"), log.rfind("begins")) << log;
  const Ran more = RunOn(2, again);
  EXPECT_EQ(more.code, 0) << more.out;
  EXPECT_THAT(more.out, HasSubstr("run has finished"));
  EXPECT_EQ(Read("run/log.txt"), log);
  const Ran lost = RunOn(2, "train " + kClinical + " train.shards=4 --auto-resume");
  EXPECT_NE(lost.code, 0);
  EXPECT_THAT(lost.out, HasSubstr("--auto-resume finds a run by its folder"));
}

TEST_F(TrainRanks, ASecondJobOnTheFolderIsRefused) {
  const std::string train =
      "train " + kClinical + " train.epochs=5000 train.shards=2 output.folder=run --auto-resume";
  const pid_t launcher = Start(Launch(2) + Lockstep(train));
  while (Lives(launcher) && !fs::exists(folder_ / "run/lock"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  fs::create_directories(folder_ / "second");
  const std::string command = "cd " + folder_.string() + " && " + Launch(2) + Lockstep(train) +
                              " > second/output.txt 2>&1 </dev/null";
  EXPECT_NE(std::system(command.c_str()), 0);
  EXPECT_THAT(Said(Read("second/output.txt")), ElementsAre(HasSubstr("run is in use by process")));
  for (const pid_t rank : RanksOf(launcher)) kill(rank, SIGTERM);
  EXPECT_TRUE(Wait(launcher, 60.0));
  EXPECT_EQ(code_, 130) << Read("output.txt");
}

// A rank that hangs (here: is stopped) ends the run after train.give_up_after seconds.
TEST_F(TrainRanks, ARankThatHangsEndsTheRunWithALineThatNamesIt) {
  const std::string train = "train " + kClinical +
                            " train.epochs=5000 train.shards=2 output.folder=run "
                            "output.checkpoint_seconds=0 train.give_up_after=2";
  const pid_t launcher = Start(Launch(2) + Lockstep(train));
  while (Lives(launcher) && !fs::exists(folder_ / "run/last.safetensors"))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const std::vector<pid_t> pids = RanksOf(launcher);
  ASSERT_EQ(pids.size(), 2u);
  kill(pids[1], SIGSTOP);
  EXPECT_TRUE(Wait(launcher, 60.0)) << Read("output.txt");
  EXPECT_NE(code_, 0);
  EXPECT_THAT(Read("output.txt"), AllOf(HasSubstr("waited 2 s for "), HasSubstr("rank 1")));
  kill(pids[1], SIGKILL);  // should the launcher have left it
}

}  // namespace
}  // namespace lockstep::tools
