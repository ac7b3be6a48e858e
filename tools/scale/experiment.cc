#include "tools/scale/experiment.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include "engine/train/gradient_exchange.h"
#include "tools/scale/counts.h"

namespace lockstep::inline v0_1::scale {

std::vector<ScalePoint> PlanPoints(const Subject& subject, std::span<const int> threads,
                                   std::span<const int> ranks, bool strong, bool weak) {
  const int fewest = *std::min_element(threads.begin(), threads.end()) *
                     *std::min_element(ranks.begin(), ranks.end());
  std::vector<ScalePoint> points;
  for (const int r : ranks) {
    for (const int t : threads) {
      const int shards = ShardsFor(subject.shards, r);
      const double workers = static_cast<double>(r * t) / fewest;
      const int64_t grown = std::llround(static_cast<double>(subject.batch) * workers);
      const bool same = grown == subject.batch;  // the base, and who has as many workers
      const ScalePoint place{.ranks = r, .threads = t, .shards = shards};
      if (strong || same) {
        points.push_back(place);
        points.back().batch = subject.batch;
        points.back().strong = strong;
        points.back().weak = weak && same;
      }
      if (weak && !same) {
        points.push_back(place);
        points.back().batch = grown;
        points.back().weak = true;
      }
    }
  }
  return points;
}

Status MeasurePoints(const Subject& subject, const MeasureOptions& options,
                     Communicator* communicator, std::span<ScalePoint> points) {
  const int ranks = communicator == nullptr ? 1 : communicator->size();
  std::vector<std::unique_ptr<TrainingWork>> works;
  std::vector<std::function<Status()>> steps;
  std::vector<ScalePoint*> measured;
  for (ScalePoint& point : points) {
    if (point.ranks != ranks) continue;
    Result<std::unique_ptr<TrainingWork>> work =
        subject.make({.threads = point.threads,
                      .batch = point.batch,
                      .shards = point.shards,
                      .communicator = ranks > 1 ? communicator : nullptr});
    if (!work.ok())
      return work.status().At(PlaceName(point) + ", batch " + std::to_string(point.batch));
    works.push_back(std::move(*work));
    measured.push_back(&point);
    steps.push_back([&point, step = works.back().get()] {
      const Status status = step->Step();
      return status.ok() ? status
                         : status.At(PlaceName(point) + ", batch " + std::to_string(point.batch));
    });
  }
  LOCKSTEP_TRY_ASSIGN(std::vector<Timing> timings, MeasureTogether(steps, options, communicator));
  for (size_t i = 0; i < measured.size(); ++i) measured[i]->timing = std::move(timings[i]);
  return Status::Ok();
}

Result<StepModel> MeasureStepModel(const Subject& subject, const LayerTable& layers,
                                   const MeasureOptions& options) {
  StepModel model{.threads = layers.threads,
                  .memory_bytes_per_second = layers.peaks.bytes_per_second};
  std::vector<std::unique_ptr<TrainingWork>> works;
  std::vector<std::function<Status()>> steps;
  std::vector<BatchTime> times;
  for (const int64_t part : {1, 2, 4}) {
    const int64_t batch = subject.batch / part;
    if (batch < 1 || (!times.empty() && times.back().samples == batch)) continue;
    Result<std::unique_ptr<TrainingWork>> work =
        subject.make({.threads = layers.threads, .batch = batch, .shards = subject.shards});
    // Some networks take no batch so small: a batch norm none of one sample.
    const Status runs = work.ok() ? (*work)->Step() : work.status();
    if (part == 1) LOCKSTEP_TRY(runs);
    if (!runs.ok()) continue;
    works.push_back(std::move(*work));
    steps.push_back([step = works.back().get()] { return step->Step(); });
    times.push_back({.samples = batch});
  }
  steps.push_back([step = works.front().get()] { return step->Update(); });
  LOCKSTEP_TRY_ASSIGN(const std::vector<Timing> timings, MeasureTogether(steps, options));
  for (size_t i = 0; i < times.size(); ++i) times[i].seconds = timings[i].step().median;
  model.update_seconds = std::min(timings.back().step().median, 0.9 * times.front().seconds);
  FitBatches(times, model);
  double forward = 0.0, backward = 0.0;
  for (const LayerShare& layer : layers.layers) {
    forward += layer.forward_seconds;
    backward += layer.backward_seconds;
  }
  if (backward > 0.0) model.backward_share = backward / (forward + backward);
  for (const ParameterInfo& info : works.front()->network().store().infos()) {
    if (!info.frozen) model.gradient_bytes += 4.0 * static_cast<double>(info.shape.size());
  }
  const auto bytes = static_cast<int64_t>(model.gradient_bytes);
  model.buckets = static_cast<double>(std::max<int64_t>(1, bytes / DefaultBucketBytes(bytes)));
  return model;
}

void CheckPrediction(const std::vector<ScalePoint>& points, int cores, Prediction& prediction) {
  for (const ScalePoint& point : points) {
    if (point.threads != prediction.model.threads || point.workers() > cores ||
        point.timing.seconds.empty())
      continue;
    const PredictedPoint said =
        PredictPoint(prediction.model, prediction.network, point.ranks, point.batch);
    prediction.checks.push_back({.ranks = point.ranks,
                                 .batch = point.batch,
                                 .predicted = said.seconds,
                                 .measured = point.timing.step().median});
  }
}

}  // namespace lockstep::scale
