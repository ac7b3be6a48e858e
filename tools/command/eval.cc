#include <fmt/format.h>

#include <algorithm>

#include "engine/checkpoint/checkpoint.h"
#include "engine/train/checkpointing.h"
#include "models/recipe.h"
#include "tools/command/commands.h"
#include "tools/command/live_line.h"
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

}  // namespace

Status Eval(const EvalArgs& args) {
  const std::string path = ModelFile(args.model);
  LOCKSTEP_TRY_ASSIGN(const Checkpoint checkpoint, LoadCheckpoint(path));
  LOCKSTEP_TRY_ASSIGN(const TrainingState state, TrainingStateFrom(checkpoint.meta));
  if (state.recipe.empty())
    return Status::Invalid(path + " does not say by which recipe it was made");
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe, ParseRecipe(state.recipe, path, args.overrides));
  LOCKSTEP_TRY_ASSIGN(std::optional<Standardizer> standardizer, ReadStandardizer(checkpoint));
  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(recipe, std::move(standardizer)));
  const Subset& subset = args.split == "train"        ? data.train_unchanged
                         : args.split == "validation" ? data.validation
                                                      : data.test;
  if (subset.empty())
    return Status::Invalid("the recipe holds back no samples for --split " + args.split);

  Context ctx({.threads = static_cast<int>(recipe.train.threads)});
  const DatasetInfo& info = subset.dataset->info();
  const auto batch = std::min<int64_t>(1024, static_cast<int64_t>(subset.indices.size()));
  LOCKSTEP_TRY_ASSIGN(Network net, BuildNetwork(ctx, recipe, info, batch, /*training=*/false));
  LOCKSTEP_TRY(LoadModel(checkpoint, net).status().At(path));
  LOCKSTEP_TRY_ASSIGN(const EvaluationResult result, Evaluate(net, subset));
  fmt::print("{} samples ({})  {}\n", result.samples, args.split, Describe(result));
  PrintConfusion(result, info.class_names);
  return Status::Ok();
}

}  // namespace lockstep::tools
