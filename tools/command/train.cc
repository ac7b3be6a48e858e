#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/base/integers.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/parallel/shards.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "tools/command/commands.h"
#include "tools/command/goes_on.h"
#include "tools/command/interrupts.h"
#include "tools/command/live_line.h"
#include "tools/command/recorder.h"
#include "tools/command/resume.h"
#include "tools/command/run_folder.h"
#include "tools/report/run_report.h"

namespace lockstep::tools {
namespace {

using Json = nlohmann::ordered_json;

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
      {"train", &data.train_unchanged}, {"validation", &data.validation}, {"test", &data.test}};
  for (const auto& [name, subset] : splits) {
    if (subset->empty()) continue;
    LOCKSTEP_TRY_ASSIGN(const EvaluationResult result, Evaluate(net, *subset));
    json[name] = JsonOf(result);
    report.results.emplace_back(name, result);
    Say(fmt::format("{:<10}  {}\n", name, Describe(result)));
  }
  if (data.best_test) {
    json["best_possible_test"] = {{"auc", data.best_test->drawn_auc},
                                  {"loss", data.best_test->drawn_log_loss},
                                  {"accuracy", data.best_test->drawn_accuracy}};
    Say(
        fmt::format("best        loss {}  accuracy {:.2f} %  AUC {:.4f}   what knowing every true "
                    "probability would score on "
                    "these test samples\n",
                    LossText(data.best_test->drawn_log_loss),
                    data.best_test->drawn_accuracy * 100.0, data.best_test->drawn_auc));
  }
  LOCKSTEP_TRY(SaveModel(folder.model(), net, trainer.state(),
                         data.standardizer ? &*data.standardizer : nullptr,
                         &data.train.dataset->info()));
  LOCKSTEP_TRY(WriteFileAtomically(folder.summary(), json.dump(2) + "\n"));
  if (recipe.output.report) LOCKSTEP_TRY(WriteRunReport(report));
  Say(fmt::format("{} steps in {:.1f} s, parameter hash {}; model, metrics and {} are in {}\n",
                  summary.steps, summary.seconds, json["parameter_hash"].get<std::string>(),
                  recipe.output.report ? "report.html" : "summary", folder.path));
  return Status::Ok();
}

// How the training itself ended.
struct Ended {
  Result<TrainingSummary> summary;
  // Whether the trainer stands at the boundary of a step, as it does unless an exception came out
  // of one.
  bool can_be_saved = true;
};

Ended RunToItsEnd(Trainer& trainer) {
  try {
    return {.summary = trainer.Run()};
  } catch (const std::bad_alloc&) {
    return {.summary = Status::Io("out of memory; a smaller train.batch or model needs less"),
            .can_be_saved = false};
  } catch (const std::exception& error) {
    return {.summary = Status::Io(std::string("internal error: ") + error.what()),
            .can_be_saved = false};
  }
}

// What is left of a run that failed, and how it can go on: one line.
Status AfterFailure(const RunFolder& folder, const Recipe& recipe, Recorder& recorder,
                    const Trainer& trainer, const Status& why, bool can_be_saved) {
  std::string text = why.message();
  const bool not_finite = why.code() == Code::kNonFinite;
  if (not_finite) {
    // What was computed since the last checkpoint is what led here: going on starts before it.
    const Status marked = MarkNotFinite(folder, recipe, trainer.step(), why);
    if (!marked.ok()) text += "; " + marked.message();
  } else if (can_be_saved) {
    const Status saved = recorder.SaveAll();
    if (!saved.ok()) text += "; nor could it be saved: " + saved.message();
  }
  std::error_code ignored;
  if (std::filesystem::exists(folder.model(), ignored))
    text += "; the best model so far is in " + folder.model();
  const std::string rate = not_finite ? " at a lower rate" : "";
  text += "; " + (not_finite ? ResumeSlowerCommand(folder, recipe) : ResumeCommand(folder));
  text += recorder.saved_step() >= 0
              ? " goes on from step " + std::to_string(recorder.saved_step()) + rate
              : " starts it again" + rate + " (nothing was saved yet)";
  (void)folder.Log("failed at step " + std::to_string(trainer.step()) + ": " + why.message());
  return Status(why.code(), text);
}

