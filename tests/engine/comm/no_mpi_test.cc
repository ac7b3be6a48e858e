// A build without MPI, whatever this one is: no_mpi.cc is linked instead of mpi.cc.
#include <cstdlib>

#include "engine/comm/mpi.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

TEST(NoMpiTest, OneLineSaysSoAndWhatToDo) {
  setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  setenv("OMPI_COMM_WORLD_RANK", "0", 1);
  const std::string launched = MpiSession::Start().status().message();
  EXPECT_THAT(launched, testing::StartsWith("mpirun launched 4 ranks of a program that was built "
                                            "without MPI"));
  EXPECT_THAT(launched, testing::HasSubstr("-DLOCKSTEP_MPI=ON, or start it without mpirun"));
  EXPECT_THAT(launched, testing::Not(testing::HasSubstr("\n")));
  unsetenv("OMPI_COMM_WORLD_SIZE");
  unsetenv("OMPI_COMM_WORLD_RANK");
  EXPECT_THAT(MpiSession::Start().status().message(),
              testing::StartsWith("this program was built without MPI"));
  EXPECT_THAT(MakeMpiCommunicator(nullptr).status().message(),
              testing::HasSubstr("built without MPI"));
}

}  // namespace
}  // namespace lockstep
