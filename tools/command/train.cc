#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/base/integers.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"
#include "engine/parallel/shards.h"
#include "engine/train/assess/assessment.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "models/recipe_decision.h"
#include "models/recipe_prepare.h"
#include "tools/command/commands.h"
#include "tools/command/decide.h"
#include "tools/command/goes_on.h"
#include "tools/command/held_out.h"
#include "tools/command/interrupts.h"
#include "tools/command/live_line.h"
#include "tools/command/placement.h"
#include "tools/command/rank_times.h"
#include "tools/command/ranks.h"
#include "tools/command/recorder.h"
#include "tools/command/resume.h"
#include "tools/command/run_folder.h"
#include "tools/command/run_set.h"
#include "tools/command/summary_json.h"
#include "tools/command/terminal.h"
#include "tools/command/version.h"
#include "tools/command/which_run.h"
#include "tools/report/assessment_json.h"
#include "tools/report/run_report.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Json = nlohmann::ordered_json;

// Measures the finished network on every split, says so, and writes model and summary. Collective;
// the error is that of this rank.
Status Finish(const RunFolder& folder, Network& net, Trainer& trainer, const RecipeData& data,
              const Recorder& recorder, RunReport report, Ranks& ranks) {
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
  LOCKSTEP_TRY_ASSIGN(const Decision decision, Decide(recipe, net, data.validation, ranks));
  if (AsksForDecision(recipe)) {
    json["decision"] = {{"temperature", decision.temperature},
                        {"threshold", decision.threshold},
                        {"threshold_by", recipe.train.threshold}};
  }
  const Subset* judged = nullptr;
  for (const auto& [name, subset] : splits) {
    if (subset->empty()) continue;
    LOCKSTEP_TRY_ASSIGN(
        const EvaluationResult result,
        Evaluate(net, *subset, {.communicator = ranks.communicator(), .decision = decision}));
    json[name] = JsonOf(result);
    report.results.emplace_back(name, result);
    judged = subset;
    if (ranks.speaks()) Say(fmt::format("{:<10}  {}\n", name, Describe(result)));
  }
  if (!ranks.speaks()) return Status::Ok();
  if (const GradientExchange* exchange = trainer.training_step().exchange(); exchange != nullptr)
    json["communication"] = JsonOf(summary, *exchange, ranks);
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
                         &data.train.dataset->info(), decision));
  if (recipe.data.fold > 0) {
    LOCKSTEP_TRY_ASSIGN(const HeldOut held, MeasureHeldOut(net, decision, data.test));
    LOCKSTEP_TRY(WriteHeldOut(folder.held_out(), held));
  }
  std::optional<Assessment> assessment;
  if (judged != nullptr && CanBeAssessed(net, judged->dataset->info())) {
    LOCKSTEP_TRY_ASSIGN(assessment,
                        Assess(net, *judged, decision, {.subgroups = SubgroupsOf(data, *judged)}));
    json["assessment"] = JsonOf(*assessment, judged->dataset->info().class_names);
    json["assessment"]["split"] = report.results.back().first;
    report.assessment = &*assessment;
  }
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  LOCKSTEP_TRY(WriteFileAtomically(folder.summary(), text + "\n"));
  if (recipe.output.report) LOCKSTEP_TRY(WriteRunReport(report));
  const std::string waited = ranks.size() == 1
                                 ? ""
                                 : fmt::format(", {:.1f} % of the steps waiting for other ranks",
                                               100.0 * WaitedShare(summary.ranks));
  Say(fmt::format("{} steps in {:.1f} s{}, parameter hash {}; model, metrics and {} are in {}\n",
                  summary.steps, summary.seconds, waited, json["parameter_hash"].get<std::string>(),
                  recipe.output.report ? "report.html" : "summary", folder.path));
  return Status::Ok();
}

// How the training itself ended.
struct Ended {
  Result<TrainingSummary> summary;
  // Whether the ranks still meet at the same place, as they do unless an exception came out of the
  // middle of a step.
  bool can_be_saved = true;
};

