// What started this process, by the environment that launchers make.
#include "engine/comm/mpi_launcher.h"

#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "engine/comm/mpi.h"

namespace lockstep::inline v0_1 {
namespace {

// -1 if there is none, or it is no number.
int NumberIn(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return -1;
  const std::string_view view(text);
  int number = -1;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
  return error == std::errc() && end == view.data() + view.size() && number >= 0 ? number : -1;
}

struct Launch {
  std::string launcher{};
  int size = 1;
  int rank = 0;
};

Launch FindLaunch() {
  // Before srun: both start their daemons by srun in a SLURM job.
  for (const auto& [size_name, rank_name] :
       {std::pair("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), {"PMI_SIZE", "PMI_RANK"}}) {
    const int size = NumberIn(size_name), rank = NumberIn(rank_name);
    if (size >= 1 && rank >= 0 && rank < size)
      return {.launcher = "mpirun", .size = size, .rank = rank};
  }
  // SLURM_NTASKS alone is that of the job, which a batch script sees too. One task is what `srun
  // --pty bash` has.
  const bool in_step = NumberIn("SLURM_STEP_ID") >= 0;
  const int step_size = NumberIn("SLURM_STEP_NUM_TASKS");
  const int size = step_size >= 1 ? step_size : NumberIn("SLURM_NTASKS");
  const int rank = NumberIn("SLURM_PROCID");
  if (in_step && size > 1 && rank >= 0 && rank < size)
    return {.launcher = "srun", .size = size, .rank = rank};
  // PMIx says how many there are only when it is asked.
  if (const int pmix = NumberIn("PMIX_RANK"); pmix >= 0)
    return {.launcher = "mpirun", .rank = pmix};
  return {};
}

}  // namespace

std::string MpiLauncher() { return FindLaunch().launcher; }
int MpiLauncherSize() { return FindLaunch().size; }
int MpiLauncherRank() { return FindLaunch().rank; }

std::string MpiVersion(const std::string& all) {
  std::string name = all.substr(0, all.find_first_of(",\n"));
  if (const size_t at = name.find(" Version:"); at != std::string::npos) {
    const size_t number = name.find_first_not_of(" \t", at + 9);
    name = name.substr(0, at) + (number == std::string::npos ? "" : " " + name.substr(number));
  }
  return name;
}

Status CheckLaunch(int size, const std::string& library) {
  const Launch launch = FindLaunch();
  if (size == launch.size || launch.size == 1) return Status::Ok();
  return Status::Invalid(
      launch.launcher + " launched " + std::to_string(launch.size) +
      " ranks, but the MPI that this program was built with, " + library + ", sees " +
      std::to_string(size) + ": launch it " +
      (launch.launcher == "srun" ? "with srun --mpi=pmix or --mpi=pmi2, or " : "") +
      "with the mpirun of that MPI");
}

}  // namespace lockstep
