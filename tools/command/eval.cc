#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "engine/data/class_name.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/io/text.h"
#include "engine/train/assess/assessment.h"
#include "engine/train/checkpointing.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"
#include "tools/command/live_line.h"
#include "tools/command/model_pictures.h"
#include "tools/command/placement.h"
#include "tools/command/ranks.h"
#include "tools/command/run_folder.h"
#include "tools/report/assessment_text.h"

namespace lockstep::inline v0_1::tools {
namespace {

// Rows are the truth, columns what was predicted.
void PrintConfusion(const EvaluationResult& result, const std::vector<std::string>& names) {
  constexpr int64_t kWidest = 20;
  if (result.confusion.empty() || result.classes > kWidest) return;
  const auto name = [&](int64_t c) { return ClassNameOf(names, c); };
  fmt::print("{:>12}", "truth \\ said");
  for (int64_t c = 0; c < result.classes; ++c) fmt::print(" {:>7.7}", name(c));
  fmt::print("\n");
  for (int64_t truth = 0; truth < result.classes; ++truth) {
    fmt::print("{:>12.12}", name(truth));
    for (int64_t c = 0; c < result.classes; ++c) {
      fmt::print(" {:>7}", result.confusion[static_cast<size_t>(truth * result.classes + c)]);
    }
    fmt::print("\n");
  }
}

// What is evaluated, made by this rank alone.
struct Evaluated {
  std::string path;
  std::optional<SavedModel> model;
  Subset subset;
  std::vector<Subgroup> subgroups;
  std::unique_ptr<Context> context;
  std::optional<Network> network;
};

// The samples that --split says, of the recipe's data.
Status TakeSplit(const SavedModel& model, const std::string& split, Evaluated& made) {
  LOCKSTEP_TRY_ASSIGN(SavedSamples saved, SamplesOf(model));
  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(model.recipe, std::move(saved)));
  made.subset = split == "train"        ? data.train_unchanged
                : split == "validation" ? data.validation
                                        : data.test;
  if (made.subset.empty())
    return Status::Invalid("the recipe holds back no samples for --split " + split);
  made.subgroups = SubgroupsOf(data, made.subset);
  return Status::Ok();
}

// The network knows classes and features by number: a folder that was renamed can change places
// with another, and a table can have its columns in another order.
Status CheckNames(const SavedModel& model, const DatasetInfo& info) {
  const auto check = [&](const char* what, const std::vector<std::string>& names,
                         const std::vector<std::string>& here, const char* mend) {
    const std::string& kind = model.recipe.data.kind;
    const bool tables = kind == "text_table" || kind == "series" || kind == "csv";
    if (!tables && kind != "images") return Status::Ok();
    if (tables && !names.empty() && !here.empty() && names.size() != here.size()) {
      return Status::Invalid(fmt::format("{}: the number of {}{} is {}, the model knows {}: {}",
                                         info.name, what, *what == 'c' ? "es" : "s", here.size(),
                                         names.size(), mend));
    }
    for (size_t c = 0; c < std::min(names.size(), here.size()); ++c) {
      if (names[c] == here[c] || !IsUtf8(here[c])) continue;
      return Status::Invalid(fmt::format("{}: {} {} is {}, to the model it is {}: {}", info.name,
                                         what, c, Quoted(here[c]), Quoted(names[c]), mend));
    }
    return Status::Ok();
  };
  LOCKSTEP_TRY(check("class", model.samples.class_names, info.class_names,
                     "name the classes as when it was trained"));
  return check("feature", model.samples.feature_names, info.feature_names,
               "order the columns as when it was trained");
}

Status Make(const EvalArgs& args, Ranks& ranks, int sharing, Evaluated& made) {
  made.path = ModelFile(args.model);
  Result<SavedModel> read = ReadSavedModel(made.path, args.overrides);
  LOCKSTEP_TRY(read.status());
  made.model.emplace(std::move(*read));
  const SavedModel& model = *made.model;
  Subset& subset = made.subset;
  if (args.data.empty()) {
    LOCKSTEP_TRY(TakeSplit(model, args.split, made));
  } else {
    LOCKSTEP_TRY_ASSIGN(subset.dataset, LabelledPicturesFor(model, args.data));
    subset.indices = AllIndices(subset.dataset->size());
  }
  auto threads = static_cast<int>(model.recipe.train.threads);
  if (threads == 0 && ranks.size() > 1) threads = std::max(1, AvailableThreads() / sharing);
  made.context = std::make_unique<Context>(ContextOptions{.threads = threads});
  const DatasetInfo& info = subset.dataset->info();
  LOCKSTEP_TRY(CheckNames(model, info));
  const int64_t batch = PredictionBatch(model, static_cast<int64_t>(subset.indices.size()));
  Result<Network> net = BuildNetwork(*made.context, model.recipe, info, batch, /*training=*/false);
  LOCKSTEP_TRY(net.status());
  made.network.emplace(std::move(*net));
  return LoadModel(model.checkpoint, *made.network).status().At(made.path);
}

}  // namespace

Status Eval(const EvalArgs& args, Ranks& ranks) {
  // How many ranks there are where this one is.
  const Place place = PlaceOfThisProcess(/*wanted_threads=*/0);
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> places, ranks.Gather(TextOf(place)));
  const auto sharing = std::count(places.begin(), places.end(), TextOf(place));
  Evaluated made;
  LOCKSTEP_TRY(ranks.Agree(Make(args, ranks, static_cast<int>(sharing), made)));
  const DatasetInfo& info = made.subset.dataset->info();
  LOCKSTEP_TRY(ranks.CheckSame("the data (" + info.name + ")",
                               fmt::format("{} of {} samples", HexOf(info.content), info.size)));
  LOCKSTEP_TRY(
      ranks.CheckSame("the model", "of parameter hash " + HexOf(ModelHash(*made.network))));
  const Result<EvaluationResult> result =
      Evaluate(*made.network, made.subset,
               {.communicator = ranks.communicator(), .decision = made.model->decision});
  LOCKSTEP_TRY(ranks.Agree(result.status()));
  if (!ranks.speaks()) return Status::Ok();
  fmt::print("{} samples ({})  {}\n", result->samples, args.data.empty() ? args.split : args.data,
             Describe(*result));
  PrintConfusion(*result,
                 info.class_names.empty() ? made.model->samples.class_names : info.class_names);
  if (!CanBeAssessed(*made.network, info)) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(const Assessment all,
                      Assess(*made.network, made.subset, made.model->decision,
                             {.subgroups = made.subgroups, .importance = false}));
  fmt::print("{}", Describe(all));
  return Status::Ok();
}

}  // namespace lockstep::tools
