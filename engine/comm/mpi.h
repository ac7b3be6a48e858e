// Ranks that are processes, over MPI (Open MPI, MPICH). Programs that use this link lockstep::mpi;
// where Lockstep was built without MPI, that target says so instead.
//
// All of MPI is in mpi.cc: point to point messages of bytes and byte-wise collectives, on a
// duplicate of the communicator that is handed in, with errors returned and not fatal. No call is
// of more than 1 GiB.
#ifndef LOCKSTEP_ENGINE_COMM_MPI_H_
#define LOCKSTEP_ENGINE_COMM_MPI_H_

#include <memory>
#include <string>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1 {

// What started this process, by its environment: "mpirun" (Open MPI, MPICH's hydra) or "srun" with
// more than one task, else empty. Asks no MPI, so a program that was not launched starts none.
std::string MpiLauncher();
// Ranks the launcher says there are; 1 without one.
int MpiLauncherSize();
// The rank that the launcher gave this process; 0 without one. For who has no communicator: so that
// one rank alone says what all would say.
int MpiLauncherRank();

// MPI for the life of a program: MPI_Init_thread (FUNNELED) to MPI_Finalize, which waits for all
// ranks: a rank that ends for an error of its own calls Abort. A session whose communicator has
// failed, or that an exception destroys, does so by itself, and waits for nobody.
class MpiSession {
 public:
  // Errors: built without MPI, MPI_Init fails, or more than one task was launched and MPI sees one
  // (a launcher of another MPI): the message says what to do.
  static Result<std::unique_ptr<MpiSession>> Start();
  virtual ~MpiSession() = default;

  virtual Communicator& communicator() = 0;  // over MPI_COMM_WORLD
  virtual std::string library() const = 0;   // "Open MPI v4.1.4"
  // Ends all ranks at once, with this exit code, after the message has been printed to stderr.
  [[noreturn]] virtual void Abort(const std::string& message, int exit_code) = 0;
};

// For a host program that runs MPI itself: over a duplicate of `communicator`, a pointer to an
// MPI_Comm. MPI_Init was called with MPI_THREAD_FUNNELED or more, or MPI_THREAD_SINGLE by a program
// whose calls to MPI and to this library come from one thread. The host finalises MPI after this
// has been destroyed.
Result<std::unique_ptr<Communicator>> MakeMpiCommunicator(const void* communicator);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_MPI_H_
