#include <fmt/format.h>

#include "engine/train/digest.h"
#include "tools/command/commands.h"

namespace lockstep::inline v0_1::tools {

Status CompareDigestFiles(const std::string& a, const std::string& b) {
  LOCKSTEP_TRY_ASSIGN(const DigestComparison comparison, CompareDigests(a, b));
  if (!comparison.difference.empty()) return Status::Invalid(comparison.difference);
  fmt::print("the same bits in {} tensors after each of {} steps\n", comparison.tensors,
             comparison.steps);
  return Status::Ok();
}

}  // namespace lockstep::tools