Ended RunToItsEnd(Trainer& trainer) {
  Ended ended{.summary = trainer.Run()};
  const Status& status = ended.summary.status();
  ended.can_be_saved = status.code() != Code::kInternal && status.code() != Code::kOutOfMemory;
  if (status.code() == Code::kInternal) ended.summary = status.At("internal error");
  return ended;
}

// What is left of a run that failed on all ranks, and how it can go on: one line. Collective.
Status AfterFailure(const RunFolder& folder, const Recipe& recipe, Recorder& recorder,
                    const Trainer& trainer, const Status& why, bool can_be_saved, Ranks& ranks) {
  std::string text = why.message();
  const bool not_finite = why.code() == Code::kNonFinite;
  if (!not_finite && can_be_saved) {
    const Status saved = recorder.SaveAll();
    if (!saved.ok()) text += "; nor could it be saved: " + saved.message();
  }
  if (!ranks.speaks()) return Status(why.code(), text);
  if (not_finite) {
    // What was computed since the last checkpoint is what led here: going on starts before it.
    const Status marked = MarkNotFinite(folder, recipe, trainer.step(), why);
    if (!marked.ok()) text += "; " + marked.message();
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

std::string Joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

// What a run is made of, in the order of their lives.
struct Made {
  RecipeData data;
  std::unique_ptr<Loader> loader;
  std::unique_ptr<Context> context;
  std::optional<Network> network;
  std::unique_ptr<Optimizer> optimizer;
  TrainerOptions options;
  std::vector<std::string> remarks;
  std::vector<std::string> changes;  // since the run began
  int64_t resumed_step = 0;
};

// How far a run that goes on has come, and whether it may go on as it is now.
Status ReadProgress(const WhichRun& run, Made& made) {
  const RunFolder& folder = run.folder;
  if (!run.saved) {
    LOCKSTEP_TRY_ASSIGN(const Recipe before, LoadRecipe(folder.recipe()));
    LOCKSTEP_TRY_ASSIGN(made.changes, ChangesSince(before, run.recipe, folder));
    return Status::Ok();
  }
  LOCKSTEP_TRY_ASSIGN(const Checkpoint last, LoadCheckpoint(folder.last()));
  LOCKSTEP_TRY_ASSIGN(const TrainingState state, TrainingStateFrom(last.meta));
  LOCKSTEP_TRY_ASSIGN(const Recipe before, ParseRecipe(state.recipe, folder.last()));
  LOCKSTEP_TRY_ASSIGN(made.changes, ChangesSince(before, run.recipe, folder));
  LOCKSTEP_TRY(CheckSameData(folder, made.data, last));
  if (CeilDiv(state.step, made.loader->batches_per_epoch()) > run.recipe.train.epochs) {
    return Status::Invalid(folder.path + " has come to step " + std::to_string(state.step) +
                           " already, which train.epochs = " +
                           std::to_string(run.recipe.train.epochs) + " would have ended before");
  }
  made.resumed_step = ReportedStep(last, state);
  return Status::Ok();
}

// The data: those of the run before in a set, where they are the same.
Result<PreparedData> Prepare(const Recipe& recipe, const WhichRun& run, const Ranks& ranks,
                             SetData* of_set) {
  const int64_t fold = recipe.data.fold;
  if (of_set != nullptr && of_set->prepared && of_set->fold == fold) return *of_set->prepared;
  if (of_set != nullptr) of_set->prepared.reset();  // before there are others
  PrepareOptions options{.repeated_rows = ranks.speaks() && !run.resume};
  if (run.saved) options.last = run.folder.last();
  if (ranks.speaks()) options.progress = SayReading();
  LOCKSTEP_TRY_ASSIGN(PreparedData prepared, PrepareData(recipe, std::move(options)));
  if (of_set != nullptr) *of_set = {.fold = fold, .prepared = prepared};
  return prepared;
}

// Of this rank alone: no other is waited for.
Status Make(const TrainArgs& args, const WhichRun& run, int threads, Ranks& ranks, SetData* of_set,
            Made& made) {
  Recipe recipe = run.recipe;
  recipe.train.threads = threads;
  LOCKSTEP_TRY_ASSIGN(PreparedData prepared, Prepare(recipe, run, ranks, of_set));
  made.data = std::move(prepared.data);
  recipe.loss = std::move(prepared.loss);
  made.remarks = made.data.remarks;
  const Subset& train = made.data.train;
  LOCKSTEP_TRY_ASSIGN(LoaderOptions loader_options, BuildLoaderOptions(recipe));
  loader_options.rank = ranks.rank();
  loader_options.ranks = ranks.size();
  LOCKSTEP_TRY_ASSIGN(made.loader, Loader::Make(train.dataset, train.indices, loader_options));
  made.context = std::make_unique<Context>(ContextOptions{.threads = threads});
  const int64_t parts = recipe.train.micro_batches;
  const int64_t batch = std::min(recipe.train.batch, made.loader->samples_per_epoch());
  // A rank of a small batch may have no sample of it.
  const int64_t mine = std::max<int64_t>(1, CeilDiv(made.loader->largest_count(), parts));
  Result<Network> network =
      BuildNetwork(*made.context, recipe, train.dataset->info(), mine, /*training=*/true,
                   ranks.communicator(), EvaluationBatch(recipe, batch));
  LOCKSTEP_TRY(network.status());
  made.network.emplace(std::move(*network));
  if (!run.saved) {
    LOCKSTEP_TRY_ASSIGN(std::vector<std::string> remarks, StartFromWeights(recipe, *made.network));
    std::move(remarks.begin(), remarks.end(), std::back_inserter(made.remarks));
  }
  LOCKSTEP_TRY_ASSIGN(made.optimizer, BuildOptimizer(recipe));
  LOCKSTEP_TRY_ASSIGN(made.options,
                      BuildTrainerOptions(recipe, made.loader->batches_per_epoch(), &made.remarks));
  made.options.validation = made.data.validation;
  // Weights of balanced classes travel with the model as numbers.
  Recipe printed = run.recipe;
  printed.loss = recipe.loss;
  made.options.recipe = PrintRecipe(printed);
  made.options.standardizer = made.data.standardizer;
  made.options.digest = args.digest;
  if (made.options.validation.empty()) made.options.keep_best = false;
  return CheckBatches(recipe, *made.network, *made.loader);
}

Status MakeOrSay(const TrainArgs& args, const WhichRun& run, int threads, Ranks& ranks,
                 SetData* of_set, Made& made) {
  try {
    return Make(args, run, threads, ranks, of_set, made);
  } catch (const std::bad_alloc&) {
    return Status::Io("out of memory; a smaller train.batch or model needs less");
  }
}

// The run was asked to stop and is saved.
Status SayStopped(const WhichRun& run, const Trainer& trainer, const Recorder& recorder,
                  const RunReport& report) {
  const std::string stopped = "stopped at step " + std::to_string(trainer.step()) + " and saved";
  LOCKSTEP_TRY(run.folder.Log(stopped));
  if (run.recipe.output.report) LOCKSTEP_TRY(WriteRunReport(report));
  const std::string goes_on = stopped + "; " + ResumeCommand(run.folder) + " goes on";
  if (recorder.reader_gone())
    return Status::Io("nobody reads what is printed any more (the pipe is closed): " + goes_on);
  return Status(Code::kInterrupted, goes_on);
}

// How many threads this rank has. Says where all are.
Result<int> PlaceRanks(const Recipe& recipe, Ranks& ranks) {
  const Place mine = PlaceOfThisProcess(static_cast<int>(recipe.train.threads));
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> texts, ranks.Gather(TextOf(mine)));
  std::vector<Place> places;
  for (const std::string& text : texts) {
    LOCKSTEP_TRY_ASSIGN(Place place, PlaceFrom(text));
    places.push_back(std::move(place));
  }
  if (ranks.size() > 1 && ranks.speaks()) {
    Say(fmt::format("{} ranks over {}\n", ranks.size(), ranks.mpi()));
    for (const std::string& line : Describe(places)) Say("  " + line + "\n");
    for (const std::string& remark : Remarks(places)) Say("note: " + remark + "\n");
  }
  return ThreadsOf(places, static_cast<size_t>(ranks.rank()));
}

// The folder of a new run, on rank 0. Nothing was written until here.
Status MakeFolder(const TrainArgs& args, const std::string& recipe_text, WhichRun& run) {
  LOCKSTEP_TRY_ASSIGN(RunFolder::Made folder,
                      RunFolder::Create(run.recipe.output.folder, args.recipe, recipe_text));
  run.folder = std::move(folder.folder);
  run.lock.emplace(std::move(folder.lock));
  return Status::Ok();
}

// What stands in the folder and on the terminal before the first step, by rank 0.
Status Announce(const WhichRun& run, const Made& made, const Trainer& trainer) {
  const RunFolder& folder = run.folder;
  if (!run.overrides.empty() && run.resume)
    LOCKSTEP_TRY(WriteFileAtomically(folder.recipe(), PrintRecipe(run.recipe)));
  const std::string from =
      run.saved ? "goes on from step " + std::to_string(trainer.step()) : "begins";
  LOCKSTEP_TRY(folder.Log(from + (made.changes.empty() ? "" : ": " + Joined(made.changes))));
  if (run.resume) LOCKSTEP_TRY(RemoveMark(folder));
  if (run.resume && !run.saved) Say("nothing was saved yet: the run starts from the beginning\n");
  for (const std::string& change : made.changes) Say("changed: " + change + "\n");

  const Network& net = *made.network;
  const int threads = net.context().threads();
  Say(fmt::format(
      "{} samples to train, {} to validate, {} to test; {} parameters, {:.1f} MB; {} thread{}; "
      "{}\n",
      made.data.train.indices.size(), made.data.validation.indices.size(),
      made.data.test.indices.size(), net.parameter_count(), static_cast<double>(net.bytes()) / 1e6,
      threads, threads == 1 ? "" : "s", folder.path));
  for (const LayerReport& row : net.program().graph().report()) {
    if (!row.bias_has_no_effect) continue;
    for (const std::string& note : row.notes)
      Say(fmt::format("note: {} {}: {}\n", row.path, row.kind, note));
  }
  return Status::Ok();
}

}  // namespace

