#include "models/recipe_prepare.h"

#include <optional>
#include <utility>
#include <vector>

#include "models/recipe_decision.h"
#include "models/recipe_saved.h"
#include "models/recipe_split.h"

namespace lockstep::inline v0_1 {

Result<PreparedData> PrepareData(const Recipe& recipe, PrepareOptions options) {
  const bool goes_on = !options.last.empty();
  Recipe from = recipe;
  if (goes_on && !recipe.model.weights.empty()) from.model.weights = options.last;
  const std::optional<DatasetInfo> trained = SamplesOfWeights(from);
  SavedSamples known{.progress = std::move(options.progress)};
  if (trained) known.table = TableOfWeights(recipe, *trained);
  PreparedData made{.loss = recipe.loss};
  LOCKSTEP_TRY_ASSIGN(made.data, LoadData(recipe, std::move(known)));
  const DatasetInfo& info = made.data.train.dataset->info();
  if (trained && !goes_on) LOCKSTEP_TRY(CheckFeatures(*trained, info));
  LOCKSTEP_TRY(CheckFolds(recipe.data, info));
  std::vector<std::string>& remarks = made.data.remarks;
  if (options.repeated_rows) {
    LOCKSTEP_TRY_ASSIGN(std::vector<std::string> repeated, RepeatedRowRemarks(made.data));
    for (std::string& remark : repeated) remarks.push_back(std::move(remark));
  }
  LOCKSTEP_TRY_ASSIGN(std::string balanced, BalanceClasses(made.data, made.loss));
  if (!balanced.empty()) remarks.push_back(std::move(balanced));
  if (info.weighted) {
    remarks.push_back("losses are means by the weights of data.weight = \"" + recipe.data.weight +
                      "\"; all other metrics count every sample once, but for scores that are "
                      "said to be by weight");
  }
  LOCKSTEP_TRY(CheckDecision(recipe, made.data.validation));
  LOCKSTEP_TRY(CheckSubgroups(recipe, made.data));
  return made;
}

}  // namespace lockstep
