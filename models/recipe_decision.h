// What a recipe asks of the model's decision (engine/train/decision.h): how its threshold is
// chosen, and whether its probabilities are calibrated, both on the validation samples.
#ifndef LOCKSTEP_MODELS_RECIPE_DECISION_H_
#define LOCKSTEP_MODELS_RECIPE_DECISION_H_

#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/decision.h"
#include "engine/train/network.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

// Whether there is anything to find.
bool AsksForDecision(const Recipe& recipe);

// Before anything is trained. Errors, which name the key: no validation samples, or only of one
// class; a task that has no threshold, or no probabilities of single samples.
Status CheckDecision(const Recipe& recipe, const Subset& validation);

// An error where data.subgroups asks for what such data do not have.
Status CheckSubgroups(const Recipe& recipe, const RecipeData& data);

struct FoundDecision {
  Decision decision{};
  std::vector<std::string> remarks{};  // what was found and what it gives there, a line each
};
// By this process alone, with the weights that the network has now. Temperature first: the
// threshold is one of calibrated probabilities.
Result<FoundDecision> FindDecision(const Recipe& recipe, Network& network,
                                   const Subset& validation);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_DECISION_H_
