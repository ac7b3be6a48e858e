#include "tools/scale/result_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "tools/scale/text_table.h"

namespace lockstep::inline v0_1::scale {
namespace {

std::string Percent(double share) { return fmt::format("{:.1f} %", share * 100.0); }
std::string Milliseconds(double seconds) { return fmt::format("{:.4g}", seconds * 1e3); }

// Without the columns in which nothing is known of any row.
std::vector<TextRow> WithoutEmptyColumns(std::vector<TextRow> rows) {
  for (size_t c = rows.front().size(); c-- > 0;) {
    const bool empty = std::all_of(rows.begin() + 1, rows.end(),
                                   [&](const TextRow& row) { return row[c] == "-"; });
    if (!empty || rows.size() == 1) continue;
    for (TextRow& row : rows) row.erase(row.begin() + static_cast<std::ptrdiff_t>(c));
  }
  return rows;
}

std::string Indented(const std::string& text) {
  std::string all;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    all += "  " + text.substr(at, end - at) + "\n";
    at = end + 1;
  }
  return all;
}

}  // namespace

std::string LayerName(const LayerShare& layer) {
  if (layer.path.empty()) return "loss";
  return layer.path + " " + layer.kind;
}

std::vector<std::vector<std::string>> CurveRows(const ScaleResult& result, const Curve& curve) {
  std::vector<std::vector<std::string>> rows = {{"place", "batch", "step ms", "95 % interval",
                                                 "samples/s", "speed-up", "efficiency", "of floor",
                                                 "waited", "mJ/sample", ""}};
  for (const CurvePoint& at : curve.points) {
    const ScalePoint& point = result.points[at.point];
    const MedianInterval step = point.timing.step();
    const double samples = static_cast<double>(point.batch);
    rows.push_back(
        {PlaceName(point), fmt::format("{}", point.batch), Milliseconds(step.median),
         Milliseconds(step.low) + " to " + Milliseconds(step.high),
         fmt::format("{:.0f}", point.samples_per_second()), fmt::format("{:.2f}", at.speedup),
         Percent(at.efficiency()),
         point.floor_seconds > 0.0 ? Percent(point.floor_seconds / step.median) : "-",
         point.ranks > 1 ? Percent(point.waited_share()) : "-",
         point.timing.joules ? fmt::format("{:.3g}", *point.timing.joules * 1e3 / samples) : "-",
         result.unstable(point) ? "unstable" : ""});
  }
  return WithoutEmptyColumns(std::move(rows));
}

std::string FitSentence(const Curve& curve) {
  const bool strong = curve.mode == Mode::kStrong;
  const char* const name = strong ? "Amdahl" : "Gustafson";
  if (!curve.fit) {
    return fmt::format(
        "{}: not enough points for a fit (two beyond the base point are needed, here {})", name,
        curve.points.empty() ? 0 : curve.points.size() - 1);
  }
  std::string residuals;
  for (const double residual : curve.fit->residuals)
    residuals += fmt::format("{}{:+.3f}", residuals.empty() ? "" : " ", residual);
  return fmt::format("{}: {:.2f} % of the {} is serial; residuals {} (rms {:.3f})", name,
                     curve.fit->serial * 100.0, strong ? "base point's step" : "time of a worker",
                     residuals, curve.fit->rms);
}

std::vector<std::vector<std::string>> LayerRows(const LayerTable& table) {
  std::vector<std::vector<std::string>> rows = {{"layer", "forward ms", "backward ms", "GFLOP/s",
                                                 "GB/s", "bound ms", "of bound", "bound by"}};
  for (const LayerShare& layer : table.layers) {
    const double seconds = layer.forward_seconds + layer.backward_seconds;
    const double operations = layer.forward.operations + layer.backward.operations;
    const double bytes = layer.forward.bytes + layer.backward.bytes;
    const bool computes =
        operations / table.peaks.operations_per_second >= bytes / table.peaks.bytes_per_second;
    const auto rate = [&](double amount) {
      return seconds > 0.0 ? fmt::format("{:.1f}", amount / seconds * 1e-9) : "-";
    };
    rows.push_back({LayerName(layer), Milliseconds(layer.forward_seconds),
                    Milliseconds(layer.backward_seconds), rate(operations), rate(bytes),
                    Milliseconds(layer.bound_seconds), Percent(layer.share()),
                    computes ? "multiply-adds" : "memory"});
  }
  return rows;
}

