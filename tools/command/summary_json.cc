#include "tools/command/summary_json.h"

#include <vector>

#include "tools/command/rank_times.h"

namespace lockstep::inline v0_1::tools {

using Json = nlohmann::ordered_json;

Json MetricsJson(const EvaluationResult& result) {
  Json json;
  json["samples"] = result.samples;
  for (const Metric metric : kMetrics) {
    if (const auto value = ValueOf(result, metric)) json[NameOf(metric)] = *value;
  }
  return json;
}

Json JsonOf(const EvaluationResult& result) {
  Json json = MetricsJson(result);
  if (!result.confusion.empty() && result.classes <= 100) json["confusion"] = ConfusionRows(result);
  return json;
}

Json JsonOf(const TrainingSummary& summary, const GradientExchange& exchange, Ranks& ranks) {
  Json json;
  json["ranks"] = ranks.size();
  json["mpi"] = ranks.mpi();
  json["share"] = WaitedShare(summary.ranks);
  json["sent_bytes_of_rank_0"] = ranks.communicator()->sent_bytes();
  for (const RankTime& one : summary.ranks)
    json["steps"].push_back({{"seconds", one.seconds}, {"waited_seconds", one.waited}});
  Json& last = json["last_backward"];
  last["seconds"] = exchange.backward_seconds();
  for (size_t i = 0; i < exchange.buckets(); ++i) {
    const GradientExchange::Times times = exchange.times(i);
    last["buckets"].push_back({{"gradients_of", times.parameters},
                               {"sent_bytes", times.bytes},
                               {"started", times.started},
                               {"arrived", times.arrived}});
  }
  return json;
}

}  // namespace lockstep::tools
