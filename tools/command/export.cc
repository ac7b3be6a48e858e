#include "engine/train/export.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "engine/data/table/table_features.h"
#include "engine/train/weight_files.h"
#include "models/recipe_saved.h"
#include "tools/command/commands.h"

namespace lockstep::inline v0_1::tools {

Status Export(const ExportArgs& args) {
  const std::string path = ModelFile(args.model);
  const std::string extension = std::filesystem::path(args.output).extension().string();
  if (extension != ".onnx" && extension != ".safetensors") {
    return Status::Invalid(args.output +
                           ": the ending says the format: .onnx, or .safetensors for the weights "
                           "alone, as PyTorch loads them");
  }
  const bool onnx = extension == ".onnx";
  if (!onnx && (args.fold || args.standardize))
    return Status::Invalid("--fold and --standardize are for .onnx files");

  LOCKSTEP_TRY_ASSIGN(const SavedModel model, ReadSavedModel(path, {}));
  const TableDescription* const table = model.samples.table.get();
  if (args.standardize && !model.standardizer && table == nullptr)
    return Status::Invalid(path + ": --standardize asks for statistics that the model has none of");
  const bool takes_rows = args.standardize && table != nullptr;
  Context ctx({.threads = 1});
  Result<Network> network = BuildNetwork(ctx, model, /*batch=*/1);
  if (!network.ok()) return network.status().At(path);
  if (onnx) {
    LOCKSTEP_TRY(ExportOnnx(
        *network, args.output,
        {.fold_norms = args.fold,
         .standardizer = args.standardize && model.standardizer ? &*model.standardizer : nullptr,
         .missing = model.samples.has_missing,
         .samples = takes_rows ? &model.samples : nullptr,
         .decision = model.decision}));
  } else {
    LOCKSTEP_TRY(ExportWeights(args.output, *network));
  }
  fmt::print("{}: {} parameters", args.output, network->parameter_count());
  if (takes_rows) {
    fmt::print(", an input for each of the {} columns that it needs, by their names",
               LayoutOf(*table).columns.size());
  } else if (onnx) {
    fmt::print(", x (batch, {}) to y (batch, {})",
               fmt::join(network->input_shape().dims().subspan(1), ", "),
               fmt::join(network->output_shape().dims().subspan(1), ", "));
    if (table != nullptr)
      fmt::print("; x is what a row becomes (or see --standardize, which takes rows as they are)");
    if (model.standardizer && !args.standardize)
      fmt::print("; x is to be standardised as in training (or see --standardize)");
    if (network->input_shape().rank() == 4) {
      fmt::print("; x is (byte / 255 - {}) / {}", model.recipe.data.pixel_mean,
                 model.recipe.data.pixel_sd);
    }
  }
  fmt::print("\n");
  return Status::Ok();
}

}  // namespace lockstep::tools
