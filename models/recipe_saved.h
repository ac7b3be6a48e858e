// A model file as it stands alone: parameters, recipe, what its samples look like and how they were
// standardised. Neither the run's folder nor the data it was trained on are needed to use it.
#ifndef LOCKSTEP_MODELS_RECIPE_SAVED_H_
#define LOCKSTEP_MODELS_RECIPE_SAVED_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/training_state.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"
#include "engine/data/table/table_description.h"
#include "engine/train/decision.h"
#include "engine/train/network.h"
#include "models/recipe.h"

namespace lockstep::inline v0_1 {

struct SavedModel {
  Checkpoint checkpoint;
  TrainingState state;
  Recipe recipe;
  DatasetInfo samples;
  std::optional<Standardizer> standardizer;
  Decision decision{};
};

// A run folder stands for the model in it, or, where the run has none yet, for its last checkpoint:
// the file that is meant. Any other path as it is.
std::string ModelFile(const std::string& run_folder_or_file);

// Reads what `lockstep train`, Trainer::Save (with a recipe) and the C interface write. Overrides
// are for the recipe that is in the file.
Result<SavedModel> ReadSavedModel(const std::string& path,
                                  std::span<const std::string> overrides = {});

// The network with the file's weights: of a run that goes on the best ones, as LoadModel says.
Result<Network> BuildNetwork(Context& ctx, const SavedModel& model, int64_t batch,
                             bool training = false, Communicator* communicator = nullptr);

// What the model brings of the data it was trained on, for LoadData.
Result<SavedSamples> SamplesOf(const SavedModel& model);

// The columns of the table that the model was trained on, as far as recipe and features tell them:
// their names, where there were some, and their roles. What is known by name alone comes behind
// those whose order is known.
std::vector<TableColumn> TrainedColumns(const SavedModel& model);

// How a table for this model is read and scaled: its own description, or one made of its recipe,
// the names of its features and classes and its standardizer, which then must not be applied once
// more. Errors: the standardizer is of another number of features.
Result<std::shared_ptr<const TableDescription>> DescriptionFor(const SavedModel& model);

// What the file of model.weights says of the samples it was trained on, where those are rows of a
// table and data.kind = "csv". Empty where that is not so, and of files of other programs.
std::optional<DatasetInfo> SamplesOfWeights(const Recipe& recipe);
// The description that data.path is then read by, so that columns, categories and scales mean to the
// network what they meant to it. Null for another target (data.label): the table is described anew,
// and CheckFeatures says whether the weights fit.
std::shared_ptr<const TableDescription> TableOfWeights(const Recipe& recipe,
                                                       const DatasetInfo& trained);
// An error where the features are not those that the weights were trained on, by name and order.
Status CheckFeatures(const DatasetInfo& trained, const DatasetInfo& samples);

}  // namespace lockstep

#endif  // LOCKSTEP_MODELS_RECIPE_SAVED_H_
