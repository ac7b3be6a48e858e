// A recipe's training step as something whose scaling can be measured.
#ifndef LOCKSTEP_TOOLS_COMMAND_RECIPE_SUBJECT_H_
#define LOCKSTEP_TOOLS_COMMAND_RECIPE_SUBJECT_H_

#include <string>

#include "models/recipe.h"
#include "tools/scale/experiment.h"

namespace lockstep::inline v0_1::tools {

// Its network, loss, optimizer, clipping and micro-batches on its own samples, which are borrowed.
// Batches larger than all training samples repeat them. A batch is in memory before a step begins;
// with `loading`, each step takes its next one from the recipe's loader, augmentation included.
scale::Subject RecipeSubject(const Recipe& recipe, const RecipeData& data, std::string name,
                             bool loading);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_RECIPE_SUBJECT_H_
