// lockstep::mpi of a build without MPI.
#include <string>

#include "engine/comm/mpi.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr const char* kMendIt =
    "install one (Debian: libopenmpi-dev and openmpi-bin, or libmpich-dev and mpich) and build it "
    "again with -DLOCKSTEP_MPI=ON";

}  // namespace

Result<std::unique_ptr<MpiSession>> MpiSession::Start() {
  const std::string launcher = MpiLauncher();
  const std::string without = "was built without MPI and cannot share a run with others: ";
  if (launcher.empty()) return Status::Invalid("this program " + without + kMendIt);
  const int size = MpiLauncherSize();
  return Status::Invalid(launcher + " launched " + std::to_string(size) +
                         (size == 1 ? " rank" : " ranks") + " of a program that " + without +
                         kMendIt + ", or start it without " + launcher);
}

Result<std::unique_ptr<Communicator>> MakeMpiCommunicator(const void*) {
  return Status::Invalid(std::string("Lockstep was built without MPI: ") + kMendIt);
}

}  // namespace lockstep
