#include <fmt/format.h>

#include <algorithm>

#include "engine/io/file.h"
#include "engine/io/text.h"
#include "engine/train/checkpointing.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"
#include "tools/command/live_line.h"
#include "tools/command/model_pictures.h"
#include "tools/command/run_folder.h"

namespace lockstep::tools {
namespace {

// Rows are the truth, columns what was predicted.
void PrintConfusion(const EvaluationResult& result, const std::vector<std::string>& names) {
  constexpr int64_t kWidest = 20;
  if (result.confusion.empty() || result.classes > kWidest) return;
  const auto name = [&](int64_t c) {
    return static_cast<size_t>(c) < names.size() ? names[static_cast<size_t>(c)]
                                                 : std::to_string(c);
  };
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

// The samples that --split says, of the recipe's data.
Result<Subset> SplitOf(const SavedModel& model, const std::string& split) {
  LOCKSTEP_TRY_ASSIGN(const RecipeData data,
                      LoadData(model.recipe, model.standardizer, model.samples.tokenizer));
  const Subset& subset = split == "train"        ? data.train_unchanged
                         : split == "validation" ? data.validation
                                                 : data.test;
  if (subset.empty())
    return Status::Invalid("the recipe holds back no samples for --split " + split);
  return subset;
}

}  // namespace

Status Eval(const EvalArgs& args) {
  const std::string path = ModelFile(args.model);
  LOCKSTEP_TRY_ASSIGN(const SavedModel model, ReadSavedModel(path, args.overrides));
  Subset subset;
  if (args.data.empty()) {
    LOCKSTEP_TRY_ASSIGN(subset, SplitOf(model, args.split));
  } else {
    LOCKSTEP_TRY_ASSIGN(subset.dataset, LabelledPicturesFor(model, args.data));
    subset.indices = AllIndices(subset.dataset->size());
  }

  Context ctx({.threads = static_cast<int>(model.recipe.train.threads)});
  const DatasetInfo& info = subset.dataset->info();
  // The network knows classes by number: a folder that was renamed can change places with another.
  const std::vector<std::string>& names = model.samples.class_names;
  const size_t named = model.recipe.data.kind == "images" ? info.class_names.size() : 0;
  for (size_t c = 0; c < std::min(names.size(), named); ++c) {
    if (names[c] == info.class_names[c] || !IsUtf8(info.class_names[c])) continue;
    return Status::Invalid(info.name + ": class " + std::to_string(c) + " is " +
                           Quoted(info.class_names[c]) + ", to the model it is " +
                           Quoted(names[c]) + ": name the classes as when it was trained");
  }
  const int64_t batch = PredictionBatch(model, static_cast<int64_t>(subset.indices.size()));
  LOCKSTEP_TRY_ASSIGN(Network net,
                      BuildNetwork(ctx, model.recipe, info, batch, /*training=*/false));
  LOCKSTEP_TRY(LoadModel(model.checkpoint, net).status().At(path));
  LOCKSTEP_TRY_ASSIGN(const EvaluationResult result, Evaluate(net, subset));
  fmt::print("{} samples ({})  {}\n", result.samples, args.data.empty() ? args.split : args.data,
             Describe(result));
  PrintConfusion(result, info.class_names.empty() ? model.samples.class_names : info.class_names);
  return Status::Ok();
}

}  // namespace lockstep::tools
