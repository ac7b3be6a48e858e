// How ranks come to one mind: an error of one becomes an error of all, texts of all become known to
// all. For what is rare; all of it is collective.
#ifndef LOCKSTEP_ENGINE_COMM_AGREEMENT_H_
#define LOCKSTEP_ENGINE_COMM_AGREEMENT_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep::inline v0_1 {

// Success if all ranks succeeded. Otherwise, on every rank, the error of the lowest rank that
// failed, as "rank 2: message"; without the number where all failed alike. Where the ranks cannot
// be reached, this rank's own error, or what became of the others.
Status Agree(Communicator& communicator, const Status& mine);

// All ranks' `mine`, one behind the other; all are as long.
template <class T>
Result<std::vector<T>> GatherAll(Communicator& communicator, std::span<const T> mine) {
  std::vector<T> all(mine.size() * static_cast<size_t>(communicator.size()));
  LOCKSTEP_TRY(communicator.AllGather(std::as_bytes(mine), std::as_writable_bytes(std::span(all))));
  return all;
}

// texts[r] = rank r's `mine`.
Result<std::vector<std::string>> GatherTexts(Communicator& communicator, std::string_view mine);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_AGREEMENT_H_
