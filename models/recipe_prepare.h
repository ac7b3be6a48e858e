// From a recipe to all that a training step needs of it before there is a network. Whatever trains,
// plans or measures training begins here, so that all of them refuse the same in the same words.
#ifndef LOCKSTEP_MODELS_RECIPE_PREPARE_H_
#define LOCKSTEP_MODELS_RECIPE_PREPARE_H_

#include <functional>
#include <string>

#include "engine/base/status.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

struct PrepareOptions {
  // Of a run that goes on: its last checkpoint, which holds what model.weights once brought. Empty:
  // the weights are still to be read, and the features must be theirs.
  std::string last{};
  bool repeated_rows = false;  // whether rows that stand on both sides of the split are looked for
  std::function<void(double share)> progress{};  // as SavedSamples::progress
};

struct PreparedData {
  RecipeData data{};    // the remarks are all that the user should be told
  Recipe::Loss loss{};  // the recipe's; weights of balanced classes are numbers now
};

// The data, a table as model.weights know it; the weights of balanced classes. Errors name the
// keys: data that cannot be read or split, features that are not those of model.weights, and what
// is asked of the trained model that such data cannot give (a threshold, a temperature, subgroups,
// folds).
Result<PreparedData> PrepareData(const Recipe& recipe, PrepareOptions options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_PREPARE_H_
