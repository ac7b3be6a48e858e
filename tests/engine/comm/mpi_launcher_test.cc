#include "engine/comm/mpi_launcher.h"

#include <cstdlib>
#include <map>
#include <string>

#include "engine/comm/mpi.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr const char* kNames[] = {
    "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE",     "PMI_RANK",     "PMIX_RANK",
    "SLURM_NTASKS",         "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_ID"};

// "mpirun 4 2": launcher, size and rank under this environment alone.
std::string Under(const std::map<std::string, std::string>& environment) {
  for (const char* name : kNames) unsetenv(name);
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  return MpiLauncher() + " " + std::to_string(MpiLauncherSize()) + " " +
         std::to_string(MpiLauncherRank());
}

TEST(MpiLauncherTest, NobodyLaunchedAnOrdinaryProgram) {
  EXPECT_EQ(Under({}), " 1 0");
  // What a batch script sees, and what an interactive shell in a job does.
  EXPECT_EQ(Under({{"SLURM_NTASKS", "16"}, {"SLURM_PROCID", "0"}}), " 1 0");
  EXPECT_EQ(Under({{"SLURM_NTASKS", "16"},
                   {"SLURM_STEP_NUM_TASKS", "1"},
                   {"SLURM_STEP_ID", "0"},
                   {"SLURM_PROCID", "0"}}),
            " 1 0");
  // Nor one whose environment is none that a launcher makes.
  EXPECT_EQ(Under({{"PMI_SIZE", "4"}}), " 1 0");
  EXPECT_EQ(Under({{"PMI_SIZE", "four"}, {"PMI_RANK", "0"}}), " 1 0");
  EXPECT_EQ(Under({{"PMI_SIZE", "4"}, {"PMI_RANK", "4"}}), " 1 0");
  EXPECT_EQ(Under({{"PMI_SIZE", "99999999999999999999"}, {"PMI_RANK", "0"}}), " 1 0");
}

TEST(MpiLauncherTest, LaunchersAreKnownByTheirEnvironment) {
  EXPECT_EQ(Under({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "2"}}), "mpirun 4 2");
  EXPECT_EQ(Under({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}), "mpirun 1 0");
  EXPECT_EQ(Under({{"PMI_SIZE", "3"}, {"PMI_RANK", "1"}}), "mpirun 3 1");
  EXPECT_EQ(Under({{"PMIX_RANK", "1"}}), "mpirun 1 1");
  EXPECT_EQ(Under({{"SLURM_NTASKS", "16"}, {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "7"}}),
            "srun 16 7");
  EXPECT_EQ(Under({{"SLURM_NTASKS", "16"},
                   {"SLURM_STEP_NUM_TASKS", "8"},
                   {"SLURM_STEP_ID", "3"},
                   {"SLURM_PROCID", "7"},
                   {"PMIX_RANK", "7"}}),
            "srun 8 7");
  // mpirun in a SLURM job, whose daemons srun started.
  EXPECT_EQ(Under({{"OMPI_COMM_WORLD_SIZE", "8"},
                   {"OMPI_COMM_WORLD_RANK", "5"},
                   {"SLURM_NTASKS", "2"},
                   {"SLURM_STEP_ID", "0"},
                   {"SLURM_PROCID", "1"}}),
            "mpirun 8 5");
}

TEST(MpiLauncherTest, ALauncherOfAnotherMpiIsAnError) {
  Under({{"PMI_SIZE", "4"}, {"PMI_RANK", "2"}});
  EXPECT_TRUE(CheckLaunch(4, "MPICH 4.0.2").ok());
  const Status status = CheckLaunch(1, "Open MPI v4.1.4");
  EXPECT_EQ(status.message(),
            "mpirun launched 4 ranks, but the MPI that this program was built with, Open MPI "
            "v4.1.4, sees 1: launch it with the mpirun of that MPI");
  Under({{"SLURM_NTASKS", "2"}, {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}});
  EXPECT_THAT(CheckLaunch(1, "MPICH 4.0.2").message(), testing::HasSubstr("srun --mpi=pmi"));
  Under({{"PMI_SIZE", "1"}, {"PMI_RANK", "0"}});
  EXPECT_TRUE(CheckLaunch(1, "Open MPI v4.1.4").ok());
  Under({});
  EXPECT_TRUE(CheckLaunch(1, "Open MPI v4.1.4").ok());
  // PMIx does not say how many there are.
  Under({{"PMIX_RANK", "1"}});
  EXPECT_TRUE(CheckLaunch(4, "Open MPI v5.0.3").ok());
}

TEST(MpiLauncherTest, LibrariesAreNamedByTheirVersion) {
  EXPECT_EQ(MpiVersion("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4"),
            "Open MPI v4.1.4");
  EXPECT_EQ(MpiVersion("MPICH Version:      4.0.2\nMPICH Release date: Thu Apr  7"), "MPICH 4.0.2");
  EXPECT_EQ(MpiVersion("SMPI Version 3.32. Copyright"), "SMPI Version 3.32. Copyright");
  EXPECT_EQ(MpiVersion(""), "");
}

}  // namespace
}  // namespace lockstep