// Overrides may stand where the recipe would: --resume RUN train.epochs=40.
Result<std::vector<std::string>> OverridesOf(const TrainArgs& args) {
  std::vector<std::string> overrides = args.overrides;
  if (args.resume.empty()) return overrides;
  if (args.recipe.find('=') != std::string::npos) {
    overrides.insert(overrides.begin(), args.recipe);
  } else if (!args.recipe.empty()) {
    return Status::Invalid("--resume takes the run's own recipe: give no other, but key=value");
  }
  for (const std::string& one : overrides) {
    if (one.starts_with("output.folder="))
      return Status::Invalid("a run stays in its folder: --resume takes no output.folder");
  }
  return overrides;
}

// What a layer says to the batches that an epoch has, before it has taken an hour to come to the
// last one: a batch norm refuses a batch of one.
Status CheckBatches(const Network& net, const Loader& loader, const Recipe& recipe) {
  const int64_t samples = loader.samples_per_epoch(), batch = recipe.train.batch;
  if (recipe.train.micro_batches > 1) return Status::Ok();
  for (const int64_t n : {std::min(batch, samples), samples % batch}) {
    if (n == 0) continue;
    const Status status =
        net.training_program().Admit(BatchCut::Whole(n, recipe.train.shards)).status();
    if (status.ok()) continue;
    const std::string what =
        "train.batch = " + std::to_string(batch) +
        (n == batch ? ""
                    : " leaves a last batch of " + std::to_string(n) + " of the " +
                          std::to_string(samples) + " training samples");
    return Status(status.code(), what + ": " + status.message() +
                                     "; the keys are train.batch, train.last_batch=drop and "
                                     "model.single_value=skip or =running");
  }
  return Status::Ok();
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

}  // namespace

