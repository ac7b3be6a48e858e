#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/integers.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "tools/command/commands.h"
#include "tools/command/live_line.h"
#include "tools/command/recorder.h"
#include "tools/command/run_folder.h"
#include "tools/report/run_report.h"

namespace lockstep::tools {
namespace {

using Json = nlohmann::ordered_json;
// The first Ctrl-C asks the run to save and stop; the second one ends the program as if we were not
// here.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

class CatchInterrupts {
 public:
  CatchInterrupts() {
    stop_requested = false;
    struct sigaction action {};
    action.sa_handler = [](int) { stop_requested = true; };
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGINT, &action, &before_int_);
    sigaction(SIGTERM, &action, &before_term_);
  }
  ~CatchInterrupts() {
    sigaction(SIGINT, &before_int_, nullptr);
    sigaction(SIGTERM, &before_term_, nullptr);
  }
  CatchInterrupts(const CatchInterrupts&) = delete;
  CatchInterrupts& operator=(const CatchInterrupts&) = delete;

 private:
  struct sigaction before_int_ {};
  struct sigaction before_term_ {};
};

Json JsonOf(const EvaluationResult& result) {
  Json json;
  json["samples"] = result.samples;
  for (const Metric metric : kMetrics) {
    if (const auto value = ValueOf(result, metric)) json[NameOf(metric)] = *value;
  }
  if (!result.confusion.empty() && result.classes <= 100) {
    Json rows = Json::array();
    for (int64_t c = 0; c < result.classes; ++c) {
      const auto row = result.confusion.begin() + c * result.classes;
      rows.push_back(std::vector<int64_t>(row, row + result.classes));
    }
    json["confusion"] = rows;
  }
  return json;
}

// Measures the finished network on every split, says so, and writes model and summary.
Status Finish(const RunFolder& folder, Network& net, Trainer& trainer, const RecipeData& data,
              const Recorder& recorder, RunReport report) {
  const TrainingSummary& summary = report.summary;
  const Recipe& recipe = report.recipe;
  Json json;
  json["status"] = StatusName(summary.reason);
  json["steps"] = summary.steps;
  json["epochs"] = summary.epochs;
  json["seconds"] = summary.seconds;
  json["skipped_batches"] = summary.skipped_batches;
  if (summary.best_metric) {
    json["best"] = {{"metric", recipe.train.monitor},
                    {"value", *summary.best_metric},
                    {"epoch", summary.best_epoch + 1}};
  }
  json["parameters"] = net.parameter_count();
  json["bytes"] = net.bytes();
  json["parameter_hash"] = HexOf(ModelHash(net));
  json["threads"] = net.context().threads();
  json["recording_seconds"] = recorder.seconds();
  const std::pair<const char*, const Subset*> splits[] = {
      {"train", &data.train}, {"validation", &data.validation}, {"test", &data.test}};
  for (const auto& [name, subset] : splits) {
    if (subset->empty()) continue;
    LOCKSTEP_TRY_ASSIGN(const EvaluationResult result, Evaluate(net, *subset));
    json[name] = JsonOf(result);
    report.results.emplace_back(name, result);
    fmt::print("{:<10}  {}\n", name, Describe(result));
  }
  if (data.best_test) {
    json["best_possible_test"] = {{"auc", data.best_test->drawn_auc},
                                  {"loss", data.best_test->drawn_log_loss},
                                  {"accuracy", data.best_test->drawn_accuracy}};
    fmt::print(
        "best        loss {:.4f}  accuracy {:.2f} %  AUC {:.4f}   what knowing every true "
        "probability would score on "
        "these test samples\n",
        data.best_test->drawn_log_loss, data.best_test->drawn_accuracy * 100.0,
        data.best_test->drawn_auc);
  }
  LOCKSTEP_TRY(SaveModel(folder.model(), net, trainer.state(),
                         data.standardizer ? &*data.standardizer : nullptr,
                         &data.train.dataset->info()));
  LOCKSTEP_TRY(WriteFileAtomically(folder.summary(), json.dump(2) + "\n"));
  if (recipe.output.report) LOCKSTEP_TRY(WriteRunReport(report));
  fmt::print("{} steps in {:.1f} s, parameter hash {}; model, metrics and {} are in {}\n",
             summary.steps, summary.seconds, json["parameter_hash"].get<std::string>(),
             recipe.output.report ? "report.html" : "summary", folder.path);
  return Status::Ok();
}

// A resumed run goes on as it began: what decides its bits must not have changed since the
// checkpoint. How long it runs, where its files are and how many threads it has may.
Status CheckSameRun(const RunFolder& folder, const Recipe& recipe, const RecipeData& data,
                    const Checkpoint& last, const TrainingState& state) {
  LOCKSTEP_TRY_ASSIGN(const Recipe before, ParseRecipe(state.recipe, folder.last()));
  for (const RecipeDifference& one : Differences(before, recipe)) {
    if (one.key.starts_with("output.") || one.key == "data.path" || one.key == "data.test_path" ||
        one.key == "data.label_path" || one.key == "data.cache_mb" || one.key == "data.prefetch" ||
        one.key == "model.weights" || one.key == "train.epochs" || one.key == "train.threads") {
      continue;
    }
    return Status::Invalid(folder.recipe() + ": " + one.key + " is " + one.right +
                           ", the run began with " + one.left +
                           ": put that back, or start a new run");
  }
  LOCKSTEP_TRY_ASSIGN(const std::optional<Standardizer> standardizer, ReadStandardizer(last));
  if (standardizer && data.standardizer &&
      (standardizer->mean() != data.standardizer->mean() ||
       standardizer->sd() != data.standardizer->sd())) {
    return Status::Invalid(folder.path + ": the data are not those the run began with (" +
                           data.train.dataset->info().name + "): start a new run");
  }
  return Status::Ok();
}

}  // namespace

