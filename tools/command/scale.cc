// lockstep scale: what threads and ranks bring to a recipe's training step.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/comm/mpi.h"
#include "engine/io/file.h"
#include "models/recipe.h"
#include "tools/command/commands.h"
#include "tools/command/recipe_subject.h"
#include "tools/command/run_folder.h"
#include "tools/command/scale_ranks.h"
#include "tools/command/version.h"
#include "tools/report/scale_page.h"
#include "tools/scale/counts.h"
#include "tools/scale/energy.h"
#include "tools/scale/experiment.h"
#include "tools/scale/limits.h"
#include "tools/scale/network_probe.h"
#include "tools/scale/quiet.h"
#include "tools/scale/result_json.h"
#include "tools/scale/result_lines.h"
#include "tools/scale/result_table.h"

namespace lockstep::tools {
namespace {

using Clock = std::chrono::system_clock;

// Where nothing was measured between ranks: a network of 100 Gbit/s as MPI sees it.
constexpr scale::NetworkCost kAssumedNetwork{.latency_seconds = 2e-6, .bytes_per_second = 10e9};

// What was asked for, once the words of the command line are known to make sense.
struct Wanted {
  std::vector<int> threads, ranks;
  bool strong = true, weak = false;
  std::optional<scale::NetworkCost> network;
};

Result<Wanted> WantedOf(const ScaleArgs& args, int launched) {
  Wanted wanted{.strong = args.strong || !args.weak, .weak = args.weak};
  if (args.threads.empty()) {
    wanted.threads = scale::DoublingUpTo(AvailableThreads());
  } else {
    LOCKSTEP_TRY_ASSIGN(wanted.threads, scale::ParseCounts("--threads", args.threads));
  }
  LOCKSTEP_TRY_ASSIGN(wanted.ranks, scale::ParseCounts("--ranks", args.ranks));
  if (launched > 1 && args.worker.empty()) {
    const std::vector<int> here = {1, launched};
    if (args.ranks != "1" && wanted.ranks != here && wanted.ranks != std::vector<int>{launched}) {
      return Status::Invalid(
          fmt::format("{} ranks were started, so that many and one can be measured: leave --ranks "
                      "out, or start "
                      "without {} and let --ranks start what it needs",
                      launched, MpiLauncher()));
    }
    wanted.ranks = here;
  }
  if (!args.network.empty()) {
    LOCKSTEP_TRY_ASSIGN(wanted.network, scale::ParseNetwork(args.network));
  }
  if (!args.worker.empty()) return wanted;
  LOCKSTEP_TRY(LauncherWords(args.launcher, 1).status());
  return wanted;
}

// What the reader must know before anything is measured; also said at once.
std::vector<std::string> NotesOn(const ScaleArgs& args, const Wanted& wanted, const Recipe& recipe,
                                 const RecipeData& data,
                                 const std::vector<scale::ScalePoint>& points) {
  std::vector<std::string> notes = data.remarks;
  const int cores = AvailableThreads();
  const int most = wanted.threads.back() * wanted.ranks.back();
  if (most > cores) {
    notes.push_back(fmt::format(
        "MORE THREADS THAN CORES: up to {} on the {} that this process may use; points beyond {} "
        "say what crowding costs, not what further cores would bring",
        most, cores, cores));
  }
  if (scale::IntervalRank(args.repetitions) == 1 && args.repetitions < 6) {
    notes.push_back(
        fmt::format("{} rounds are too few for a 95 % interval (6 are enough): every point is "
                    "marked unstable",
                    args.repetitions));
  }
  int64_t largest = 0;
  for (const scale::ScalePoint& point : points) {
    largest = std::max(largest, point.batch);
    if (point.shards != recipe.train.shards) {
      notes.push_back(fmt::format(
          "{} need train.shards = {}, the recipe says {}: they sum in another order, as quickly",
          PlaceName(point), point.shards, recipe.train.shards));
    }
  }
  notes.erase(std::unique(notes.begin(), notes.end()), notes.end());
  const auto samples = static_cast<int64_t>(data.train.indices.size());
  if (largest > samples) {
    notes.push_back(fmt::format("batches of {} repeat the {} training samples", largest, samples));
  }
  if (wanted.ranks.back() > 1 && args.worker.empty()) {
    notes.push_back(
        "points of several ranks were measured in a launch of their own, not in turns with the "
        "others");
  }
  return notes;
}

void AddProgramFacts(const std::string& mpi, std::vector<scale::Fact>& facts) {
  facts.push_back({"MPI", mpi.empty() ? "not used" : mpi});
  facts.push_back(
      {"energy", scale::EnergyMeter().available() ? "RAPL, all packages" : scale::kUnavailable});
  facts.push_back({"program", fmt::format("commit {}, {}", Commit(), Compiler())});
}

Status WriteOutputs(const ScaleArgs& args, const scale::ScaleResult& result,
                    int64_t start_milliseconds) {
  const std::string json = scale::JsonText(result), csv = scale::CsvText(result),
                    reframe = scale::ReframeText(result),
                    mllog = scale::MllogText(result, start_milliseconds);
  const std::string folder = args.out.empty() ? "runs/scale_" + result.name : args.out;
  LOCKSTEP_TRY(CreateFolders(folder));
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/index.html", ScalePage(result)));
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/scale.json", json));
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/scale.csv", csv));
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/scale.reframe", reframe));
  LOCKSTEP_TRY(WriteFileAtomically(folder + "/scale.mllog", mllog));
  if (!args.json.empty()) LOCKSTEP_TRY(WriteFileAtomically(args.json, json));
  if (!args.csv.empty()) LOCKSTEP_TRY(WriteFileAtomically(args.csv, csv));
  if (args.format == "table") {
    fmt::print(
        "{}\n{}/index.html has the plots; scale.json, .csv, .reframe and .mllog are beside "
        "it\n",
        TableText(result), folder);
  } else {
    fmt::print("{}", args.format == "json"      ? json
                     : args.format == "csv"     ? csv
                     : args.format == "reframe" ? reframe
                                                : mllog);
  }
  return Status::Ok();
}

// On standard error, so that what is printed can be piped.
void Progress(const ScaleArgs& args, const std::string& text) {
  if (args.format == "table" && args.worker.empty()) std::fprintf(stderr, "%s\n", text.c_str());
}

}  // namespace

Status RunScale(const ScaleArgs& given) {
  ScaleArgs args = given;
  const auto start = Clock::now();
  const int launched = MpiLauncherSize();
  LOCKSTEP_TRY_ASSIGN(const Wanted wanted, WantedOf(args, launched));
  LOCKSTEP_TRY_ASSIGN(Recipe recipe, LoadRecipe(args.recipe, args.overrides));
  recipe.model.weights = ModelFile(recipe.model.weights);
  std::unique_ptr<MpiSession> session;
  if (launched > 1) {
    LOCKSTEP_TRY_ASSIGN(session, MpiSession::Start());
  }
  Communicator* const communicator = session == nullptr ? nullptr : &session->communicator();
  const bool first = communicator == nullptr || communicator->rank() == 0;

  LOCKSTEP_TRY_ASSIGN(const RecipeData data, LoadData(recipe));
  const scale::Subject subject =
      RecipeSubject(recipe, data, std::filesystem::path(args.recipe).stem().string(), args.loading);
  scale::ScaleResult result{
      .name = subject.name,
      .started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(Clock::to_time_t(start))),
      .batch = subject.batch,
      .loading = args.loading,
      .options = {.repetitions = static_cast<int>(args.repetitions), .seconds = args.seconds},
      .machine = scale::MachineFacts()};
  result.points = PlanPoints(subject, wanted.threads, wanted.ranks, wanted.strong, wanted.weak);
  std::optional<scale::NetworkCost> network = wanted.network;
  std::string library = session == nullptr ? "" : session->library();

