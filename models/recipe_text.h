// From a recipe's [data] to texts: tokens, in windows of a long text or as documents with a label.
#ifndef LOCKSTEP_MODELS_RECIPE_TEXT_H_
#define LOCKSTEP_MODELS_RECIPE_TEXT_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/text/tokenizer.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

// `tokenizer`: of a trained model, used whatever the recipe says; null: the one that it says.

// data.kind = text and tokens: split by place. The samples to train on as evaluation sees them are
// as many windows as an epoch has, spread over all of that part.
Result<RecipeData> TextData(const Recipe& recipe, std::shared_ptr<const Tokenizer> tokenizer);
Result<RecipeData> TokenData(const Recipe& recipe, std::shared_ptr<const Tokenizer> tokenizer);

// data.kind = text_table. `test` is null where the documents are to be split.
struct TextTables {
  std::shared_ptr<const Dataset> train, test{};
  std::vector<std::string> remarks{};  // documents that are empty or were cut
};
Result<TextTables> TextTableSources(const Recipe& recipe,
                                    std::shared_ptr<const Tokenizer> tokenizer);

// Documents to predict for, a row each, with the tokenizer, the classes and the length that
// `samples` of the trained model have; the column of labels is not needed.
Result<std::shared_ptr<const Dataset>> DocumentsToPredict(const Recipe& recipe,
                                                          const DatasetInfo& samples,
                                                          const std::string& path);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_TEXT_H_