Status Train(const TrainArgs& args) {
  const bool resume = !args.resume.empty();
  if (resume && (!args.recipe.empty() || !args.overrides.empty())) {
    return Status::Invalid(
        "--resume takes the run's own recipe: give neither a recipe nor overrides");
  }
  RunFolder folder{args.resume};
  if (!resume && args.recipe.empty()) {
    if (!args.print_recipe)
      return Status::Invalid("train needs a recipe, or --resume and a run folder");
    fmt::print("{}", PrintRecipe(Recipe{}));
    return Status::Ok();
  }
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe,
                      LoadRecipe(resume ? folder.recipe() : args.recipe, args.overrides));
  if (args.print_recipe) {
    fmt::print("{}", PrintRecipe(recipe));
    return Status::Ok();
  }

  // Killed before its first checkpoint, a run has a recipe and nothing else.
  std::error_code ignored;
  const bool saved = resume && std::filesystem::exists(folder.last(), ignored);
  if (resume && !saved && std::filesystem::exists(folder.summary(), ignored)) {
    return Status::Invalid(
        folder.path + " is a finished run without a checkpoint to go on from: start a new one");
  }

  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(recipe));
  for (const std::string& remark : data.remarks) fmt::print("note: {}\n", remark);
  LOCKSTEP_TRY_ASSIGN(const LoaderOptions loader_options, BuildLoaderOptions(recipe));
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Loader> loader,
                      Loader::Make(data.train.dataset, data.train.indices, loader_options));
  Context ctx({.threads = static_cast<int>(recipe.train.threads)});
  const int64_t parts = recipe.train.micro_batches;
  LOCKSTEP_TRY_ASSIGN(Network net, BuildNetwork(ctx, recipe, data.train.dataset->info(),
                                                CeilDiv(loader->largest_count(), parts)));
  if (!saved) {
    LOCKSTEP_TRY_ASSIGN(const std::string remark, StartFromWeights(recipe, net));
    if (!remark.empty()) fmt::print("note: {}\n", remark);
  }
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Optimizer> optimizer, BuildOptimizer(recipe));
  LOCKSTEP_TRY_ASSIGN(TrainerOptions options,
                      BuildTrainerOptions(recipe, loader->batches_per_epoch()));

  if (!resume) {
    LOCKSTEP_TRY_ASSIGN(folder, RunFolder::Create(recipe.output.folder, args.recipe));
    LOCKSTEP_TRY(WriteFileAtomically(folder.recipe(), PrintRecipe(recipe)));
  }
  options.validation = data.validation;
  options.recipe = PrintRecipe(recipe);
  options.standardizer = data.standardizer;
  if (options.validation.empty()) options.keep_best = false;

  int64_t resumed_step = 0;
  if (saved) {
    LOCKSTEP_TRY_ASSIGN(const Checkpoint last, LoadCheckpoint(folder.last()));
    LOCKSTEP_TRY_ASSIGN(const TrainingState state, TrainingStateFrom(last.meta));
    LOCKSTEP_TRY(CheckSameRun(folder, recipe, data, last, state));
    resumed_step = ReportedStep(last, state);
  }
  const Schedule schedule = options.schedule;
  Subset sample = data.validation.empty() ? data.train : data.validation;
  sample.indices.resize(
      std::min(sample.indices.size(), static_cast<size_t>(net.input_shape().batch())));
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Recorder> recorder,
                      Recorder::Make({.folder = folder,
                                      .output = recipe.output,
                                      .epochs = recipe.train.epochs,
                                      .resumed_step = resume ? resumed_step : -1,
                                      .curve = args.curve,
                                      .stop = &stop_requested,
                                      .sample = std::move(sample)}));
  options.observer = recorder.get();
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Trainer> trainer,
                      Trainer::Make(net, *optimizer, *loader, std::move(options)));
  if (saved) LOCKSTEP_TRY(trainer->Resume(folder.last()));
  recorder->Attach(trainer.get(), &net);
  if (resume && !saved) fmt::print("nothing was saved yet: the run starts from the beginning\n");

  fmt::print(
      "{} samples to train, {} to validate, {} to test; {} parameters, {:.1f} MB; {} thread{}; "
      "{}\n",
      data.train.indices.size(), data.validation.indices.size(), data.test.indices.size(),
      net.parameter_count(), static_cast<double>(net.bytes()) / 1e6, ctx.threads(),
      ctx.threads() == 1 ? "" : "s", folder.path);
  for (const LayerReport& row : net.program().graph().report()) {
    if (!row.bias_has_no_effect) continue;
    for (const std::string& note : row.notes)
      fmt::print("note: {} {}: {}\n", row.path, row.kind, note);
  }
  std::fflush(stdout);

  CatchInterrupts interrupts;
  const Result<TrainingSummary> summary = trainer->Run();
  LOCKSTEP_TRY(recorder->End());
  if (!summary.ok()) return summary.status();
  RunReport report{.folder = folder,
                   .recipe = recipe,
                   .data = data,
                   .network = net,
                   .summary = *summary,
                   .schedule = schedule,
                   .total_steps = trainer->total_steps(),
                   .batches_per_epoch = loader->batches_per_epoch()};
  if (summary->reason == StopReason::kRequested) {
    LOCKSTEP_TRY(recorder->SaveAll());
    if (recipe.output.report) LOCKSTEP_TRY(WriteRunReport(report));
    return Status(Code::kInterrupted, "stopped at step " + std::to_string(trainer->step()) +
                                          " and saved; lockstep train --resume " + folder.path +
                                          " goes on");
  }
  return Finish(folder, net, *trainer, data, *recorder, std::move(report));
}

}  // namespace lockstep::tools