  if (!args.worker.empty()) {
    if (communicator == nullptr) {
      return Status::Invalid(
          "--worker is for ranks that lockstep scale --ranks has started, and this is none");
    }
    LOCKSTEP_TRY(MeasurePoints(subject, result.options, communicator, result.points));
    std::erase_if(result.points, [&](const scale::ScalePoint& point) {
      return point.ranks != communicator->size();
    });
    LOCKSTEP_TRY_ASSIGN(const scale::NetworkCost measured, MeasureNetwork(*communicator));
    if (!first) return Status::Ok();
    return WriteFileAtomically(
        args.worker, scale::JsonText(scale::RankReport{result.points, measured, library}));
  }

  result.notes = NotesOn(args, wanted, recipe, data, result.points);
  if (first) {
    for (const std::string& note : result.notes) Progress(args, "note: " + note);
    Progress(args,
             fmt::format("measuring {} points, {:.3g} s each", result.points.size(), args.seconds));
  }
  const auto alone = [&]() -> Status {
    LOCKSTEP_TRY(MeasurePoints(subject, result.options, nullptr, result.points));
    return MeasureLimits(subject, wanted.threads, result);
  };
  if (communicator != nullptr) {
    LOCKSTEP_TRY(scale::OnFirstRankAlone(*communicator, alone));
    LOCKSTEP_TRY(MeasurePoints(subject, result.options, communicator, result.points));
    LOCKSTEP_TRY_ASSIGN(const scale::NetworkCost measured, MeasureNetwork(*communicator));
    if (!network) network = measured;
  } else {
    LOCKSTEP_TRY(alone());
    std::sort(result.points.begin(), result.points.end(),
              [](const auto& a, const auto& b) { return a.ranks < b.ranks; });
    args.threads.clear();
    for (const int threads : wanted.threads)
      args.threads += (args.threads.empty() ? "" : ",") + std::to_string(threads);
    for (const int ranks : wanted.ranks) {
      if (ranks == 1) continue;
      Progress(args, fmt::format("starting {} ranks", ranks));
      LOCKSTEP_TRY_ASSIGN(const scale::RankReport report, LaunchRanks(args, ranks));
      library = report.library;
      if (!network) network = report.network;
      size_t next = 0;
      for (scale::ScalePoint& point : result.points) {
        if (point.ranks != ranks) continue;
        if (next == report.points.size() || report.points[next].batch != point.batch)
          return Status::Corrupt(fmt::format("{} ranks measured other points than these", ranks));
        point.timing = report.points[next++].timing;
      }
    }
  }
  if (args.predict > 0) {
    if (!network) network = kAssumedNetwork, network->source = "assumed; --network sets it";
    const auto measure = [&]() -> Status {
      LOCKSTEP_TRY_ASSIGN(const scale::StepModel model,
                          MeasureStepModel(subject, result.layers.back(), result.options));
      result.prediction = Predict(model, *network, static_cast<int>(args.predict), subject.batch);
      CheckPrediction(result.points, AvailableThreads(), *result.prediction);
      return Status::Ok();
    };
    LOCKSTEP_TRY(communicator == nullptr ? measure()
                                         : scale::OnFirstRankAlone(*communicator, measure));
  }
  if (!first) return Status::Ok();
  if (wanted.strong) result.curves.push_back(CurveOf(scale::Mode::kStrong, result.points));
  if (wanted.weak) result.curves.push_back(CurveOf(scale::Mode::kWeak, result.points));
  AddProgramFacts(library, result.machine);
  const auto wide = std::count_if(result.points.begin(), result.points.end(),
                                  [&](const auto& point) { return result.unstable(point); });
  if (wide > 0 && args.repetitions >= 6) {
    result.notes.push_back(fmt::format(
        "{} of {} points are unstable: the interval of their median is wider than {:.0f} % of it; "
        "a quieter machine, or more --seconds, makes it narrower",
        wide, result.points.size(), result.options.widest * 100.0));
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const auto start_milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(start.time_since_epoch()).count();
  return WriteOutputs(args, result, start_milliseconds);
}

}  // namespace lockstep::tools
