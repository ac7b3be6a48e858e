#include "models/recipe_saved.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/train/checkpointing.h"
#include "engine/train/sample_description.h"
#include "models/recipe_keys.h"

namespace lockstep {

std::string ModelFile(const std::string& run_folder_or_file) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::is_directory(run_folder_or_file, ignored)) return run_folder_or_file;
  const std::string model = run_folder_or_file + "/model.safetensors";
  const std::string last = run_folder_or_file + "/last.safetensors";
  return !fs::exists(model, ignored) && fs::exists(last, ignored) ? last : model;
}

Result<SavedModel> ReadSavedModel(const std::string& path, std::span<const std::string> overrides) {
  SavedModel model;
  LOCKSTEP_TRY_ASSIGN(model.checkpoint, LoadCheckpoint(path));
  Result<TrainingState> state = TrainingStateFrom(model.checkpoint.meta);
  if (!state.ok()) return state.status().At(path);
  model.state = std::move(state).value();
  if (model.state.recipe.empty())
    return Status::Invalid(path + " does not say by which recipe it was made");
  LOCKSTEP_TRY_ASSIGN(model.recipe, ParseRecipe(model.state.recipe, path, overrides));
  Result<DatasetInfo> samples = DatasetInfoFrom(model.checkpoint.meta);
  if (!samples.ok()) return samples.status().At(path);
  model.samples = std::move(samples).value();
  Result<std::optional<Standardizer>> standardizer = ReadStandardizer(model.checkpoint);
  if (!standardizer.ok()) return standardizer.status().At(path);
  model.standardizer = std::move(standardizer).value();
  return model;
}

Result<Network> BuildNetwork(Context& ctx, const SavedModel& model, int64_t batch, bool training,
                             Communicator* communicator) {
  LOCKSTEP_TRY_ASSIGN(Network network, BuildNetwork(ctx, model.recipe, model.samples, batch,
                                                    training, communicator));
  LOCKSTEP_TRY(LoadModel(model.checkpoint, network).status());
  return network;
}

CsvFeatureOptions CsvFeatureOptionsOf(const SavedModel& model) {
  const Recipe::Data& data = model.recipe.data;
  CsvFeatureOptions options{.delimiter = DelimiterOf(data),
                            .count = model.samples.x_shape.channels(),
                            .names = model.samples.feature_names,
                            .allow_missing = data.missing == "mean" && model.standardizer};
  const bool series = data.kind == "series";
  options.label_is_feature = series && model.samples.task == Task::kRegression;
  if (series && !data.group.empty()) options.group = CsvColumnFrom(data.group);
  if (data.kind == "csv" || series) {
    options.label = CsvColumnFrom(data.label);
    for (const std::string& column : data.ignore) options.ignored.push_back(CsvColumnFrom(column));
  }
  return options;
}

}  // namespace lockstep
