#include "tools/command/decide.h"

#include <cstring>
#include <string>

#include "models/recipe_decision.h"
#include "tools/command/terminal.h"

namespace lockstep::inline v0_1::tools {

Result<Decision> Decide(const Recipe& recipe, Network& network, const Subset& validation,
                        Ranks& ranks) {
  if (!AsksForDecision(recipe)) return Decision{};
  FoundDecision found;
  Status status;
  if (ranks.speaks()) {
    Result<FoundDecision> made = FindDecision(recipe, network, validation);
    status = made.status();
    if (made.ok()) found = std::move(made).value();
  }
  LOCKSTEP_TRY(ranks.FromFirst(status));
  for (const std::string& remark : found.remarks) Say(remark + "\n");
  // Its numbers as bytes: both are plain floats.
  std::string bytes(sizeof(Decision), '\0');
  std::memcpy(bytes.data(), &found.decision, sizeof(Decision));
  LOCKSTEP_TRY_ASSIGN(bytes, ranks.TextFromFirst(bytes));
  std::memcpy(&found.decision, bytes.data(), sizeof(Decision));
  return found.decision;
}

}  // namespace lockstep::tools
