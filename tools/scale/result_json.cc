#include "tools/scale/result_json.h"

#include <exception>
#include <nlohmann/json.hpp>

namespace lockstep::inline v0_1::scale {
namespace {

using Json = nlohmann::ordered_json;

Json JsonOf(const ScalePoint& point, double widest) {
  const MedianInterval step = point.timing.step();
  Json json{{"ranks", point.ranks},
            {"threads", point.threads},
            {"batch", point.batch},
            {"shards", point.shards},
            {"strong", point.strong},
            {"weak", point.weak},
            {"median", step.median},
            {"low", step.low},
            {"high", step.high},
            {"confidence", step.confidence},
            {"unstable", step.unstable(widest)},
            {"samples_per_second", point.samples_per_second()},
            {"steps_per_round", point.timing.steps_per_round},
            {"waited_seconds", point.timing.waited_seconds},
            {"sent_bytes", point.timing.sent_bytes},
            {"floor_seconds", point.floor_seconds > 0.0 ? Json(point.floor_seconds) : Json()},
            {"joules", point.timing.joules ? Json(*point.timing.joules) : Json()},
            {"seconds", point.timing.seconds}};
  return json;
}

ScalePoint PointFrom(const Json& json) {
  ScalePoint point{.ranks = json.at("ranks"),
                   .threads = json.at("threads"),
                   .batch = json.at("batch"),
                   .shards = json.at("shards"),
                   .strong = json.at("strong"),
                   .weak = json.at("weak")};
  point.timing = {.seconds = json.at("seconds"),
                  .steps_per_round = json.at("steps_per_round"),
                  .waited_seconds = json.at("waited_seconds"),
                  .sent_bytes = json.at("sent_bytes")};
  if (!json.at("joules").is_null()) point.timing.joules = json.at("joules").get<double>();
  return point;
}

Json JsonOf(const Curve& curve) {
  Json json{{"mode", NameOf(curve.mode)}, {"points", Json::array()}, {"fit", nullptr}};
  for (const CurvePoint& at : curve.points) {
    json["points"].push_back({{"point", at.point},
                              {"workers", at.workers},
                              {"speedup", at.speedup},
                              {"low", at.low},
                              {"high", at.high},
                              {"efficiency", at.efficiency()}});
  }
  if (curve.fit) {
    json["fit"] = {{"law", curve.fit->law == Law::kAmdahl ? "amdahl" : "gustafson"},
                   {"serial", curve.fit->serial},
                   {"formula", curve.fit->Formula()},
                   {"residuals", curve.fit->residuals},
                   {"rms", curve.fit->rms}};
  } else {
    json["fit_missing"] = "not enough points";
  }
  return json;
}

Json JsonOf(const Cost& cost) { return {{"operations", cost.operations}, {"bytes", cost.bytes}}; }

Json JsonOf(const LayerTable& table) {
  Json json{{"threads", table.threads},
            {"peak_fma_operations_per_second", table.peaks.operations_per_second},
            {"stream_peak_bytes_per_second", table.peaks.bytes_per_second},
            {"step", JsonOf(table.step)},
            {"floor_seconds", Floor(table.step, table.peaks)},
            {"other_seconds", table.other_seconds},
            {"layers", Json::array()}};
  for (const LayerShare& layer : table.layers) {
    json["layers"].push_back({{"path", layer.path},
                              {"kind", layer.kind},
                              {"forward_seconds", layer.forward_seconds},
                              {"backward_seconds", layer.backward_seconds},
                              {"forward", JsonOf(layer.forward)},
                              {"backward", JsonOf(layer.backward)},
                              {"bound_seconds", layer.bound_seconds},
                              {"share_of_bound", layer.share()}});
  }
  return json;
}

Json JsonOf(const NetworkCost& network) {
  return {{"latency_seconds", network.latency_seconds},
          {"bytes_per_second", network.bytes_per_second},
          {"source", network.source}};
}

Json JsonOf(const std::vector<PredictedPoint>& points) {
  Json json = Json::array();
  for (const PredictedPoint& point : points) {
    json.push_back({{"predicted", true},
                    {"ranks", point.ranks},
                    {"batch", point.batch},
                    {"seconds", point.seconds},
                    {"seconds_with_nothing_hidden", point.unhidden_seconds},
                    {"exchange_seconds", point.exchange_seconds},
                    {"speedup", point.speedup},
                    {"efficiency", point.efficiency()}});
  }
  return json;
}

Json JsonOf(const Prediction& prediction) {
  const StepModel& model = prediction.model;
  Json json{{"formula", PredictionFormula()},
            {"threads", model.threads},
            {"constant_seconds", model.constant_seconds},
            {"sample_seconds", model.sample_seconds},
            {"update_seconds", model.update_seconds},
            {"backward_share", model.backward_share},
            {"gradient_bytes", model.gradient_bytes},
            {"buckets", model.buckets},
            {"memory_bytes_per_second", model.memory_bytes_per_second},
            {"network", JsonOf(prediction.network)},
            {"strong", JsonOf(prediction.strong)},
            {"weak", JsonOf(prediction.weak)},
            {"checks", Json::array()}};
  for (const Prediction::Check& check : prediction.checks) {
    json["checks"].push_back({{"ranks", check.ranks},
                              {"batch", check.batch},
                              {"predicted_seconds", check.predicted},
                              {"measured_seconds", check.measured},
                              {"error", check.error()}});
  }
  return json;
}

std::string Written(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string JsonText(const ScaleResult& result) {
  Json json{{"name", result.name},
            {"started", result.started},
            {"seconds", result.seconds},
            {"parameters", result.parameters},
            {"batch", result.batch},
            {"with_loading", result.loading},
            {"repetitions", result.options.repetitions},
            {"seconds_for_each_point", result.options.seconds},
            {"warm_up_steps", result.options.warm_up},
            {"widest_stable_interval", result.options.widest}};
  json["machine"] = Json::object();
  for (const Fact& fact : result.machine) json["machine"][fact.name] = fact.value;
  for (const char* list : {"points", "curves", "layers"}) json[list] = Json::array();
  for (const ScalePoint& point : result.points)
    json["points"].push_back(JsonOf(point, result.options.widest));
  for (const Curve& curve : result.curves) json["curves"].push_back(JsonOf(curve));
  for (const LayerTable& table : result.layers) json["layers"].push_back(JsonOf(table));
  json["prediction"] = result.prediction ? JsonOf(*result.prediction) : Json();
  json["notes"] = result.notes;
  return Written(json);
}

std::string JsonText(const RankReport& report) {
  Json json{{"points", Json::array()},
            {"network", JsonOf(report.network)},
            {"mpi", report.mpi},
            {"placement", report.placement}};
  for (const ScalePoint& point : report.points) json["points"].push_back(JsonOf(point, 1.0));
  return Written(json);
}

Result<RankReport> ParseRankReport(const std::string& text, const std::string& name) {
  try {
    const Json json = Json::parse(text);
    RankReport report{.network = {.latency_seconds = json.at("network").at("latency_seconds"),
                                  .bytes_per_second = json.at("network").at("bytes_per_second"),
                                  .source = json.at("network").at("source")},
                      .mpi = json.at("mpi"),
                      .placement = json.at("placement")};
    for (const Json& point : json.at("points")) report.points.push_back(PointFrom(point));
    return report;
  } catch (const std::exception& error) {
    return Status::Corrupt(name + " is not what ranks write: " + error.what());
  }
}

}  // namespace lockstep::scale