Status Train(const TrainArgs& args) {
  const bool resume = !args.resume.empty();
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> overrides, OverridesOf(args));
  RunFolder folder{args.resume};
  if (!resume && args.recipe.empty()) {
    if (!args.print_recipe)
      return Status::Invalid("train needs a recipe, or --resume and a run folder");
    fmt::print("{}", PrintRecipe(Recipe{}));
    return Status::Ok();
  }
  LOCKSTEP_TRY_ASSIGN(Recipe recipe, LoadRecipe(resume ? folder.recipe() : args.recipe, overrides));
  recipe.model.weights = ModelFile(recipe.model.weights);
  if (args.print_recipe) {
    fmt::print("{}", PrintRecipe(recipe));
    return Status::Ok();
  }
  // From here on a closed pipe is a failure to write like another, not the end of the program.
  std::signal(SIGPIPE, SIG_IGN);

  // Killed before its first checkpoint, a run has a recipe and nothing else.
  std::error_code ignored;
  bool saved = false;
  std::optional<FolderLock> lock;
  if (resume) {
    LOCKSTEP_TRY_ASSIGN(FolderLock taken, FolderLock::Take(folder.path));
    lock.emplace(std::move(taken));
    saved = std::filesystem::exists(folder.last(), ignored);
    LOCKSTEP_TRY(CheckMayGoOn(folder, recipe, overrides));
    if (!saved && std::filesystem::exists(folder.summary(), ignored) &&
        !IsMarkedNotFinite(folder)) {
      return Status::Invalid(
          folder.path + " is a finished run without a checkpoint to go on from: start a new one");
    }
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
  options.validation = data.validation;
  options.recipe = PrintRecipe(recipe);
  options.standardizer = data.standardizer;
  options.digest = args.digest;
  if (options.validation.empty()) options.keep_best = false;

  int64_t resumed_step = 0;
  std::vector<std::string> changes;
  if (saved) {
    LOCKSTEP_TRY_ASSIGN(const Checkpoint last, LoadCheckpoint(folder.last()));
    LOCKSTEP_TRY_ASSIGN(const TrainingState state, TrainingStateFrom(last.meta));
    LOCKSTEP_TRY_ASSIGN(const Recipe before, ParseRecipe(state.recipe, folder.last()));
    LOCKSTEP_TRY_ASSIGN(changes, ChangesSince(before, recipe, folder));
    LOCKSTEP_TRY(CheckSameData(folder, data, last));
    if (CeilDiv(state.step, loader->batches_per_epoch()) > recipe.train.epochs) {
      return Status::Invalid(folder.path + " has come to step " + std::to_string(state.step) +
                             " already, which train.epochs = " +
                             std::to_string(recipe.train.epochs) + " would have ended before");
    }
    resumed_step = ReportedStep(last, state);
  } else if (resume) {
    LOCKSTEP_TRY_ASSIGN(const Recipe before, LoadRecipe(folder.recipe()));
    LOCKSTEP_TRY_ASSIGN(changes, ChangesSince(before, recipe, folder));
  }

  const Schedule schedule = options.schedule;
  const std::string recipe_text = options.recipe;
  Subset sample = data.validation.empty() ? data.train : data.validation;
  sample.indices.resize(
      std::min(sample.indices.size(), static_cast<size_t>(net.input_shape().batch())));
  auto say = GoesOn(net, data.validation);
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Recorder> recorder,
                      Recorder::Make({.output = recipe.output,
                                      .epochs = recipe.train.epochs,
                                      .patience = recipe.train.patience,
                                      .keeps_best = options.keep_best,
                                      .resumed_step = resume ? resumed_step : -1,
                                      .curve = args.curve,
                                      .stop = &CatchInterrupts::Requested(),
                                      .sample = std::move(sample),
                                      .say = std::move(say)}));
  options.observer = recorder.get();
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Trainer> trainer,
                      Trainer::Make(net, *optimizer, *loader, std::move(options)));
  LOCKSTEP_TRY(CheckBatches(net, *loader, recipe));
  if (saved) LOCKSTEP_TRY(trainer->Resume(folder.last()));

  // Nothing stands in the way any more, and nothing was written until here. A stop that is asked
  // for while the folder is made waits until something can be saved.
  std::optional<CatchInterrupts> interrupts(std::in_place);
  if (!resume) {
    LOCKSTEP_TRY_ASSIGN(RunFolder::Made made,
                        RunFolder::Create(recipe.output.folder, args.recipe, recipe_text));
    folder = std::move(made.folder);
    lock.emplace(std::move(made.lock));
  }
  if (!overrides.empty() && resume) LOCKSTEP_TRY(WriteFileAtomically(folder.recipe(), recipe_text));
  const std::string from =
      saved ? "goes on from step " + std::to_string(trainer->step()) : "begins";
  LOCKSTEP_TRY(folder.Log(from + (changes.empty() ? "" : ": " + Joined(changes))));
  if (resume) LOCKSTEP_TRY(RemoveMark(folder));
  LOCKSTEP_TRY(recorder->Attach(folder, trainer.get(), &net));
  if (resume && !saved) Say("nothing was saved yet: the run starts from the beginning\n");
  for (const std::string& change : changes) Say("changed: " + change + "\n");

  Say(fmt::format(
      "{} samples to train, {} to validate, {} to test; {} parameters, {:.1f} MB; {} thread{}; "
      "{}\n",
      data.train.indices.size(), data.validation.indices.size(), data.test.indices.size(),
      net.parameter_count(), static_cast<double>(net.bytes()) / 1e6, ctx.threads(),
      ctx.threads() == 1 ? "" : "s", folder.path));
  for (const LayerReport& row : net.program().graph().report()) {
    if (!row.bias_has_no_effect) continue;
    for (const std::string& note : row.notes)
      Say(fmt::format("note: {} {}: {}\n", row.path, row.kind, note));
  }

  const Ended ended = RunToItsEnd(*trainer);
  const Status recorded = recorder->End();
  if (!ended.summary.ok() || !recorded.ok()) {
    const bool trained = ended.summary.ok();
    return AfterFailure(folder, recipe, *recorder, *trainer,
                        trained ? recorded : ended.summary.status(),
                        ended.can_be_saved && recorded.ok());
  }
  const TrainingSummary& summary = *ended.summary;
  RunReport report{.folder = folder,
                   .recipe = recipe,
                   .data = data,
                   .network = net,
                   .summary = summary,
                   .schedule = schedule,
                   .total_steps = trainer->total_steps(),
                   .batches_per_epoch = loader->batches_per_epoch()};
  if (summary.reason == StopReason::kRequested) {
    LOCKSTEP_TRY(recorder->SaveAll());
    const std::string stopped = "stopped at step " + std::to_string(trainer->step()) + " and saved";
    LOCKSTEP_TRY(folder.Log(stopped));
    if (recipe.output.report) LOCKSTEP_TRY(WriteRunReport(report));
    const std::string goes_on = stopped + "; " + ResumeCommand(folder) + " goes on";
    if (recorder->reader_gone())
      return Status::Io("nobody reads what is printed any more (the pipe is closed): " + goes_on);
    return Status(Code::kInterrupted, goes_on);
  }
  // All is saved: a signal ends the program now, and --resume comes back to this place.
  interrupts.reset();
  const Status finished = Finish(folder, net, *trainer, data, *recorder, std::move(report));
  (void)folder.Log(finished.ok() ? StatusName(summary.reason) + std::string(" at step ") +
                                       std::to_string(summary.steps)
                                 : "failed: " + finished.message());
  return finished;
}

}  // namespace lockstep::tools
