// How the named workloads scale over threads, and over ranks where mpirun has started several; and
// what messages between ranks cost by themselves, in the columns of OSU's programs.
//
//   bench_scale                                    three workloads, and messages between two ranks
//                                                  that are threads of this process
//   bench_scale --workloads resnet20_b128 --threads 1,2,4 --strong --weak
//   mpirun -n 2 bench_scale --threads 1            one rank against two; messages over MPI
//   bench_scale --only messages --ranks 4 --sizes 8,1048576 --warm-up 100 --iterations 1000
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "bench/workloads.h"
#include "engine/comm/mpi.h"
#include "engine/comm/thread_ranks.h"
#include "engine/io/file.h"
#include "tools/scale/collectives.h"
#include "tools/scale/counts.h"
#include "tools/scale/experiment.h"
#include "tools/scale/limits.h"
#include "tools/scale/quiet.h"
#include "tools/scale/result_json.h"
#include "tools/scale/result_table.h"

namespace lockstep::inline v0_1::bench {
namespace {

struct Args {
  std::vector<std::string> workloads = {"mlp_wide_b256", "resnet20_b128", "gpt_nano_b12t64"};
  std::string threads{}, only{}, sizes = "8,64,512,4096,32768,262144,1048576,4194304", json{};
  bool strong = false, weak = false;
  int repetitions = 15, ranks = 2;
  double seconds = 3.0;
  scale::CollectiveOptions messages{};
};

Result<std::unique_ptr<scale::TrainingWork>> MakeWork(const Workload& workload,
                                                      const scale::WorkPlace& place) {
  auto context = std::make_unique<Context>(ContextOptions{.threads = place.threads});
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<BoundWorkload> bound, workload.bind(*context, place));
  return scale::TrainingWork::Make(place, {.context = std::move(context),
                                           .network = std::move(bound->network),
                                           .optimizer = std::move(bound->optimizer),
                                           .inputs = bound->inputs});
}

Status MeasureSteps(const Args& args, const Workload& workload, const std::vector<int>& threads,
                    Communicator* communicator, std::string& json) {
  const scale::Subject subject{
      .name = workload.name, .batch = workload.batch, .make = [&](const scale::WorkPlace& place) {
        return MakeWork(workload, place);
      }};
  scale::ScaleResult result{.name = workload.name,
                            .batch = workload.batch,
                            .options = {.repetitions = args.repetitions, .seconds = args.seconds},
                            .machine = scale::MachineFacts()};
  std::vector<int> ranks = {1};
  if (communicator != nullptr) ranks.push_back(communicator->size());
  const bool strong = args.strong || !args.weak;
  result.points = PlanPoints(subject, threads, ranks, strong, args.weak);
  const auto alone = [&]() -> Status {
    LOCKSTEP_TRY(MeasurePoints(subject, result.options, nullptr, result.points));
    return MeasureLimits(subject, threads, result);
  };
  if (communicator == nullptr) {
    LOCKSTEP_TRY(alone());
  } else {
    LOCKSTEP_TRY(scale::OnFirstRankAlone(*communicator, alone));
    LOCKSTEP_TRY(MeasurePoints(subject, result.options, communicator, result.points));
    if (communicator->rank() > 0) return Status::Ok();
  }
  if (strong) result.curves.push_back(CurveOf(scale::Mode::kStrong, result.points));
  if (args.weak) result.curves.push_back(CurveOf(scale::Mode::kWeak, result.points));
  fmt::print("{}\n", TableText(result));
  json += (json.empty() ? "" : ",\n") + scale::JsonText(result);
  return Status::Ok();
}

Status TimeMessages(const Args& args, const std::vector<int>& sizes, const std::string& between,
                    Communicator& communicator) {
  for (const scale::Collective collective : scale::kCollectives) {
    std::vector<scale::CollectiveTime> times;
    for (const int bytes : sizes) {
      LOCKSTEP_TRY_ASSIGN(const scale::CollectiveTime time,
                          TimeCollective(communicator, collective, bytes, args.messages));
      times.push_back(time);
    }
    if (communicator.rank() > 0) continue;
    fmt::print("{}\n", scale::OsuText(fmt::format("Lockstep {}, {} {}; {} iterations after {}",
                                                  NameOf(collective), communicator.size(), between,
                                                  args.messages.iterations, args.messages.warm_up),
                                      times));
  }
  return Status::Ok();
}

Status Run(const Args& args, MpiSession* session) {
  std::vector<int> threads = scale::DoublingUpTo(AvailableThreads());
  if (!args.threads.empty()) {
    LOCKSTEP_TRY_ASSIGN(threads, scale::ParseCounts("--threads", args.threads));
  }
  LOCKSTEP_TRY_ASSIGN(const std::vector<int> sizes,
                      scale::ParseCounts("--sizes", args.sizes, 1 << 30));
  std::vector<Workload> workloads;
  for (const std::string& name : args.workloads) {
    const std::vector<Workload> all = AllWorkloads();
    const auto found = std::find_if(
        all.begin(), all.end(), [&](const Workload& workload) { return workload.name == name; });
    if (found == all.end()) {
      std::string names;
      for (const Workload& one : all) names += " " + one.name;
      return Status::NotFound("there is no workload " + Quoted(name) + "; there are" + names);
    }
    workloads.push_back(*found);
  }
  Communicator* const communicator = session == nullptr ? nullptr : &session->communicator();
  std::string json;
  if (args.only != "messages") {
    for (const Workload& workload : workloads)
      LOCKSTEP_TRY(MeasureSteps(args, workload, threads, communicator, json));
  }
  if (args.only != "steps" && communicator != nullptr) {
    LOCKSTEP_TRY(TimeMessages(args, sizes, "ranks over " + session->library(), *communicator));
  } else if (args.only != "steps" && args.ranks > 1) {
    std::vector<Status> ended(static_cast<size_t>(args.ranks));
    ThreadRanks::Run(args.ranks, [&](Communicator& one) {
      ended[static_cast<size_t>(one.rank())] =
          TimeMessages(args, sizes, "ranks that are threads", one);
    });
    for (const Status& status : ended) LOCKSTEP_TRY(status);
  }
  const bool first = communicator == nullptr || communicator->rank() == 0;
  if (!args.json.empty() && first)
    LOCKSTEP_TRY(WriteFileAtomically(args.json, "[\n" + json + "]\n"));
  return Status::Ok();
}

int Main(int argc, char** argv) {
  Args args;
  CLI::App app("How the named workloads scale, and what messages between ranks cost.");
  app.add_option("--workloads", args.workloads, "names, as bench_train has them")->delimiter(',');
  app.add_option("--threads", args.threads, "as in 1,2,4 (doubling, up to what may be used)");
  app.add_flag("--strong", args.strong, "the same batch everywhere (the default)");
  app.add_flag("--weak", args.weak, "a batch that grows with threads times ranks");
  app.add_option("--repetitions", args.repetitions, "rounds of steps (15)")
      ->check(CLI::Range(1, 10000));
  app.add_option("--seconds", args.seconds, "of steps, for each point (3)")
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--only", args.only, "steps or messages")
      ->check(CLI::IsMember({"steps", "messages"}));
  app.add_option("--ranks", args.ranks, "threads between which messages go, without mpirun (2)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--sizes", args.sizes, "bytes of messages");
  app.add_option("--warm-up", args.messages.warm_up, "messages before those that count (20)")
      ->check(CLI::Range(0, 1000000));
  app.add_option("--iterations", args.messages.iterations, "messages that count (100)")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--json", args.json, "a file for every measured number of the steps");
  CLI11_PARSE(app, argc, argv);
  Status status;
  if (MpiLauncherSize() > 1) {
    const auto session = MpiSession::Start();
    status = session.ok() ? Run(args, session->get()) : session.status();
    if (session.ok() && !status.ok()) (*session)->Abort("bench_scale: " + status.message(), 1);
  } else {
    status = Run(args, nullptr);
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_scale: %s\n", status.message().c_str());
  return 1;
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) {
  try {
    return lockstep::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_scale: internal error: %s\n", error.what());
    return 1;
  }
}
