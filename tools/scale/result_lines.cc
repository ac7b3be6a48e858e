#include "tools/scale/result_lines.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace lockstep::inline v0_1::scale {
namespace {

using Json = nlohmann::ordered_json;

// What must hold of every point before its figures mean anything.
std::string Insane(const ScaleResult& result) {
  if (result.points.empty()) return "nothing was measured";
  for (const ScalePoint& point : result.points) {
    const double median = point.timing.step().median;
    if (!(median > 0.0) || !std::isfinite(median))
      return fmt::format("{} has no step time", PlaceName(point));
  }
  return "";
}

}  // namespace

std::string PointKey(Mode mode, const ScalePoint& point) {
  return fmt::format("{}_{}r_{}t", NameOf(mode), point.ranks, point.threads);
}

std::string CsvText(const ScaleResult& result) {
  std::string csv =
      "mode,ranks,threads,workers,batch,shards,step_ms,step_low_ms,step_high_ms,confidence,"
      "unstable,"
      "samples_per_second,speedup,speedup_low,speedup_high,efficiency,fitted_speedup,floor_ms,"
      "waited_share,sent_bytes,joules\n";
  for (const Curve& curve : result.curves) {
    for (const CurvePoint& at : curve.points) {
      const ScalePoint& point = result.points[at.point];
      const MedianInterval step = point.timing.step();
      csv += fmt::format(
          "{},{},{},{:.6g},{},{},{:.6g},{:.6g},{:.6g},{:.4f},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},"
          "{},{},{:.6g},{:.0f},{}\n",
          NameOf(curve.mode), point.ranks, point.threads, at.workers, point.batch, point.shards,
          step.median * 1e3, step.low * 1e3, step.high * 1e3, step.confidence,
          result.unstable(point) ? 1 : 0, point.samples_per_second(), at.speedup, at.low, at.high,
          at.efficiency(), curve.fit ? fmt::format("{:.6g}", curve.fit->At(at.workers)) : "",
          point.floor_seconds > 0.0 ? fmt::format("{:.6g}", point.floor_seconds * 1e3) : "",
          point.waited_share(), point.timing.sent_bytes,
          point.timing.joules ? fmt::format("{:.6g}", *point.timing.joules) : "");
    }
  }
  return csv;
}

std::string ReframeText(const ScaleResult& result) {
  if (const std::string wrong = Insane(result); !wrong.empty())
    return fmt::format("sanity: {}\n", wrong);
  std::string text = "sanity: ok\n";
  for (const LayerTable& table : result.layers) {
    text += fmt::format("peak_fma_{}t: {:.2f} GFLOP/s\nstream_peak_{}t: {:.2f} GB/s\n",
                        table.threads, table.peaks.operations_per_second * 1e-9, table.threads,
                        table.peaks.bytes_per_second * 1e-9);
  }
  for (const Curve& curve : result.curves) {
    for (const CurvePoint& at : curve.points) {
      const ScalePoint& point = result.points[at.point];
      const std::string key = PointKey(curve.mode, point);
      const MedianInterval step = point.timing.step();
      text += fmt::format(
          "{}_step: {:.6g} ms\n{}_step_low: {:.6g} ms\n{}_step_high: {:.6g} ms\n"
          "{}_throughput: {:.6g} samples/s\n{}_speedup: {:.4f} x\n{}_efficiency: {:.2f} %\n",
          key, step.median * 1e3, key, step.low * 1e3, key, step.high * 1e3, key,
          point.samples_per_second(), key, at.speedup, key, at.efficiency() * 100.0);
      if (point.ranks > 1)
        text += fmt::format("{}_waited: {:.2f} %\n", key, point.waited_share() * 100.0);
      if (result.unstable(point)) text += fmt::format("{}_unstable: 1 flag\n", key);
    }
    if (curve.fit) {
      text += fmt::format("{}_serial: {:.3f} %\n{}_fit_rms: {:.4f} x\n", NameOf(curve.mode),
                          curve.fit->serial * 100.0, NameOf(curve.mode), curve.fit->rms);
    }
  }
  return text;
}

std::string MllogText(const ScaleResult& result, int64_t start_milliseconds) {
  std::string log;
  int line = 0;
  const auto add = [&](int64_t after, const char* type, const char* key, Json value,
                       Json metadata = Json::object()) {
    metadata["file"] = "lockstep scale";
    metadata["lineno"] = ++line;
    const Json json{{"namespace", ""},           {"time_ms", start_milliseconds + after},
                    {"event_type", type},        {"key", key},
                    {"value", std::move(value)}, {"metadata", std::move(metadata)}};
    log += ":::MLLOG " + json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
  };
  constexpr char kPoint[] = "POINT_IN_TIME";
  const auto end = static_cast<int64_t>(std::llround(result.seconds * 1e3));
  add(0, kPoint, "submission_benchmark", result.name,
      {{"note", "in the style of MLPerf's logs; not a submission"}});
  add(0, kPoint, "submission_org", "none");
  add(0, kPoint, "submission_division", "none");
  add(0, kPoint, "submission_status", "none");
  add(0, kPoint, "submission_platform", ValueOf(result.machine, "processor"));
  add(0, kPoint, "global_batch_size", result.batch);
  add(0, "INTERVAL_START", "run_start", nullptr);
  for (const Curve& curve : result.curves) {
    for (const CurvePoint& at : curve.points) {
      const ScalePoint& point = result.points[at.point];
      add(end, kPoint, "tracked_stats",
          {{"throughput", point.samples_per_second()},
           {"step_seconds", point.timing.step().median},
           {"speedup", at.speedup},
           {"efficiency", at.efficiency()}},
          {{"mode", NameOf(curve.mode)},
           {"ranks", point.ranks},
           {"threads", point.threads},
           {"global_batch_size", point.batch},
           {"unstable", result.unstable(point)}});
    }
  }
  const std::string wrong = Insane(result);
  add(end, "INTERVAL_END", "run_stop", nullptr,
      {{"status", wrong.empty() ? "success" : "aborted"}});
  return log;
}

}  // namespace lockstep::scale
