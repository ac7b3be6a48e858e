#include "tools/command/ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <utility>

#include "engine/comm/agreement.h"
#include "engine/io/file.h"
#include "tools/command/resume.h"
#include "tools/command/terminal.h"

namespace lockstep::inline v0_1::tools {
namespace {

// Ranks that have agreed on an error come to the next meeting together.
constexpr double kSecondsToMeet = 5.0;

Status StatusOfException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Status::Io("out of memory; a smaller train.batch or model needs less");
  } catch (const std::exception& error) {
    LOCKSTEP_TRY(OutputStatus());  // printing throws
    return Status::Io(std::string("internal error: ") + error.what());
  }
}

}  // namespace

int ExitCode(const Status& status) {
  return status.ok() ? 0 : status.code() == Code::kInterrupted ? 130 : 1;
}

Result<std::unique_ptr<Ranks>> Ranks::Start() {
  auto ranks = std::make_unique<Ranks>();
  if (MpiLauncher().empty()) return ranks;
  LOCKSTEP_TRY_ASSIGN(ranks->session_, MpiSession::Start());
  ranks->rank_ = ranks->session_->communicator().rank();
  ranks->size_ = ranks->session_->communicator().size();
  return ranks;
}

Status Ranks::Agree(const Status& mine) {
  if (size_ == 1) return mine;
  Status all = lockstep::Agree(*communicator(), mine);
  agreed_ = agreed_ || !all.ok();
  return all;
}

Status Ranks::FromFirst(const Status& first) {
  if (size_ == 1) return first;
  const auto code = static_cast<char>(first.code());
  const Result<std::string> text = TextFromFirst(code + first.message());
  if (!text.ok()) return first.ok() ? text.status() : first;
  Status status(static_cast<Code>(text->front()), text->substr(1));
  agreed_ = agreed_ || !status.ok();
  return status;
}

Result<std::string> Ranks::TextFromFirst(const std::string& first) {
  LOCKSTEP_TRY_ASSIGN(std::vector<std::string> all, Gather(rank_ == 0 ? first : ""));
  return std::move(all.front());
}

Result<std::vector<std::string>> Ranks::Gather(std::string_view mine) {
  if (size_ == 1) return std::vector<std::string>{std::string(mine)};
  return GatherTexts(*communicator(), mine);
}

bool Ranks::AllAreHere() {
  if (size_ == 1) return true;
  const Communicator::Watch before = communicator()->watch();
  Communicator::Watch watch = before;
  watch.give_up_after = kSecondsToMeet;
  communicator()->set_watch(watch);
  const bool here = communicator()->Barrier().ok();
  communicator()->set_watch(before);
  return here;
}

Status Ranks::CheckSame(const std::string& what, const std::string& mine) {
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> all, Gather(mine));
  for (size_t r = 1; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    agreed_ = true;
    return Status::Invalid(
        fmt::format("{} of rank {} is {}, of rank 0 {}: all ranks of a run need "
                    "the same",
                    what, r, Quoted(all[r]), Quoted(all[0])));
  }
  return Status::Ok();
}

Status Ranks::CheckSameRecipe(const Recipe& recipe) {
  if (size_ == 1) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> all, Gather(PrintRecipe(recipe)));
  for (size_t r = 1; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    LOCKSTEP_TRY_ASSIGN(const Recipe first, ParseRecipe(all[0], "the recipe of rank 0"));
    LOCKSTEP_TRY_ASSIGN(const Recipe other,
                        ParseRecipe(all[r], "the recipe of rank " + std::to_string(r)));
    for (const RecipeDifference& one : Differences(first, other)) {
      if (ChangesNoBit(one.key)) continue;
      agreed_ = true;
      return Status::Invalid(
          fmt::format("{} is {} on rank {} and {} on rank 0: all ranks of a run "
                      "need the same recipe",
                      one.key, one.right, r, one.left));
    }
  }
  return Status::Ok();
}

void Ranks::Watch(double give_up_after, std::function<int64_t()> step) {
  if (size_ == 1) return;
  Communicator::Watch watch{.give_up_after = give_up_after};
  watch.slow = [rank = rank_, step = std::move(step)](const std::string& what, double seconds) {
    fmt::print(stderr, "lockstep: rank {} has waited {:.0f} s at step {} for {}\n", rank, seconds,
               step(), what);
  };
  communicator()->set_watch(std::move(watch));
}

int Ranks::End(const Status& status) {
  const int code = ExitCode(status);
  if (!status.ok() && size_ > 1 && !agreed_)
    session_->Abort("lockstep: rank " + std::to_string(rank_) + ": " + status.message(), code);
  if (!status.ok() && speaks()) fmt::print(stderr, "lockstep: {}\n", status.message());
  return code;
}

int RunOnRanks(const std::function<Status(Ranks& ranks)>& command) {
  Result<std::unique_ptr<Ranks>> ranks = Ranks::Start();
  if (!ranks.ok()) {
    if (MpiLauncherRank() == 0) fmt::print(stderr, "lockstep: {}\n", ranks.status().message());
    return 1;
  }
  Status status;
  try {
    status = command(**ranks);
  } catch (...) {
    status = StatusOfException();
  }
  return (*ranks)->End(status);
}

}  // namespace lockstep::tools
