// From a recipe's [data] and [augment] to pictures: of one size, standardised, and for training
// changed at random.
#ifndef LOCKSTEP_MODELS_RECIPE_PICTURES_H_
#define LOCKSTEP_MODELS_RECIPE_PICTURES_H_

#include <memory>
#include <optional>

#include "engine/base/status.h"
#include "engine/data/image/picture_dataset.h"
#include "engine/data/image/picture_source.h"
#include "engine/data/split.h"
#include "engine/data/table/standardize.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

// Pictures as they come; `validation` and `test` are null where those of training are to be split.
struct PictureSources {
  std::shared_ptr<const PictureSource> train{}, validation{}, test{};
  std::vector<std::string> remarks{};  // what the user should be told: files that were left out
};

// data.kind = cifar10 and images.
Result<PictureSources> Cifar10Sources(const Recipe& recipe);
Result<PictureSources> FolderSources(const Recipe& recipe);

// Whether [data] or [augment] ask for more than the pixels as they are, which data kinds that are
// held as bytes (digits, mnist) then go through pictures for.
bool ChangesPictures(const Recipe& recipe);

// Whether they stay bytes, that data.pixel_mean and data.pixel_sd scale.
bool HasByteScale(const Recipe& recipe);

// Resized, standardised; `splits` are of sources.train.
Result<RecipeData> PictureData(const Recipe& recipe, const PictureSources& sources, Splits splits,
                               std::optional<Standardizer> standardizer);

// How pictures become samples of shape (H, W, C) for a trained model: as its evaluation saw them.
Result<PictureOptions> PictureOptionsFor(const Recipe& recipe, const Shape& sample);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_PICTURES_H_
