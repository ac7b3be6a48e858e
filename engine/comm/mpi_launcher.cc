// What started this process, by the environment that launchers make.
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/comm/mpi.h"

namespace lockstep {
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

}  // namespace lockstep
