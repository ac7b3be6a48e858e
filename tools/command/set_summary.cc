#include "tools/command/set_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/data/class_name.h"
#include "engine/io/file.h"
#include "engine/train/metrics.h"
#include "models/recipe_saved.h"
#include "tools/command/csv_output.h"
#include "tools/command/live_line.h"
#include "tools/command/summary_json.h"
#include "tools/report/set_page.h"
#include "tools/scale/text_table.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string PathOf(const RunFolder& folder, const SetMember& member) {
  return folder.path + "/" + member.name;
}

Result<Json> ReadSummary(const RunFolder& run) {
  LOCKSTEP_TRY_ASSIGN(const std::string text, ReadFile(run.summary(), int64_t{1} << 24));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Status::Corrupt(run.summary() + ": not the summary of a run");
  return json;
}

// The best that all runs have: what was tested, or else validated, or else trained.
std::string SplitOf(const std::vector<Json>& summaries) {
  for (const char* split : {"test", "validation"}) {
    if (std::all_of(summaries.begin(), summaries.end(),
                    [&](const Json& one) { return one.contains(split); }))
      return split;
  }
  return "train";
}

std::optional<double> NumberIn(const Json& json, const std::string& key) {
  if (!json.contains(key) || !json.at(key).is_number()) return std::nullopt;
  return json.at(key).get<double>();
}

Json JsonOf(const SetResult& set, const Recipe& recipe) {
  Json json;
  json["status"] = "completed";
  json["folds"] = recipe.data.fold == 0 ? recipe.data.folds : 0;
  json["seeds"] = recipe.train.seeds;
  json["split"] = set.split;
  for (size_t m = 0; m < set.metrics.size(); ++m) {
    const Spread& spread = set.spreads[m];
    json["metrics"][set.metrics[m]] = {{"mean", spread.mean},
                                       {"sd", spread.sd},
                                       {"min", spread.low},
                                       {"max", spread.high},
                                       {"runs", spread.count}};
  }
  for (size_t i = 0; i < set.pooled.size(); ++i) {
    Json pooled = {{"seed", set.held_out[i].first}};
    pooled.update(MetricsJson(set.pooled[i]));
    json["all_folds"].push_back(std::move(pooled));
  }
  for (const MemberResult& run : set.runs) {
    Json one = {{"folder", run.member.name},
                {"fold", run.member.fold},
                {"seed", run.member.seed},
                {"samples", run.samples},
                {"seconds", run.seconds}};
    for (size_t m = 0; m < set.metrics.size(); ++m) {
      if (run.metrics[m]) one[set.metrics[m]] = *run.metrics[m];
    }
    json["runs"].push_back(std::move(one));
  }
  return json;
}

Status WritePredictions(const std::string& path, const SetResult& set) {
  const DatasetInfo& info = set.samples;
  const Reading reading = ObjectiveOf(info.task).reading;
  const auto name = [&](int64_t c) { return ClassNameOf(info.class_names, c); };
  const bool seeds = set.held_out.size() > 1;
  std::string text = seeds ? "row,seed,truth" : "row,truth";
  const HeldOut& first = set.held_out.front().second;
  const int64_t targets = reading == Reading::kValues ? first.target_columns : 1;
  for (int64_t t = 1; t < targets; ++t) text += ",truth " + std::to_string(t + 1);
  if (reading != Reading::kValues) text += ",predicted";
  for (int64_t c = 0; c < first.columns; ++c) {
    text += reading == Reading::kPositive ? "," + CsvField("p(" + name(1) + ")", ',')
            : reading == Reading::kOneOf  ? "," + CsvField("p(" + name(c) + ")", ',')
            : c == 0                      ? ",predicted"
                                          : ",predicted " + std::to_string(c + 1);
  }
  text += "\n";
  for (const auto& one : set.held_out) {
    const HeldOut& held = one.second;
    const std::vector<float> p = PredictionsOf(held, info);
    std::vector<size_t> order(held.samples.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return held.samples[a] < held.samples[b]; });
    for (const size_t i : order) {
      text += std::to_string(held.samples[i] + 1);
      if (seeds) text += "," + std::to_string(one.first);
      const float* truth = held.targets.data() + i * static_cast<size_t>(held.target_columns);
      const std::span<const float> row(p.data() + i * static_cast<size_t>(held.columns),
                                       static_cast<size_t>(held.columns));
      for (int64_t t = 0; t < targets; ++t) {
        text += "," + (reading == Reading::kValues
                           ? fmt::format("{:.7g}", truth[t])
                           : CsvField(name(static_cast<int64_t>(truth[t])), ','));
      }
      if (reading != Reading::kValues) text += "," + CsvField(name(ClassOf(held, info, p, i)), ',');
      for (const float v : row) text += fmt::format(",{:.7g}", v);
      text += "\n";
    }
  }
  return WriteFileAtomically(path, text);
}

}  // namespace

