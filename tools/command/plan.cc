#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/base/columns.h"
#include "engine/train/summary.h"
#include "models/recipe.h"
#include "models/recipe_keys.h"
#include "models/recipe_prepare.h"
#include "tools/command/commands.h"
#include "tools/scale/text_table.h"

namespace lockstep::inline v0_1::tools {
namespace {

std::string Bytes(int64_t bytes) { return BytesText(static_cast<double>(bytes)); }
std::string Flops(double flops) { return AmountText(flops, "FLOP"); }

void PrintFusions(const char* mode, const std::vector<std::string>& lines) {
  for (size_t i = 0; i < lines.size(); ++i) {
    fmt::print("{:<21}{}\n", i == 0 ? fmt::format("fused in {}", mode) : "", lines[i]);
  }
}

// What it saves and costs to compute activations again instead of holding them, whichever of both
// the recipe does. Nothing where networks of its kind have no such choice. `flops`: of a forward
// pass at `batch`, of which a step has `parts`.
Status PrintRecomputation(const PlanArgs& args, const Recipe& recipe, Context& ctx,
                          const DatasetInfo& info, int64_t batch, const Network& net, double flops,
                          int64_t parts) {
  const std::string key = "model.checkpoint_activations";
  std::optional<bool> chosen;
  VisitKeys(recipe, [&](const char* name, const auto& member, const KeyLimits&, const char*) {
    if constexpr (std::is_same_v<decltype(member), const bool&>) {
      if (key == name) chosen = member;
    }
  });
  if (!chosen) return Status::Ok();
  std::vector<std::string> overrides = args.overrides;
  overrides.push_back(key + (*chosen ? "=false" : "=true"));
  LOCKSTEP_TRY_ASSIGN(const Recipe other, LoadRecipe(args.recipe, overrides));
  LOCKSTEP_TRY_ASSIGN(const Network changed, BuildNetwork(ctx, other, info, batch));
  const Program &held = (*chosen ? changed : net).training_program(),
                &again = (*chosen ? net : changed).training_program();
  fmt::print("{:<10} {} a step, {:.0f} % more, {}: activations and scratch {} instead of {}\n",
             "again", Flops(again.repeated_flops() * static_cast<double>(parts)),
             100.0 * again.repeated_flops() / (3.0 * flops),
             *chosen ? "as " + key + " is true" : "if " + key + " were true",
             Bytes(again.step_bytes()), Bytes(held.step_bytes()));
  return Status::Ok();
}

}  // namespace

Status Plan(const PlanArgs& args) {
  LOCKSTEP_TRY_ASSIGN(Recipe recipe, LoadRecipe(args.recipe, args.overrides));
  LOCKSTEP_TRY_ASSIGN(PreparedData prepared, PrepareData(recipe));
  const RecipeData& data = prepared.data;
  recipe.loss = std::move(prepared.loss);
  LOCKSTEP_TRY_ASSIGN(const LoaderOptions loader_options, BuildLoaderOptions(recipe));
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Loader> loader,
                      Loader::Make(data.train.dataset, data.train.indices, loader_options));
  const int64_t parts = recipe.train.micro_batches;
  const int64_t batch = (loader->largest_count() + parts - 1) / parts;
  Context ctx({.threads = static_cast<int>(recipe.train.threads)});
  LOCKSTEP_TRY_ASSIGN(Network net, BuildNetwork(ctx, recipe, data.train.dataset->info(), batch));
  std::vector<std::string> remarks = data.remarks;
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> weights, StartFromWeights(recipe, net));
  remarks.insert(remarks.end(), weights.begin(), weights.end());
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Optimizer> optimizer, BuildOptimizer(recipe));
  LOCKSTEP_TRY_ASSIGN(TrainerOptions options,
                      BuildTrainerOptions(recipe, loader->batches_per_epoch(), &remarks));
  options.validation = data.validation;
  if (options.validation.empty()) options.keep_best = false;
  LOCKSTEP_TRY(CheckBatches(recipe, net, *loader));
  LOCKSTEP_TRY(Trainer::Make(net, *optimizer, *loader, std::move(options)).status());

  for (const std::string& remark : remarks) fmt::print("note: {}\n", remark);
  const DatasetInfo& info = data.train.dataset->info();
  fmt::print("{}: {} samples of {} to train, {} to validate, {} to test\n", info.name,
             data.train.indices.size(), info.x_shape.ToString(), data.validation.indices.size(),
             data.test.indices.size());
  fmt::print("{} epochs of {} steps, {} samples each{}; {} thread{}\n\n", recipe.train.epochs,
             loader->batches_per_epoch(), loader->largest_count(),
             parts > 1 ? fmt::format(" in {} parts", parts) : "", ctx.threads(),
             ctx.threads() == 1 ? "" : "s");

  std::vector<scale::TextRow> rows = {
      {"layer", "kind", "in", "out", "parameters", "forward", "memory", ""}};
  const std::vector<LayerSummary> layers = LayersOf(net);
  const double flops = FlopsOf(net);
  for (const LayerSummary& layer : layers) {
    rows.push_back({layer.name, layer.kind, layer.in.ToString(),
                    layer.out.rank() == 0 ? "" : layer.out.ToString(),
                    fmt::format("{}", layer.parameters), Flops(layer.flops), Bytes(layer.bytes),
                    layer.notes});
  }
  fmt::print("{}", scale::TextTable(rows, /*right=*/4));
  const auto& training = net.training_program().fusions();
  const auto& evaluation = net.evaluation_program().fusions();
  if (!training.empty() || !evaluation.empty()) fmt::print("\n");
  PrintFusions("training", training);
  PrintFusions("evaluation", evaluation);

  int64_t optimizer_bytes = 0;
  for (const OptimizerState& state : optimizer->states()) {
    optimizer_bytes += static_cast<int64_t>(state.tensor.bytes());
  }
  // What training needs, with and without sharing; the network holds what evaluation needs besides,
  // in whole pages of memory, 2 MB each where there is so much.
  const Program& program = net.training_program();
  const int64_t used = program.step_bytes() + program.kept_bytes();
  fmt::print(
      "\nmemory     {} in all: parameters {}, gradients {}, {} {}, activations and scratch {} ({} "
      "if buffers whose lifetimes do not meet shared nothing), for evaluation and to whole pages "
      "{}\n",
      Bytes(net.bytes() + optimizer_bytes), Bytes(net.store().parameter_bytes()),
      Bytes(net.store().gradient_bytes()), optimizer->kind(), Bytes(optimizer_bytes), Bytes(used),
      Bytes(program.unshared_bytes()), Bytes(net.arena_bytes() - used));
  fmt::print("one step   {} forward, about {} with backward; an epoch about {}\n",
             Flops(flops * static_cast<double>(parts)),
             Flops(3.0 * flops * static_cast<double>(parts)),
             Flops(3.0 * flops * static_cast<double>(parts * loader->batches_per_epoch())));
  return PrintRecomputation(args, recipe, ctx, info, batch, net, flops, parts);
}

}  // namespace lockstep::tools