std::vector<std::vector<std::string>> PredictionRows(const std::vector<PredictedPoint>& points) {
  std::vector<std::vector<std::string>> rows = {{"predicted: ranks", "batch", "step ms",
                                                 "in exchange", "speed-up", "efficiency",
                                                 "speed-up, nothing hidden"}};
  for (const PredictedPoint& point : points) {
    rows.push_back({fmt::format("{}", point.ranks), fmt::format("{}", point.batch),
                    Milliseconds(point.seconds), Percent(point.exchange_seconds / point.seconds),
                    fmt::format("{:.2f}", point.speedup), Percent(point.efficiency()),
                    fmt::format("{:.2f}", point.unhidden_speedup)});
  }
  return rows;
}

std::vector<std::string> PredictionSentences(const Prediction& prediction) {
  const StepModel& model = prediction.model;
  std::vector<std::string> all = PredictionFormula();
  all.push_back(fmt::format(
      "measured on one rank of {} thread{}: c {:.4g} ms, a {:.4g} us a sample, u {:.4g} ms, "
      "backward {:.0f} % of c + a n, g {:.4g} MB in {:.0f} buckets, memory {:.4g} GB/s",
      model.threads, model.threads == 1 ? "" : "s", model.constant_seconds * 1e3,
      model.sample_seconds * 1e6, model.update_seconds * 1e3, model.backward_share * 100.0,
      model.gradient_bytes * 1e-6, model.buckets, model.memory_bytes_per_second * 1e-9));
  all.push_back(fmt::format("network ({}): l {:.4g} us, w {:.4g} GB/s", prediction.network.source,
                            prediction.network.latency_seconds * 1e6,
                            prediction.network.bytes_per_second * 1e-9));
  for (const Prediction::Check& check : prediction.checks) {
    all.push_back(fmt::format(
        "checked at {} rank{}, batch {}: predicted {:.4g} ms, measured {:.4g} ms, error {:+.1f} %",
        check.ranks, check.ranks == 1 ? "" : "s", check.batch, check.predicted * 1e3,
        check.measured * 1e3, check.error() * 100.0));
  }
  const bool beyond_one =
      std::any_of(prediction.checks.begin(), prediction.checks.end(),
                  [](const Prediction::Check& check) { return check.ranks > 1; });
  if (!beyond_one)
    all.push_back("not checked against several ranks: none were measured on cores of their own");
  return all;
}

std::string TableText(const ScaleResult& result) {
  std::string text =
      fmt::format("{}: {} parameters, batch {}{}; medians of {} rounds, points in turns\n",
                  result.name, result.parameters, result.batch,
                  result.loading ? ", loading included" : "", result.options.repetitions);
  for (const Curve& curve : result.curves) {
    text += fmt::format("\n{} scaling: {}\n", NameOf(curve.mode),
                        curve.mode == Mode::kStrong ? "the same batch everywhere"
                                                    : "as many samples for each worker");
    text += Indented(TextTable(CurveRows(result, curve), 1));
    text += "  " + FitSentence(curve) + "\n";
  }
  for (const LayerTable& table : result.layers) {
    text += fmt::format(
        "\nlayers on {} thread{}: peak {:.1f} GFLOP/s, {:.1f} GB/s; floor of a step {} ms, outside "
        "of layers {} ms\n",
        table.threads, table.threads == 1 ? "" : "s", table.peaks.operations_per_second * 1e-9,
        table.peaks.bytes_per_second * 1e-9, Milliseconds(Floor(table.step, table.peaks)),
        Milliseconds(table.other_seconds));
    text += Indented(TextTable(LayerRows(table), 1));
  }
  if (result.prediction) {
    for (const auto& [name, points] : {std::pair{"strong", &result.prediction->strong},
                                       std::pair{"weak", &result.prediction->weak}}) {
      if (points->empty()) continue;
      text += fmt::format("\npredicted, {} scaling, ranks of {} thread{}\n", name,
                          result.prediction->model.threads,
                          result.prediction->model.threads == 1 ? "" : "s");
      text += Indented(TextTable(PredictionRows(*points), 1));
    }
    for (const std::string& line : PredictionSentences(*result.prediction))
      text += "  " + line + "\n";
  }
  text += "\n";
  std::vector<TextRow> facts;
  for (const Fact& fact : result.machine) facts.push_back({fact.name, fact.value});
  text += TextTable(facts, 2);
  for (const std::string& note : result.notes) text += "note: " + note + "\n";
  return text;
}

}  // namespace lockstep::scale
