#include "tools/command/which_run.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "engine/io/file.h"
#include "tools/command/resume.h"
#include "tools/command/run_set.h"
#include "tools/report/run_report.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr const char* kFolderKey = "output.folder=";

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// Overrides may stand where the recipe would: --resume RUN train.epochs=40.
Result<std::vector<std::string>> OverridesOf(const TrainArgs& args) {
  std::vector<std::string> overrides = args.overrides;
  if (args.resume.empty()) return overrides;
  if (args.auto_resume)
    return Status::Invalid("--resume names a run; --auto-resume takes a recipe and finds it");
  if (args.recipe.find('=') != std::string::npos) {
    overrides.insert(overrides.begin(), args.recipe);
  } else if (!args.recipe.empty()) {
    return Status::Invalid("--resume takes the run's own recipe: give no other, but key=value");
  }
  // Its own folder may be named.
  std::erase_if(overrides, [&](const std::string& one) {
    std::error_code ignored;
    return one.starts_with(kFolderKey) &&
           std::filesystem::equivalent(one.substr(std::string_view(kFolderKey).size()), args.resume,
                                       ignored);
  });
  for (const std::string& one : overrides) {
    if (one.starts_with(kFolderKey)) {
      return Status::Invalid("a run stays in its folder " + args.resume +
                             ": --resume takes no other output.folder; move the folder itself");
    }
  }
  return overrides;
}

// --folds and --seeds as the keys that they stand for.
Status AddSetKeys(const TrainArgs& args, WhichRun& run) {
  if (args.folds == 0 && args.seeds.empty()) return Status::Ok();
  if (run.resume) {
    return Status::Invalid(
        "--folds and --seeds begin a set of runs; --resume goes on with the one that it names");
  }
  if (args.folds > 0) run.overrides.push_back("data.folds=" + std::to_string(args.folds));
  if (args.seeds.empty()) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(const Recipe recipe, LoadRecipe(args.recipe, run.overrides));
  LOCKSTEP_TRY_ASSIGN(const std::vector<int64_t> seeds, SeedsFrom(args.seeds, recipe.train.seed));
  std::string list;
  for (const int64_t seed : seeds) list += (list.empty() ? "" : ", ") + std::to_string(seed);
  run.overrides.push_back("train.seeds=[" + list + "]");
  return Status::Ok();
}

Result<WhichRun> ReadRecipe(const TrainArgs& args) {
  WhichRun run;
  run.resume = !args.resume.empty();
  run.folder.path = args.resume;
  LOCKSTEP_TRY_ASSIGN(run.overrides, OverridesOf(args));
  LOCKSTEP_TRY(AddSetKeys(args, run));
  LOCKSTEP_TRY_ASSIGN(run.recipe,
                      LoadRecipe(run.resume ? run.folder.recipe() : args.recipe, run.overrides));
  if (args.auto_resume && run.recipe.output.folder.empty()) {
    return Status::Invalid(
        "--auto-resume finds a run by its folder: say output.folder=FOLDER, or in the recipe");
  }
  return run;
}

// Whether the run came to its own end, and is not given more epochs now.
bool HasEnded(const RunFolder& folder, const Recipe& recipe) {
  const Result<std::string> text = ReadFile(folder.summary(), int64_t{1} << 24);
  if (!text.ok()) return false;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("status") || !json.at("status").is_string()) return false;
  const auto status = json.at("status").get<std::string>();
  if (status != StatusName(StopReason::kCompleted) &&
      status != StatusName(StopReason::kEarlyStopped))
    return false;
  const Result<Recipe> before = LoadRecipe(folder.recipe());
  return before.ok() && recipe.train.epochs <= before->train.epochs;
}

Status Lock(WhichRun& run) {
  const RunFolder& folder = run.folder;
  LOCKSTEP_TRY_ASSIGN(FolderLock taken, FolderLock::Take(folder.path));
  run.lock.emplace(std::move(taken));
  // Killed before its first checkpoint, a run has a recipe and nothing else.
  run.saved = Exists(folder.last());
  if (IsSet(run.recipe)) return Status::Ok();  // each of its runs has checkpoints
  LOCKSTEP_TRY(CheckMayGoOn(folder, run.recipe, run.overrides));
  if (run.saved || !Exists(folder.summary()) || IsMarkedNotFinite(folder)) return Status::Ok();
  return Status::Invalid(folder.path +
                         " is a finished run without a checkpoint to go on from: start a new one");
}

}  // namespace

Result<WhichRun> ChooseRun(const TrainArgs& args, Ranks& ranks) {
  Result<WhichRun> run = ReadRecipe(args);
  LOCKSTEP_TRY(ranks.Agree(run.status()));
  if (args.auto_resume) {
    // As rank 0 sees the folder.
    const RunFolder folder{run->recipe.output.folder};
    std::string seen = "new";
    if (ranks.speaks() && Exists(folder.recipe()))
      seen = HasEnded(folder, run->recipe) ? "ended" : "begun";
    LOCKSTEP_TRY_ASSIGN(seen, ranks.TextFromFirst(seen));
    if (seen == "ended") {
      run->folder = folder;
      run->finished = true;
      return run;
    }
    if (seen == "begun") {
      TrainArgs resume = args;
      resume.auto_resume = false;
      resume.recipe.clear();
      resume.resume = folder.path;
      resume.overrides = run->overrides;  // with --folds and --seeds
      resume.folds = 0;
      resume.seeds.clear();
      std::erase_if(resume.overrides,
                    [](const std::string& one) { return one.starts_with(kFolderKey); });
      run = ReadRecipe(resume);
      LOCKSTEP_TRY(ranks.Agree(run.status()));
    }
  }
  if (!run->resume) return run;
  LOCKSTEP_TRY(ranks.FromFirst(ranks.speaks() ? Lock(*run) : Status::Ok()));
  LOCKSTEP_TRY_ASSIGN(const std::string saved, ranks.TextFromFirst(run->saved ? "saved" : ""));
  run->saved = !saved.empty();
  return run;
}

}  // namespace lockstep::tools
