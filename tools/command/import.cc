#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <system_error>

#include "engine/data/text/bpe_files.h"
#include "engine/train/checkpointing.h"
#include "engine/train/weight_files.h"
#include "models/gpt2_weights.h"
#include "models/recipe.h"
#include "tools/command/commands.h"

namespace lockstep::inline v0_1::tools {
namespace {

namespace fs = std::filesystem;

// The tokenizer in the folder of a file; null where there is none.
Result<std::shared_ptr<const Tokenizer>> TokenizerBeside(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path().empty() ? "." : fs::path(path).parent_path();
  std::error_code ignored;
  if (!fs::exists(folder / "tokenizer.json", ignored) &&
      !fs::exists(folder / "vocab.json", ignored))
    return std::shared_ptr<const Tokenizer>();
  return ReadBpe(folder.string());
}

void PrintRemarks(const ImportedWeights& imported) {
  for (const std::string& remark : imported.remarks) fmt::print("note: {}\n", remark);
}

// Its own shapes say what network it is, so that no recipe need be written.
Status ImportGpt2(const ImportArgs& args, const SafetensorsHeader& header) {
  const Result<GptOptions> shapes = Gpt2Options(header);
  if (!shapes.ok()) return shapes.status().At(args.weights);
  LOCKSTEP_TRY_ASSIGN(const std::shared_ptr<const Tokenizer> tokenizer,
                      TokenizerBeside(args.weights));
  if (tokenizer != nullptr && tokenizer->size() > shapes->vocabulary) {
    return Status::Invalid(fmt::format("the tokenizer beside {} has {} tokens, the model {}",
                                       args.weights, tokenizer->size(), shapes->vocabulary));
  }
  Recipe ours;
  ours.data.kind = "text";
  ours.data.path = "text.txt";  // not read here: whoever evaluates it or trains on names a text
  ours.data.context = shapes->context;
  ours.model.family = TransformerFamily{.architecture = "gpt",
                                        .layers = shapes->layers,
                                        .heads = shapes->heads,
                                        .width = shapes->width,
                                        .feed_forward = shapes->feed_forward};
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe,
                      ParseRecipe(PrintRecipe(ours), args.weights, args.overrides));
  const DatasetInfo samples{.name = args.weights,
                            .x_dtype = DType::kI32,
                            .x_shape = {recipe.data.context},
                            .task = Task::kClasses,
                            .target_shape = {recipe.data.context},
                            .classes = shapes->vocabulary,
                            .vocabulary = shapes->vocabulary,
                            .tokenizer = tokenizer};
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net,
                      BuildNetwork(ctx, recipe, samples, /*batch=*/1, /*training=*/false));
  LOCKSTEP_TRY_ASSIGN(const ImportedWeights imported, ImportGpt2Weights(args.weights, net));
  LOCKSTEP_TRY(SaveModel(args.output, net, {.recipe = PrintRecipe(recipe)}, nullptr, &samples));
  PrintRemarks(imported);
  fmt::print("{}: GPT-2 of {} layers of width {}, {} heads, {} parameters; {}\n", args.output,
             shapes->layers, shapes->width, shapes->heads, net.parameter_count(),
             tokenizer != nullptr
                 ? fmt::format("its tokenizer has {} tokens", tokenizer->size())
                 : "no tokenizer (tokenizer.json, or vocab.json and merges.txt) is beside it");
  return Status::Ok();
}

}  // namespace

Status Import(const ImportArgs& args) {
  LOCKSTEP_TRY_ASSIGN(const SafetensorsHeader header, ReadSafetensorsHeader(args.weights));
  const bool gpt2 = HasGpt2Names(header);
  if (args.recipe.empty()) {
    if (gpt2) return ImportGpt2(args, header);
    return Status::Invalid(args.weights +
                           ": these are not GPT-2's weights, so say of what network they are: "
                           "lockstep import RECIPE WEIGHTS OUTPUT");
  }
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe, LoadRecipe(args.recipe, args.overrides));
  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(recipe));
  const DatasetInfo& samples = data.train.dataset->info();
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(Network net,
                      BuildNetwork(ctx, recipe, samples, /*batch=*/1, /*training=*/false));
  LOCKSTEP_TRY_ASSIGN(const ImportedWeights imported, gpt2 ? ImportGpt2Weights(args.weights, net)
                                                           : ImportWeights(args.weights, net));
  LOCKSTEP_TRY(SaveModel(args.output, net, {.recipe = PrintRecipe(recipe)},
                         data.standardizer ? &*data.standardizer : nullptr, &samples));
  PrintRemarks(imported);
  const char* const features =
      samples.table != nullptr ? "rows are read and scaled as the recipe's table"
      : data.standardizer      ? "features are standardised as the recipe's training samples"
                               : "features are taken as they are";
  fmt::print("{}: {} parameters; {}\n", args.output, net.parameter_count(), features);
  return Status::Ok();
}

}  // namespace lockstep::tools
