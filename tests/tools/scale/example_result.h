// A result as a measurement might have left it, for those who write and draw results.
#ifndef LOCKSTEP_TESTS_TOOLS_SCALE_EXAMPLE_RESULT_H_
#define LOCKSTEP_TESTS_TOOLS_SCALE_EXAMPLE_RESULT_H_

#include <vector>

#include "tools/scale/experiment.h"
#include "tools/scale/scale_result.h"

namespace lockstep::inline v0_1::scale {

// Strong: 1, 2 and 4 threads, and two ranks of two; weak: 1 and 2 threads. The last point is
// unstable.
inline ScaleResult ExampleResult() {
  ScaleResult result{.name = "example",
                     .started = "2026-01-31T12:00:00Z",
                     .seconds = 12.5,
                     .parameters = 12345,
                     .batch = 128,
                     .machine = {{"processor", "a \"processor\" <b>"}, {"SMT", kUnavailable}},
                     .notes = {"a note"}};
  const auto add = [&](int ranks, int threads, int64_t batch, double ms, bool strong, bool weak) {
    ScalePoint point{.ranks = ranks,
                     .threads = threads,
                     .batch = batch,
                     .shards = ranks,
                     .strong = strong,
                     .weak = weak,
                     .floor_seconds = ranks == 1 ? ms * 0.5e-3 : 0.0};
    for (int i = 0; i < 9; ++i) point.timing.seconds.push_back((ms + (i - 4) * 0.01) * 1e-3);
    if (ranks > 1) point.timing.waited_seconds = 0.1 * ms * 1e-3, point.timing.sent_bytes = 4e6;
    result.points.push_back(point);
  };
  add(1, 1, 128, 100.0, true, true);
  add(1, 2, 128, 60.0, true, false);
  add(1, 4, 128, 35.0, true, false);
  add(1, 2, 256, 110.0, false, true);
  add(2, 2, 128, 40.0, true, false);
  for (size_t i = 0; i < 9; ++i)
    result.points.back().timing.seconds[i] *= 1.0 + 0.1 * (double(i) - 4);
  result.curves = {CurveOf(Mode::kStrong, result.points), CurveOf(Mode::kWeak, result.points)};
  LayerTable table{.threads = 1,
                   .peaks = {.operations_per_second = 1e11, .bytes_per_second = 1e10},
                   .step = {.operations = 5e9, .bytes = 3e5},
                   .other_seconds = 1e-3};
  const auto layer = [&](const char* path, const char* kind, double ms, Cost cost) {
    LayerShare share{.path = path,
                     .kind = kind,
                     .forward_seconds = ms / 3e3,
                     .backward_seconds = ms / 1.5e3,
                     .forward = cost,
                     .backward = cost};
    share.bound_seconds = 2.0 * Bound(cost, table.peaks);
    table.layers.push_back(share);
  };
  layer("0", "Linear", 60.0, {.operations = 2e9, .bytes = 1e6});
  layer("1", "BatchNorm", 30.0, {.operations = 1e6, .bytes = 1e8});
  layer("", "CrossEntropyLoss", 10.0, {.operations = 1e6, .bytes = 1e6});
  result.layers = {table};
  const StepModel model{.threads = 2,
                        .constant_seconds = 1e-3,
                        .sample_seconds = 4.5e-4,
                        .update_seconds = 1e-3,
                        .backward_share = 0.66,
                        .gradient_bytes = 49380.0,
                        .memory_bytes_per_second = 1e10};
  result.prediction = Predict(
      model, {.latency_seconds = 2e-6, .bytes_per_second = 1e10, .source = "given"}, 64, 128);
  CheckPrediction(result.points, 4, *result.prediction);
  return result;
}

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TESTS_TOOLS_SCALE_EXAMPLE_RESULT_H_