Spread SpreadOf(const std::vector<double>& values) {
  Spread spread{.count = std::ssize(values)};
  if (values.empty()) return spread;
  const auto n = static_cast<double>(values.size());
  spread.low = *std::min_element(values.begin(), values.end());
  spread.high = *std::max_element(values.begin(), values.end());
  for (const double v : values) spread.mean += v / n;
  for (const double v : values) spread.sd += (v - spread.mean) * (v - spread.mean);
  spread.sd = values.size() > 1 ? std::sqrt(spread.sd / (n - 1.0)) : 0.0;
  return spread;
}

Result<SetResult> ReadSet(const RunFolder& folder, const Recipe& recipe,
                          const std::vector<SetMember>& members) {
  SetResult set;
  std::vector<Json> summaries;
  for (const SetMember& member : members) {
    LOCKSTEP_TRY_ASSIGN(Json json, ReadSummary({PathOf(folder, member)}));
    summaries.push_back(std::move(json));
  }
  set.split = SplitOf(summaries);
  for (const Metric metric : kMetrics) {
    const std::string name = NameOf(metric);
    std::vector<double> values;
    for (const Json& one : summaries) {
      if (const auto value = NumberIn(one.value(set.split, Json::object()), name))
        values.push_back(*value);
    }
    if (values.empty()) continue;
    set.metrics.push_back(name);
    set.spreads.push_back(SpreadOf(values));
  }
  for (size_t i = 0; i < members.size(); ++i) {
    const Json& split = summaries[i].value(set.split, Json::object());
    MemberResult run{.member = members[i],
                     .samples = static_cast<int64_t>(NumberIn(split, "samples").value_or(0.0)),
                     .seconds = NumberIn(summaries[i], "seconds").value_or(0.0)};
    for (const std::string& name : set.metrics) run.metrics.push_back(NumberIn(split, name));
    set.runs.push_back(std::move(run));
  }

  Result<SavedModel> model = ReadSavedModel(RunFolder{PathOf(folder, members.front())}.model());
  LOCKSTEP_TRY(model.status());
  set.samples = model->samples;
  // One fold alone (data.fold) is not put together with others.
  const bool all_folds = recipe.data.folds > 0 && recipe.data.fold == 0;
  for (const SetMember& member : members) {
    if (!all_folds) break;
    LOCKSTEP_TRY_ASSIGN(const HeldOut held,
                        ReadHeldOut(RunFolder{PathOf(folder, member)}.held_out()));
    auto at = std::find_if(set.held_out.begin(), set.held_out.end(),
                           [&](const auto& one) { return one.first == member.seed; });
    if (at == set.held_out.end())
      at = set.held_out.insert(set.held_out.end(), {member.seed, HeldOut{}});
    at->second.Append(held);
  }
  for (const auto& [seed, held] : set.held_out) {
    LOCKSTEP_TRY_ASSIGN(EvaluationResult result, Measure(held, set.samples));
    set.pooled.push_back(std::move(result));
  }
  return set;
}

Status SumUp(const RunFolder& folder, const Recipe& recipe, const std::vector<SetMember>& members) {
  LOCKSTEP_TRY_ASSIGN(const SetResult set, ReadSet(folder, recipe, members));
  if (!set.held_out.empty()) LOCKSTEP_TRY(WritePredictions(folder.path + "/predictions.csv", set));
  if (recipe.output.report)
    LOCKSTEP_TRY(WriteFileAtomically(folder.report(), SetPage(set, recipe, folder.path)));
  // Last: it says that all is there.
  LOCKSTEP_TRY(WriteFileAtomically(folder.summary(), JsonOf(set, recipe).dump(2) + "\n"));
  LOCKSTEP_TRY(folder.Log("completed"));
  const std::vector<std::vector<std::string>> rows = SetRows(set);
  Say(fmt::format("-- {} runs, measured on the {} samples of each\n{}", members.size(), set.split,
                  scale::TextTable(rows, 1)));
  Say(fmt::format("summary.json{}{} are in {}\n", recipe.output.report ? ", report.html" : "",
                  set.held_out.empty() ? " and the runs" : ", predictions.csv and the runs",
                  folder.path));
  return Status::Ok();
}

}  // namespace lockstep::tools