Status Train(const TrainArgs& args, Ranks& ranks, SetData* of_set) {
  if (args.resume.empty() && args.recipe.empty()) {
    if (!args.print_recipe)
      return ranks.Agree(Status::Invalid("train needs a recipe, or --resume and a run folder"));
    if (ranks.speaks()) fmt::print("{}", PrintRecipe(Recipe{}));
    return Status::Ok();
  }
  LOCKSTEP_TRY_ASSIGN(WhichRun run, ChooseRun(args, ranks));
  const Recipe& recipe = run.recipe;
  if (args.print_recipe) {
    if (ranks.speaks()) fmt::print("{}", PrintRecipe(recipe));
    return Status::Ok();
  }
  if (run.finished) {
    if (ranks.speaks()) Say(run.folder.path + " has finished: there is nothing to go on with\n");
    return Status::Ok();
  }
  if (IsSet(recipe)) return TrainSet(args, std::move(run), ranks);
  // From here on a closed pipe is a failure to write like another, not the end of the program.
  std::signal(SIGPIPE, SIG_IGN);

  // A stop that is asked for before something can be saved waits for that: of several ranks, whom
  // a scheduler asks, from here on; of one, whom a person asks, once the run begins.
  std::optional<CatchInterrupts> interrupts;
  if (ranks.size() > 1) interrupts.emplace();

  LOCKSTEP_TRY(ranks.CheckSame("the program", "of commit " + Commit()));
  LOCKSTEP_TRY(ranks.CheckSameRecipe(recipe));
  LOCKSTEP_TRY_ASSIGN(const int threads, PlaceRanks(recipe, ranks));
  Made made;
  LOCKSTEP_TRY(ranks.Agree(MakeOrSay(args, run, threads, ranks, of_set, made)));
  for (const std::string& remark : made.remarks) {
    if (ranks.speaks() && !run.resume) Say("note: " + remark + "\n");
  }
  const DatasetInfo& info = made.data.train.dataset->info();
  LOCKSTEP_TRY(ranks.CheckSame("the data (" + info.name + ")",
                               fmt::format("{} of {} samples", HexOf(info.content), info.size)));
  if (run.resume)
    LOCKSTEP_TRY(ranks.FromFirst(ranks.speaks() ? ReadProgress(run, made) : Status::Ok()));

  Network& net = *made.network;
  const Schedule schedule = made.options.schedule;
  const std::string recipe_text = made.options.recipe;
  Subset sample = made.data.validation.empty() ? made.data.train : made.data.validation;
  sample.indices.resize(
      std::min(sample.indices.size(), static_cast<size_t>(net.evaluation_batch())));
  Result<std::unique_ptr<Recorder>> made_recorder =
      Recorder::Make({.output = recipe.output,
                      .epochs = recipe.train.epochs,
                      .patience = recipe.train.patience,
                      .keeps_best = made.options.keep_best,
                      .resumed_step = run.resume ? made.resumed_step : -1,
                      .curve = args.curve,
                      .stop = &CatchInterrupts::Requested(),
                      .ranks = &ranks,
                      .sample = std::move(sample),
                      .say = ranks.speaks() ? GoesOn(net, made.data.validation) : nullptr});
  LOCKSTEP_TRY(ranks.Agree(made_recorder.status()));
  Recorder& recorder = **made_recorder;
  made.options.observer = &recorder;
  Result<std::unique_ptr<Trainer>> made_trainer =
      Trainer::Make(net, *made.optimizer, *made.loader, std::move(made.options));
  LOCKSTEP_TRY(ranks.Agree(made_trainer.status()));
  Trainer& trainer = **made_trainer;
  ranks.Watch(recipe.train.give_up_after, [&trainer] { return trainer.step(); });
  if (run.saved) LOCKSTEP_TRY(ranks.Agree(trainer.Resume(run.folder.last())));

  // Nothing stands in the way any more.
  if (!interrupts) interrupts.emplace();
  if (!run.resume) {
    LOCKSTEP_TRY(
        ranks.FromFirst(ranks.speaks() ? MakeFolder(args, recipe_text, run) : Status::Ok()));
    LOCKSTEP_TRY_ASSIGN(run.folder.path, ranks.TextFromFirst(run.folder.path));
  }
  const RunFolder& folder = run.folder;
  LOCKSTEP_TRY(ranks.FromFirst(ranks.speaks() ? Announce(run, made, trainer) : Status::Ok()));
  LOCKSTEP_TRY(recorder.Attach(folder, &trainer, &net));

  const Ended ended = RunToItsEnd(trainer);
  if (!ended.summary.ok() && (!ended.can_be_saved || !ranks.AllAreHere())) {
    // The others are not where this rank is: they end with it, and what was saved last stays.
    if (ranks.size() > 1) return ended.summary.status();
  }
  const Status recorded = ranks.Agree(recorder.End());
  if (!ended.summary.ok() || !recorded.ok()) {
    const bool trained = ended.summary.ok();
    return ranks.FromFirst(AfterFailure(folder, recipe, recorder, trainer,
                                        trained ? recorded : ended.summary.status(),
                                        ended.can_be_saved && recorded.ok(), ranks));
  }
  const TrainingSummary& summary = *ended.summary;
  RunReport report{.folder = folder,
                   .recipe = recipe,
                   .data = made.data,
                   .network = net,
                   .summary = summary,
                   .schedule = schedule,
                   .total_steps = trainer.total_steps(),
                   .batches_per_epoch = made.loader->batches_per_epoch()};
  if (summary.reason == StopReason::kRequested) {
    LOCKSTEP_TRY(ranks.Agree(recorder.SaveAll()));
    return ranks.FromFirst(ranks.speaks() ? SayStopped(run, trainer, recorder, report)
                                          : Status::Ok());
  }
  // All is saved: a signal ends the program now, and --resume comes back to this place.
  interrupts.reset();
  const Status finished =
      ranks.Agree(Finish(folder, net, trainer, made.data, recorder, std::move(report), ranks));
  if (ranks.speaks()) {
    (void)folder.Log(finished.ok() ? StatusName(summary.reason) + std::string(" at step ") +
                                         std::to_string(summary.steps)
                                   : "failed: " + finished.message());
  }
  return finished;
}

}  // namespace lockstep::tools
