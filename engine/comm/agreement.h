// How ranks come to one mind: an error of one becomes an error of all, texts of all become known to
// all. For what is rare; both are collective.
#ifndef LOCKSTEP_ENGINE_COMM_AGREEMENT_H_
#define LOCKSTEP_ENGINE_COMM_AGREEMENT_H_

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"

namespace lockstep {

// Success if all ranks succeeded. Otherwise, on every rank, the error of the lowest rank that
// failed, as "rank 2: message"; without the number where all failed alike. Where the ranks cannot
// be reached, this rank's own error, or what became of the others.
Status Agree(Communicator& communicator, const Status& mine);

// texts[r] = rank r's `mine`.
Result<std::vector<std::string>> GatherTexts(Communicator& communicator, std::string_view mine);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_COMM_AGREEMENT_H_
