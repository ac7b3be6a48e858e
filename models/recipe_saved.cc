#include "models/recipe_saved.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/data/table/csv_column.h"
#include "engine/io/text.h"
#include "engine/train/checkpointing.h"
#include "engine/train/sample_description.h"
#include "models/recipe_keys.h"

namespace lockstep::inline v0_1 {
namespace {

// The texts that stood for a missing value when model files had no description of their table.
constexpr const char* kMissing[] = {"", "NA", "N/A", "NaN", "nan", "NULL", "null", "?"};

// A run of `lockstep train --folds` or `--seeds` beside a model file that is not there: the folder
// of such a set has no model of its own. Empty: none.
std::string RunInSet(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::exists(path, ignored)) return "";
  std::string first;
  for (const auto& entry : fs::directory_iterator(fs::path(path).parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    const bool is_run = name.starts_with("fold-") || name.starts_with("seed-");
    if (is_run && (first.empty() || entry.path().string() < first)) first = entry.path().string();
  }
  return first;
}

}  // namespace

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
  if (const std::string run = RunInSet(path); !run.empty()) {
    return Status::NotFound(std::filesystem::path(path).parent_path().string() +
                            " holds several runs, each with a model: take one of them, as " + run);
  }
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
  const Result<Decision> decision = DecisionFrom(model.checkpoint.meta);
  if (!decision.ok()) return decision.status().At(path);
  model.decision = *decision;
  return model;
}

Result<Network> BuildNetwork(Context& ctx, const SavedModel& model, int64_t batch, bool training,
                             Communicator* communicator) {
  LOCKSTEP_TRY_ASSIGN(Network network, BuildNetwork(ctx, model.recipe, model.samples, batch,
                                                    training, communicator));
  LOCKSTEP_TRY(LoadModel(model.checkpoint, network).status());
  return network;
}

Result<SavedSamples> SamplesOf(const SavedModel& model) {
  SavedSamples saved{.standardizer = model.standardizer, .tokenizer = model.samples.tokenizer};
  if (model.recipe.data.kind == "csv") {
    LOCKSTEP_TRY_ASSIGN(saved.table, DescriptionFor(model));
  } else if (model.recipe.data.kind == "series") {
    saved.columns = TrainedColumns(model);
    saved.classes = model.samples.class_names;
  }
  return saved;
}

std::vector<TableColumn> TrainedColumns(const SavedModel& model) {
  using Role = TableColumn::Role;
  const Recipe::Data& data = model.recipe.data;
  const bool series = data.kind == "series", said = series || data.kind == "csv";
  // A value to be told of a series is a feature of its moment as well.
  const bool target_is_feature = series && model.samples.task == Task::kRegression;
  const std::vector<std::string>& names = model.samples.feature_names;
  const auto features = static_cast<size_t>(model.samples.x_shape.channels());

  std::vector<std::pair<CsvColumn, Role>> others = {
      {said ? CsvColumnFrom(data.label) : CsvColumn(int64_t{-1}), Role::kTarget}};
  if (series && !data.group.empty()) others.emplace_back(CsvColumnFrom(data.group), Role::kGroup);
  if (said) {
    for (const std::string& column : data.ignore)
      others.emplace_back(CsvColumnFrom(column), Role::kLeftOut);
  }
  // All are known by their places: so is the order of the columns.
  const size_t width = features + others.size() - (target_is_feature ? 1 : 0);
  std::vector<Role> roles(width, Role::kFeature);
  const auto take_place = [&](const CsvColumn& column, Role role) {
    const auto* const number = std::get_if<int64_t>(&column);
    if (number == nullptr) return false;
    const auto end = static_cast<int64_t>(width);
    const int64_t place = *number < 0 ? *number + end : *number;
    if (place < 0 || place >= end || roles[static_cast<size_t>(place)] != Role::kFeature)
      return false;
    roles[static_cast<size_t>(place)] = role;
    return true;
  };
  const bool known = std::all_of(others.begin(), others.end(), [&](const auto& other) {
    return take_place(other.first, other.second);
  });
  std::vector<TableColumn> columns;
  size_t feature = 0;
  const auto add = [&](Role role, bool is_feature) {
    columns.push_back({.role = role});
    if (is_feature && !names.empty()) columns.back().name = names[feature];
    feature += is_feature ? 1 : 0;
  };
  if (known) {
    for (const Role role : roles)
      add(role, role == Role::kFeature || (role == Role::kTarget && target_is_feature));
    return columns;
  }
  for (size_t i = 0; i < features; ++i) add(Role::kFeature, /*is_feature=*/true);
  for (const auto& [column, role] : others) {
    const auto* const name = std::get_if<std::string>(&column);
    if (name == nullptr) continue;
    const auto of_feature = std::find_if(columns.begin(), columns.end(),
                                         [&](const TableColumn& one) { return one.name == *name; });
    if (of_feature == columns.end()) {
      columns.push_back({.name = *name, .role = role});
    } else {
      of_feature->role = role;
    }
  }
  // No table without a header is taken for one with these columns in this order.
  columns.push_back({.role = Role::kLeftOut, .note = "the order of the columns is not known"});
  return columns;
}

