// The ranks of one run of the program: the processes that mpirun or srun started together, or this
// one alone. Rank 0 speaks and writes; what goes wrong on any of them is said once, and ends all.
#ifndef LOCKSTEP_TOOLS_COMMAND_RANKS_H_
#define LOCKSTEP_TOOLS_COMMAND_RANKS_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/comm/mpi.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1::tools {

// 0, or 130 for a run that was asked to stop (a scheduler may start it again), or 1.
int ExitCode(const Status& status);

class Ranks {
 public:
  Ranks() = default;  // this process alone
  // Over MPI where a launcher started this process, else this process alone.
  static Result<std::unique_ptr<Ranks>> Start();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  // Null where this process is alone.
  Communicator* communicator() { return session_ == nullptr ? nullptr : &session_->communicator(); }
  int rank() const { return rank_; }
  int size() const { return size_; }
  bool speaks() const { return rank_ == 0; }
  std::string mpi() const { return session_ == nullptr ? "" : session_->library(); }

  // Collective, and without effect for a process that is alone; errors are then those of all ranks,
  // see engine/comm/agreement.h.
  Status Agree(const Status& mine);
  // What rank 0 brings, on every rank.
  Status FromFirst(const Status& first);
  Result<std::string> TextFromFirst(const std::string& first);
  Result<std::vector<std::string>> Gather(std::string_view mine);
  // Whether all ranks are still there, which must come here at about the same time.
  bool AllAreHere();

  // An error that names the first rank where a text is not that of rank 0, and both. `what` begins
  // the message: "the program".
  Status CheckSame(const std::string& what, const std::string& mine);
  // The same for recipes, by their keys. Keys that change no result may differ.
  Status CheckSameRecipe(const Recipe& recipe);

  // A rank that waits long says so, with the step (as `step` gives it), on standard error; after
  // give_up_after seconds (0: never) the wait is an error.
  void Watch(double give_up_after, std::function<int64_t()> step);

  // Says how a command ended, once, and returns the program's exit code. An error that the ranks
  // have not agreed on ends the others at once.
  int End(const Status& status);

 private:
  std::unique_ptr<MpiSession> session_;
  int rank_ = 0, size_ = 1;
  bool agreed_ = false;  // on an error
};

// Starts the ranks, runs the command on each and ends them.
int RunOnRanks(const std::function<Status(Ranks& ranks)>& command);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RANKS_H_
