#include "tools/scale/limits.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tools/scale/layer_clock.h"

namespace lockstep::inline v0_1::scale {

Result<LayerTable> MeasureLayers(const Subject& subject, int threads, const Peaks& peaks,
                                 const MeasureOptions& options) {
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<TrainingWork> work,
      subject.make({.threads = threads, .batch = subject.batch, .shards = subject.shards}));
  for (int i = 0; i < std::max(1, options.warm_up); ++i) LOCKSTEP_TRY(work->Step());
  LayerClock clock;
  std::vector<double> steps;
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds_since = [](std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  // As many passes as rounds, and more for as long as a point is measured.
  for (int pass = 0;
       pass < options.repetitions || (pass < 1000 && seconds_since(begin) < options.seconds);
       ++pass) {
    const auto start = std::chrono::steady_clock::now();
    clock.StartPass();
    LOCKSTEP_TRY(work->Step(&clock));
    steps.push_back(seconds_since(start));
  }
  LayerTable table{.threads = threads, .peaks = peaks, .other_seconds = MedianOf(steps)};
  const Program& program = work->network().training_program();
  // A batch in parts goes through the layers once for each.
  const double parts = work->parts_per_step();
  for (const LayerCost& cost : LayerCosts(program)) {
    const auto found = clock.layers().find(cost.path);
    if (found == clock.layers().end()) continue;
    LayerShare share{.path = cost.path,
                     .kind = cost.kind,
                     .forward_seconds = MedianOf(found->second.forward),
                     .backward_seconds = MedianOf(found->second.backward),
                     .forward = cost.forward,
                     .backward = cost.backward};
    for (Cost* of : {&share.forward, &share.backward}) of->operations *= parts, of->bytes *= parts;
    share.bound_seconds = Bound(share.forward, peaks) + Bound(share.backward, peaks);
    table.other_seconds -= share.forward_seconds + share.backward_seconds;
    table.layers.push_back(std::move(share));
  }
  table.other_seconds = std::max(0.0, table.other_seconds);
  table.step = StepCost(program, work->optimizer());
  table.step.operations *= parts;
  table.parameters = work->network().parameter_count();
  return table;
}

Status MeasureLimits(const Subject& subject, std::span<const int> threads, ScaleResult& result) {
  const int cores = AvailableThreads();
  std::vector<int> counts = {threads.front()};
  for (const int count : threads) {
    if (count <= cores && count > counts.front()) counts = {threads.front(), count};
  }
  std::map<int, Peaks> peaks;
  for (const int count : counts) {
    peaks[count] = MeasurePeaks(count);
    LOCKSTEP_TRY_ASSIGN(LayerTable table,
                        MeasureLayers(subject, count, peaks[count], result.options));
    result.layers.push_back(std::move(table));
  }
  result.parameters = result.layers.front().parameters;
  for (ScalePoint& point : result.points) {
    if (point.ranks > 1 || point.threads > cores) continue;
    if (!peaks.contains(point.threads)) peaks[point.threads] = MeasurePeaks(point.threads);
    Cost cost = result.layers.front().step;
    cost.operations *= static_cast<double>(point.batch) / static_cast<double>(subject.batch);
    point.floor_seconds = Floor(cost, peaks[point.threads]);
  }
  return Status::Ok();
}

}  // namespace lockstep::scale
