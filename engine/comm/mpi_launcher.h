// What a launcher says, against what MPI says.
#ifndef LOCKSTEP_ENGINE_COMM_MPI_LAUNCHER_H_
#define LOCKSTEP_ENGINE_COMM_MPI_LAUNCHER_H_

#include <string>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// "Open MPI v4.1.4", "MPICH 4.0.2": the beginning of what an MPI says of itself in many words.
std::string MpiVersion(const std::string& all);

// An error where several ranks were launched and `library` sees another number of them, `size`:
// they were launched by an mpirun of another MPI, each of them is alone.
Status CheckLaunch(int size, const std::string& library);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_MPI_LAUNCHER_H_
