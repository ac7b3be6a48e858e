// A run of several ranks that loses one of them, or all, at random moments, again and again, ends
// like one that was left alone. LOCKSTEP_KILLS says how often; 5 times where it does not.
#include <gmock/gmock.h>

#include <random>

#include "tests/tools/ranks_program.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int kEpochsOfAnAttempt = 6;

class KillRanks : public RanksProgram {
 protected:
  int EpochsSaid() {
    const std::string text = Read("output.txt");
    int epochs = 0;
    for (size_t at = text.find("train loss"); at != text.npos; at = text.find("train loss", at + 1))
      ++epochs;
    return epochs;
  }
};

TEST_F(KillRanks, AlwaysGoesOnToTheSameBits) {
  const char* const asked = std::getenv("LOCKSTEP_KILLS");
  const int wanted = asked == nullptr ? 5 : std::atoi(asked);
  const std::string recipe = "train " + kClinical + " data.size=1500 train.shards=4 train.epochs=" +
                             std::to_string(20 + kEpochsOfAnAttempt * wanted) +
                             " output.report=false output.folder=";
  ASSERT_EQ(Run(recipe + "whole").code, 0);
  const std::string train = recipe + "killed output.checkpoint_seconds=0 --auto-resume";
  std::mt19937 random(/*seed=*/1);
  const auto below = [&](uint32_t n) { return static_cast<int>(random() % n); };
  const auto temporary = folder_ / "killed/last.safetensors.tmp";
  int kills = 0, within_checkpoint = 0, asked_to_stop = 0;
  for (int attempt = 0; kills < wanted && attempt < 2 * wanted + 5; ++attempt) {
    const int ranks = 2 << below(2);
    const pid_t launcher = Start(Launch(ranks) + Lockstep(train));
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    // From the moment that the ranks have met, in the start as well: what launchers do about a rank
    // that dies while they connect it is theirs.
    while (Lives(launcher) && Read("output.txt").find("ranks over") == std::string::npos) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ASSERT_LT(seconds(), 60.0) << Read("output.txt");
    }
    const double there = seconds();
    // However fast the machine is, the run lasts for all of the kills.
    const double until = there + below(1500) / 1000.0;
    while (Lives(launcher) && seconds() < until && EpochsSaid() < kEpochsOfAnAttempt)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const int kind = below(4);
    const bool in_checkpoint = kind == 1;
    while (in_checkpoint && Lives(launcher) && !fs::exists(temporary) && seconds() < there + 10.0) {
    }
    const std::vector<pid_t> pids = RanksOf(launcher);
    if (Lives(launcher) && !pids.empty()) {
      within_checkpoint += in_checkpoint;
      asked_to_stop += kind == 3;
      if (kind == 2) {
        for (const pid_t pid : pids) kill(pid, SIGKILL);
      } else {
        kill(pids[random() % pids.size()], kind == 3 ? SIGTERM : SIGKILL);
      }
      ++kills;
    }
    ASSERT_TRUE(Wait(launcher, 30.0)) << "ranks were left hanging: " << Read("output.txt");
    if (code_ == 0) break;  // it was quicker
    EXPECT_FALSE(code_ == 130 && fs::exists(temporary)) << Read("output.txt");
  }
  EXPECT_EQ(kills, wanted) << "the run ended before";
  RecordProperty("kills", kills);
  std::printf("%d kills, %d of them within a checkpoint, %d asked to stop\n", kills,
              within_checkpoint, asked_to_stop);
  const Ran last = RunOn(2, recipe + "killed output.checkpoint_seconds=60 --auto-resume");
  ASSERT_EQ(last.code, 0) << last.out;
  EXPECT_EQ(Summary("killed")["parameter_hash"], Summary("whole")["parameter_hash"]);
  EXPECT_EQ(Summary("killed")["test"], Summary("whole")["test"]);
  EXPECT_EQ(Summary("killed")["steps"], Summary("whole")["steps"]);
  for (const auto& entry : fs::directory_iterator(folder_ / "killed"))
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
}

}  // namespace
}  // namespace lockstep::tools
