// data.kind = "series": from a recipe, or a trained model, to windows of a series.
#ifndef LOCKSTEP_MODELS_RECIPE_SERIES_H_
#define LOCKSTEP_MODELS_RECIPE_SERIES_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/series/series_dataset.h"
#include "models/recipe.h"
#include "models/recipe_saved.h"

namespace lockstep::inline v0_1 {

// `test` is null where the end of each group is to test with.
struct SeriesSources {
  std::shared_ptr<const Dataset> train, test{};
  Splits splits{};
  std::vector<std::string> remarks{};
};
// data.path and data.test_path. Columns and classes are those of `saved` where it has some.
Result<SeriesSources> ReadSeriesSources(const Recipe& recipe, const SavedSamples& saved);

// The windows of the file to predict from; columns by name, that of labels is not needed.
Result<SeriesToPredict> MomentsToPredict(const SavedModel& model, const std::string& path,
                                         std::vector<std::string>& remarks);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_SERIES_H_
