#include "engine/comm/neighbours.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

TEST(NeighboursTest, WhoEndsIsKnownBeforeItsParentHasTakenNote) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  Neighbours::Place other = Neighbours::Mine(), elsewhere = other;
  if (other.world == 0) GTEST_SKIP() << "no Linux";
  other.process = child;
  elsewhere.world += 1;
  const std::vector<Neighbours::Place> ranks = {Neighbours::Mine(), elsewhere, other};
  Neighbours neighbours(ranks);
  EXPECT_EQ(neighbours.Ended(), -1);
  kill(child, SIGSTOP);  // which is no end
  EXPECT_EQ(neighbours.Ended(), -1);
  kill(child, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);  // until it has, and no more
  if (neighbours.Ended() == -1) GTEST_SKIP() << "this kernel has no pidfd_open";
  EXPECT_EQ(neighbours.Ended(), 2);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(neighbours.Ended(), 2);
}

}  // namespace
}  // namespace lockstep