Result<std::shared_ptr<const TableDescription>> DescriptionFor(const SavedModel& model) {
  using Role = TableColumn::Role;
  if (model.samples.table != nullptr) return model.samples.table;
  const DatasetInfo& samples = model.samples;
  const std::optional<Standardizer>& standardizer = model.standardizer;
  if (standardizer && standardizer->channels() != samples.x_shape.channels()) {
    return Status::Corrupt("the model takes " + std::to_string(samples.x_shape.channels()) +
                           " features, and its standardizer " +
                           std::to_string(standardizer->channels()) +
                           "; save the model again from its data");
  }
  TableDescription description{.columns = TrainedColumns(model),
                               .missing = {kMissing, std::end(kMissing)},
                               .task = samples.task};
  description.missing_is_error = !(model.recipe.data.missing == "mean" && standardizer);
  size_t feature = 0;
  for (TableColumn& column : description.columns) {
    if (column.role == Role::kTarget && samples.task != Task::kRegression) {
      column.kind = TableColumn::Kind::kCategory;
      column.categories = samples.class_names;
      for (int64_t c = 0; samples.class_names.empty() && c < ClassCount(samples); ++c)
        column.categories.push_back(std::to_string(c));
    }
    if (column.role != Role::kFeature) continue;
    if (standardizer) {
      column.subtracted = column.fill = standardizer->mean()[feature];
      column.divided = standardizer->sd()[feature];
    }
    ++feature;
  }
  return std::make_shared<const TableDescription>(std::move(description));
}

std::optional<DatasetInfo> SamplesOfWeights(const Recipe& recipe) {
  if (recipe.model.weights.empty() || recipe.data.kind != "csv") return std::nullopt;
  const Result<Checkpoint> file = LoadCheckpoint(ModelFile(recipe.model.weights));
  if (!file.ok()) return std::nullopt;  // who imports the weights says why
  Result<DatasetInfo> samples = DatasetInfoFrom(file->meta);
  if (!samples.ok() || samples->table == nullptr) return std::nullopt;
  return std::move(samples).value();
}

std::shared_ptr<const TableDescription> TableOfWeights(const Recipe& recipe,
                                                       const DatasetInfo& trained) {
  const TableColumn& target = trained.table->columns[static_cast<size_t>(trained.table->target())];
  const CsvColumn label = CsvColumnFrom(recipe.data.label);
  const auto* const name = std::get_if<std::string>(&label);
  const bool other = name != nullptr && !target.name.empty() && *name != target.name;
  return other ? nullptr : trained.table;
}

Status CheckFeatures(const DatasetInfo& trained, const DatasetInfo& samples) {
  if (trained.feature_names == samples.feature_names) return Status::Ok();
  const auto [ours, theirs] =
      std::mismatch(samples.feature_names.begin(), samples.feature_names.end(),
                    trained.feature_names.begin(), trained.feature_names.end());
  const auto shown = [](auto at, auto end) { return at == end ? "nothing" : Quoted(*at); };
  return Status::Invalid(samples.name + ": its feature " +
                         std::to_string(ours - samples.feature_names.begin()) + " is " +
                         shown(ours, samples.feature_names.end()) + ", to the weights it is " +
                         shown(theirs, trained.feature_names.end()) +
                         "; give the table the columns they were trained on (data.ignore leaves "
                         "others out), or model.weights=\"\"");
}

}  // namespace lockstep
