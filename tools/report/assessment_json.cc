#include "tools/report/assessment_json.h"

#include <cmath>

#include "engine/data/class_name.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN.
Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json JsonOf(const std::vector<Score>& scores) {
  Json json = Json::object();
  for (const Score& score : scores) {
    Json& one = json[score.name];
    one["value"] = Number(score.value);
    if (!score.interval) continue;
    one["low"] = Number(score.interval->low);
    one["high"] = Number(score.interval->high);
  }
  return json;
}

Json JsonOf(const std::vector<CalibrationBin>& bins) {
  Json json = Json::array();
  for (const CalibrationBin& bin : bins) {
    json.push_back({{"low", bin.low},
                    {"high", bin.high},
                    {"samples", bin.samples},
                    {"said", bin.said},
                    {"so", bin.so}});
  }
  return json;
}

Json JsonOf(const Residuals& residuals) {
  Json json;
  json["scores"] = JsonOf(residuals.scores);
  json["residuals"] = {{"least", residuals.least},
                       {"q05", residuals.q05},
                       {"median", residuals.median},
                       {"q95", residuals.q95},
                       {"most", residuals.most}};
  json["largest_errors"] = Json::array();
  for (const ValuePair& pair : residuals.largest) {
    json["largest_errors"].push_back(
        {{"sample", pair.index}, {"true", pair.truth}, {"predicted", pair.predicted}});
  }
  return json;
}

Json JsonOf(const SubgroupScores& by, bool positives) {
  Json json = {{"column", by.column},
               {"without", by.without},
               {"smaller", by.smaller},
               {"groups", Json::array()}};
  for (const GroupScores& group : by.groups) {
    Json one = {{"name", group.name}, {"samples", group.samples}};
    if (positives) one["positives"] = group.positives;
    one["scores"] = JsonOf(group.scores);
    json["groups"].push_back(std::move(one));
  }
  return json;
}

Json JsonOf(const Importances& importances) {
  Json json = {{"score", importances.score},
               {"value", Number(importances.value)},
               {"samples", importances.samples},
               {"repetitions", importances.repetitions},
               {"columns", Json::array()}};
  for (const Importance& one : importances.columns) {
    json["columns"].push_back(
        {{"name", one.column}, {"mean", Number(one.mean)}, {"sd", Number(one.sd)}});
  }
  return json;
}

}  // namespace

Json JsonOf(const Assessment& all, const std::vector<std::string>& class_names) {
  Json json = {{"samples", all.samples},
               {"of", all.of},
               {"interval_samples", all.interval_samples},
               {"scores", JsonOf(all.scores)}};
  if (!all.weighted.empty()) json["by_weight"] = JsonOf(all.weighted);
  if (all.reading != Reading::kValues) {
    json["log_loss"] = Number(all.log_loss);
    json["calibration_error"] = all.calibration_error;
    json["calibration"] = JsonOf(all.calibration);
  }
  if (all.reading == Reading::kPositive) {
    json["outcome"] = {{"true_positives", all.outcome.true_positives},
                       {"false_positives", all.outcome.false_positives},
                       {"false_negatives", all.outcome.false_negatives},
                       {"true_negatives", all.outcome.true_negatives}};
  }
  for (size_t c = 0; c < all.classes.size(); ++c) {
    const ClassScores& one = all.classes[c];
    json["classes"].push_back({{"name", ClassNameOf(class_names, static_cast<int64_t>(c))},
                               {"samples", one.samples},
                               {"predicted", one.predicted},
                               {"recall", Number(one.recall)},
                               {"precision", Number(one.precision)},
                               {"f1", Number(one.f1)},
                               {"auc", one.auc ? Json(*one.auc) : Json(nullptr)}});
  }
  for (const Residuals& residuals : all.residuals) json["columns"].push_back(JsonOf(residuals));
  for (const SubgroupScores& by : all.subgroups)
    json["subgroups"].push_back(JsonOf(by, all.reading == Reading::kPositive));
  if (!all.importances.columns.empty()) json["importance"] = JsonOf(all.importances);
  if (!all.importance_note.empty()) json["importance_note"] = all.importance_note;
  return json;
}

}  // namespace lockstep::tools
