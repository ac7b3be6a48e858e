// data.kind = "csv": from a recipe to tables that are read, described, split and ready to be
// samples.
#ifndef LOCKSTEP_MODELS_RECIPE_TABLE_H_
#define LOCKSTEP_MODELS_RECIPE_TABLE_H_

#include <memory>

#include "engine/base/status.h"
#include "engine/data/table/table.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

// What [data] says of how a table is written.
Result<DialectOptions> DialectOf(const Recipe::Data& data);
// What the recipe says of its table; the keys' texts are checked.
Result<TableOptions> TableOptionsOf(const Recipe& recipe);

// data.path and data.test_path. `saved`, a trained model's description, says how both are read and
// scaled; null: data.path says it, its training rows the scales.
Result<RecipeData> TableData(const Recipe& recipe, std::shared_ptr<const TableDescription> saved,
                             const TableText::Progress& progress = nullptr);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_TABLE_H_
