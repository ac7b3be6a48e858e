// lockstep scale: what threads and ranks bring to a recipe's training step.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/comm/mpi.h"
#include "engine/io/file.h"
#include "models/recipe.h"
#include "models/recipe_prepare.h"
#include "tools/command/commands.h"
#include "tools/command/ranks.h"
#include "tools/command/recipe_subject.h"
#include "tools/command/scale_ranks.h"
#include "tools/command/version.h"
#include "tools/report/scale_page.h"
#include "tools/scale/counts.h"
#include "tools/scale/energy.h"
#include "tools/scale/experiment.h"
#include "tools/scale/limits.h"
#include "tools/scale/network_probe.h"
#include "tools/scale/placement.h"
#include "tools/scale/quiet.h"
#include "tools/scale/result_json.h"
#include "tools/scale/result_lines.h"
#include "tools/scale/result_table.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Clock = std::chrono::system_clock;

// Where nothing was measured between ranks: a network of 100 Gbit/s as MPI sees it.
scale::NetworkCost AssumedNetwork() {
  return {
      .latency_seconds = 2e-6, .bytes_per_second = 10e9, .source = "assumed; --network sets it"};
}

// What was asked for, once the words of the command line are known to make sense.
struct Wanted {
  std::vector<int> threads{}, ranks{};
  bool strong = true, weak = false;
  std::optional<scale::NetworkCost> network{};
};

