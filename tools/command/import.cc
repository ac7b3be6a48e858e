#include <fmt/format.h>

#include "engine/train/checkpointing.h"
#include "engine/train/weight_files.h"
#include "models/recipe.h"
#include "tools/command/commands.h"

namespace lockstep::tools {

Status Import(const ImportArgs& args) {
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe, LoadRecipe(args.recipe, args.overrides));
  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(recipe));
  const DatasetInfo& samples = data.train.dataset->info();
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net,
                      BuildNetwork(ctx, recipe, samples, /*batch=*/1, /*training=*/false));
  LOCKSTEP_TRY(ImportWeights(args.weights, net));
  LOCKSTEP_TRY(SaveModel(args.output, net, {.recipe = PrintRecipe(recipe)},
                         data.standardizer ? &*data.standardizer : nullptr, &samples));
  fmt::print(
      "{}: {} parameters; features are {}\n", args.output, net.parameter_count(),
      data.standardizer ? "standardised as the recipe's training samples" : "taken as they are");
  return Status::Ok();
}

}  // namespace lockstep::tools
