#include "tools/command/run_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "engine/io/file.h"
#include "engine/io/text.h"
#include "tools/command/live_line.h"
#include "tools/command/resume.h"
#include "tools/command/set_summary.h"

namespace lockstep::inline v0_1::tools {
namespace {

std::vector<int64_t> SeedsOf(const Recipe& recipe) {
  return recipe.train.seeds.empty() ? std::vector<int64_t>{recipe.train.seed} : recipe.train.seeds;
}

bool HasTwice(std::vector<int64_t> seeds) {
  std::sort(seeds.begin(), seeds.end());
  return std::adjacent_find(seeds.begin(), seeds.end()) != seeds.end();
}

// The folder of the set, on rank 0: made, or as it was begun.
Status OpenFolder(const TrainArgs& args, WhichRun& run) {
  if (!run.resume) {
    LOCKSTEP_TRY_ASSIGN(
        RunFolder::Made made,
        RunFolder::Create(run.recipe.output.folder, args.recipe, PrintRecipe(run.recipe)));
    run.folder = std::move(made.folder);
    run.lock.emplace(std::move(made.lock));
    return run.folder.Log("begins");
  }
  LOCKSTEP_TRY_ASSIGN(const Recipe before, LoadRecipe(run.folder.recipe()));
  LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> changes,
                      ChangesSince(before, run.recipe, run.folder));
  if (!changes.empty())
    LOCKSTEP_TRY(WriteFileAtomically(run.folder.recipe(), PrintRecipe(run.recipe)));
  return run.folder.Log("goes on");
}

// The data of the first run, before anything is written. Folds that cannot be are found with
// whichever of them is held back.
Status PrepareFirst(Recipe recipe, const Ranks& ranks, SetData& data) {
  data.fold = recipe.data.folds > 0 ? std::max<int64_t>(1, recipe.data.fold) : 0;
  recipe.data.fold = data.fold;
  PrepareOptions options{.repeated_rows = ranks.speaks()};
  if (ranks.speaks()) options.progress = SayReading();
  LOCKSTEP_TRY_ASSIGN(data.prepared, PrepareData(recipe, std::move(options)));
  return Status::Ok();
}

Status TrainMember(const TrainArgs& args, const WhichRun& set, const SetMember& member,
                   Ranks& ranks, SetData& data) {
  TrainArgs one{.recipe = set.folder.recipe(), .auto_resume = true, .curve = args.curve};
  if (set.resume) one.overrides = set.overrides;
  one.overrides.push_back("data.fold=" + std::to_string(member.fold));
  one.overrides.push_back("train.seed=" + std::to_string(member.seed));
  one.overrides.push_back("train.seeds=[]");
  one.overrides.push_back("output.folder=" + JsonString(set.folder.path + "/" + member.name));
  const Status status = Train(one, ranks, &data);
  if (status.ok()) return status;
  return Status(status.code(), member.name + ": " + status.message() + "; " +
                                   ResumeCommand(set.folder) + " goes on with all that are left");
}

}  // namespace

bool IsSet(const Recipe& recipe) {
  return (recipe.data.folds > 0 && recipe.data.fold == 0) || !recipe.train.seeds.empty();
}

Result<std::vector<int64_t>> SeedsFrom(const std::string& text, int64_t first) {
  const Status wrong = Status::Invalid(
      "--seeds takes how many, as in --seeds 3, or a list of them, as in --seeds 1,2,5; not " +
      Quoted(text));
  std::vector<int64_t> seeds;
  for (std::string_view rest = text;;) {
    const size_t comma = std::min(rest.find(','), rest.size());
    int64_t seed = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + comma, seed);
    if (error != std::errc() || end != rest.data() + comma || seed < 0) return wrong;
    seeds.push_back(seed);
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  if (seeds.size() == 1) {
    const int64_t count = seeds[0];
    constexpr int64_t kMost = 10000;
    if (count < 1 || count > kMost) return wrong;
    seeds.clear();
    for (int64_t i = 0; i < count; ++i) seeds.push_back(first + i);
  }
  if (HasTwice(seeds)) return Status::Invalid("--seeds " + text + ": a seed comes twice");
  return seeds;
}

std::vector<SetMember> MembersOf(const Recipe& recipe) {
  const bool folds = recipe.data.folds > 0 && recipe.data.fold == 0;
  const std::vector<int64_t> seeds = SeedsOf(recipe);
  std::vector<SetMember> members;
  for (int64_t fold = 1; fold <= (folds ? recipe.data.folds : 1); ++fold) {
    for (const int64_t seed : seeds) {
      const std::string of_fold = folds ? "fold-" + std::to_string(fold) : "";
      const std::string of_seed = recipe.train.seeds.empty() ? "" : "seed-" + std::to_string(seed);
      members.push_back({.fold = folds ? fold : recipe.data.fold,
                         .seed = seed,
                         .name = of_fold + (folds && !of_seed.empty() ? "-" : "") + of_seed});
    }
  }
  return members;
}

Status TrainSet(const TrainArgs& args, WhichRun run, Ranks& ranks) {
  const Recipe& recipe = run.recipe;
  if (!args.digest.empty()) {
    return ranks.Agree(Status::Invalid(
        "--digest is of one run: data.fold=1 train.seeds=[] trains one of a set alone"));
  }
  if (HasTwice(recipe.train.seeds))
    return ranks.Agree(Status::Invalid("train.seeds: a seed comes twice"));
  SetData data;
  if (!run.resume) LOCKSTEP_TRY(ranks.Agree(PrepareFirst(recipe, ranks, data)));
  LOCKSTEP_TRY(ranks.FromFirst(ranks.speaks() ? OpenFolder(args, run) : Status::Ok()));
  LOCKSTEP_TRY_ASSIGN(run.folder.path, ranks.TextFromFirst(run.folder.path));

  const std::vector<SetMember> members = MembersOf(recipe);
  for (size_t i = 0; i < members.size(); ++i) {
    if (ranks.speaks())
      Say(fmt::format("-- run {} of {}: {}\n", i + 1, members.size(), members[i].name));
    LOCKSTEP_TRY(TrainMember(args, run, members[i], ranks, data));
  }
  return ranks.FromFirst(ranks.speaks() ? SumUp(run.folder, recipe, members) : Status::Ok());
}

}  // namespace lockstep::tools