Result<Wanted> WantedOf(const ScaleArgs& args, int launched) {
  Wanted wanted;
  wanted.strong = args.strong || !args.weak;
  wanted.weak = args.weak;
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
  if (launched == 1 && wanted.ranks.back() > 1) LOCKSTEP_TRY(CheckLauncher(args.launcher));
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

// One measurement: of a process that is alone, or of each of several ranks.
class Scaling {
 public:
  Scaling(const ScaleArgs& args, Ranks& ranks) : args_(args), ranks_(ranks), start_(Clock::now()) {}

  Status Run() {
    LOCKSTEP_TRY(ranks_.Agree(Prepare()));
    if (!args_.worker.empty()) return RunAsWorker();
    result_.notes = NotesOn(args_, wanted_, recipe_, data_, result_.points);
    if (first()) {
      for (const std::string& note : result_.notes) Progress("note: " + note);
      Progress(
          fmt::format("measuring {} points, {:.3g} s each", result_.points.size(), args_.seconds));
    }
    LOCKSTEP_TRY(Alone([&]() -> Status {
      LOCKSTEP_TRY(MeasurePoints(subject_, result_.options, nullptr, result_.points));
      return MeasureLimits(subject_, wanted_.threads, result_);
    }));
    if (communicator() != nullptr) {
      LOCKSTEP_TRY_ASSIGN(const scale::RankReport report, MeasureRanks());
      TakeFrom(report, communicator()->size());
    } else {
      LOCKSTEP_TRY(LaunchAll());
    }
    if (args_.predict > 0) LOCKSTEP_TRY(Alone([&] { return AddPrediction(); }));
    return first() ? Finish() : Status::Ok();
  }

 private:
  // What each rank can do by itself.
  Status Prepare() {
    LOCKSTEP_TRY_ASSIGN(wanted_, WantedOf(args_, ranks_.size()));
    if (!args_.worker.empty() && communicator() == nullptr) {
      return Status::Invalid(
          "--worker is for ranks that lockstep scale --ranks has started, and this is none");
    }
    LOCKSTEP_TRY_ASSIGN(recipe_, LoadRecipe(args_.recipe, args_.overrides));
    LOCKSTEP_TRY_ASSIGN(PreparedData prepared, PrepareData(recipe_));
    data_ = std::move(prepared.data);
    recipe_.loss = std::move(prepared.loss);
    subject_ = RecipeSubject(recipe_, data_, std::filesystem::path(args_.recipe).stem().string(),
                             args_.loading);
    result_ = {
        .name = subject_.name,
        .started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(Clock::to_time_t(start_))),
        .batch = subject_.batch,
        .loading = args_.loading,
        .options = {.repetitions = static_cast<int>(args_.repetitions), .seconds = args_.seconds},
        .machine = scale::MachineFacts()};
    result_.points =
        PlanPoints(subject_, wanted_.threads, wanted_.ranks, wanted_.strong, wanted_.weak);
    network_ = wanted_.network;
    return Status::Ok();
  }

  // Null where there is one rank only, whoever started it.
  Communicator* communicator() const {
    return ranks_.size() == 1 ? nullptr : ranks_.communicator();
  }
  bool first() const { return ranks_.speaks(); }

  // On standard error, so that what is printed can be piped.
  void Progress(const std::string& text) const {
    if (args_.format == "table") std::fprintf(stderr, "%s\n", text.c_str());
  }

  Status Alone(const std::function<Status()>& body) {
    return communicator() == nullptr ? body() : scale::OnFirstRankAlone(*communicator(), body);
  }

  // The points of all ranks together.
  Result<scale::RankReport> MeasureRanks() {
    LOCKSTEP_TRY(MeasurePoints(subject_, result_.options, communicator(), result_.points));
    scale::RankReport report{.mpi = ranks_.mpi()};
    for (const scale::ScalePoint& point : result_.points) {
      if (point.ranks == communicator()->size()) report.points.push_back(point);
    }
    LOCKSTEP_TRY_ASSIGN(report.network, scale::MeasureNetwork(*communicator()));
    LOCKSTEP_TRY_ASSIGN(const std::vector<std::string> places,
                        scale::GatherPlacement(*communicator()));
    report.placement = scale::PlacementText(places);
    return report;
  }

  Status RunAsWorker() {
    LOCKSTEP_TRY_ASSIGN(const scale::RankReport report, MeasureRanks());
    return first() ? WriteFileAtomically(args_.worker, scale::JsonText(report)) : Status::Ok();
  }

  void TakeFrom(const scale::RankReport& report, int ranks) {
    mpi_ = report.mpi;
    if (!network_) network_ = report.network;
    result_.machine.push_back({fmt::format("{} ranks", ranks), report.placement});
  }

  Status LaunchAll() {
    ScaleArgs args = args_;
    args.threads.clear();
    for (const int threads : wanted_.threads)
      args.threads += (args.threads.empty() ? "" : ",") + std::to_string(threads);
    for (const int ranks : wanted_.ranks) {
      if (ranks == 1) continue;
      Progress(fmt::format("starting {} ranks", ranks));
      LOCKSTEP_TRY_ASSIGN(const scale::RankReport report, LaunchRanks(args, ranks));
      size_t next = 0;
      for (scale::ScalePoint& point : result_.points) {
        if (point.ranks != ranks) continue;
        if (next == report.points.size() || report.points[next].batch != point.batch)
          return Status::Corrupt(fmt::format("{} ranks measured other points than these", ranks));
        point.timing = report.points[next++].timing;
      }
      TakeFrom(report, ranks);
    }
    return Status::Ok();
  }

  Status AddPrediction() {
    if (!network_) network_ = AssumedNetwork();
    LOCKSTEP_TRY_ASSIGN(const scale::StepModel model,
                        MeasureStepModel(subject_, result_.layers.back(), result_.options));
    result_.prediction = Predict(model, *network_, static_cast<int>(args_.predict), subject_.batch);
    CheckPrediction(result_.points, AvailableThreads(), *result_.prediction);
    return Status::Ok();
  }

  Status Finish() {
    if (wanted_.strong) result_.curves.push_back(CurveOf(scale::Mode::kStrong, result_.points));
    if (wanted_.weak) result_.curves.push_back(CurveOf(scale::Mode::kWeak, result_.points));
    AddProgramFacts(mpi_, result_.machine);
    const auto wide = std::count_if(result_.points.begin(), result_.points.end(),
                                    [&](const auto& point) { return result_.unstable(point); });
    if (wide > 0 && args_.repetitions >= 6) {
      result_.notes.push_back(fmt::format(
          "{} of {} points are unstable: the interval of their median is wider than {:.0f} % of "
          "it; a quieter machine, or more --seconds, makes it narrower",
          wide, result_.points.size(), result_.options.widest * 100.0));
    }
    result_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    const auto since =
        std::chrono::duration_cast<std::chrono::milliseconds>(start_.time_since_epoch());
    return WriteOutputs(args_, result_, since.count());
  }

  const ScaleArgs& args_;
  Ranks& ranks_;
  Clock::time_point start_;
  Wanted wanted_;
  Recipe recipe_;
  RecipeData data_;
  scale::Subject subject_;
  scale::ScaleResult result_;
  std::optional<scale::NetworkCost> network_;
  std::string mpi_ = ranks_.mpi();
};

}  // namespace

Status RunScale(const ScaleArgs& args, Ranks& ranks) { return Scaling(args, ranks).Run(); }

}  // namespace lockstep::tools
