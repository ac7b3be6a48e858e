#include "tools/report/scale_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tools/report/page.h"
#include "tools/scale/result_table.h"

namespace lockstep::inline v0_1::tools {
namespace {

using scale::Curve;
using scale::CurvePoint;
using scale::LayerShare;
using scale::LayerTable;
using scale::Mode;
using scale::PredictedPoint;
using scale::ScalePoint;
using scale::ScaleResult;

std::string Title(Mode mode) { return mode == Mode::kStrong ? "Strong scaling" : "Weak scaling"; }

std::string Explained(Mode mode) {
  return mode == Mode::kStrong
             ? "The same batch at every point, so that a step becomes shorter. Speed-up is the "
               "throughput (samples a second) over that of the first point."
             : "As many samples for each worker, so that a step stays as long and does more. "
               "Speed-up is the throughput (samples a second) over that of the first point.";
}

// From the base point to the last, densely enough for a curved line.
std::vector<double> Between(double last) {
  std::vector<double> x;
  constexpr int kSteps = 60;
  for (int i = 0; i <= kSteps; ++i) x.push_back(1.0 + (last - 1.0) * i / kSteps);
  return x;
}

// One line through all points, or one for each number of ranks where two points have as many
// workers.
std::vector<Series> MeasuredLines(const ScaleResult& result, const Curve& curve) {
  bool apart = false;
  for (size_t i = 1; i < curve.points.size(); ++i)
    apart = apart || curve.points[i].workers == curve.points[i - 1].workers;
  std::vector<Series> lines;
  for (const CurvePoint& at : curve.points) {
    const int ranks = result.points[at.point].ranks;
    const std::string name =
        apart && ranks > 1 ? fmt::format("measured, {} ranks", ranks) : "measured";
    auto line = std::find_if(lines.begin(), lines.end(),
                             [&](const Series& one) { return one.name == name; });
    if (line == lines.end()) line = lines.insert(lines.end(), Series{.name = name});
    line->x.push_back(at.workers);
    line->y.push_back(at.speedup);
    line->low.push_back(at.low);
    line->high.push_back(at.high);
  }
  return lines;
}

Chart SpeedupChart(const ScaleResult& result, const Curve& curve) {
  Chart chart{.title = Title(curve.mode) + ": speed-up",
              .x_label = "workers (ranks x threads, of the first point's)",
              .y_label = "speed-up"};
  chart.series = MeasuredLines(result, curve);
  const double last = curve.points.back().workers;
  chart.series.push_back({.name = "ideal", .x = {1.0, last}, .y = {1.0, last}});
  if (curve.fit) {
    Series fit{
        .name = curve.mode == Mode::kStrong ? "Amdahl's law, fitted" : "Gustafson's law, fitted",
        .x = Between(last)};
    for (const double x : fit.x) fit.y.push_back(curve.fit->At(x));
    chart.series.push_back(std::move(fit));
  }
  return chart;
}

Chart EfficiencyChart(const ScaleResult& result, const Curve& curve) {
  Chart chart{.title = Title(curve.mode) + ": efficiency",
              .y_label = "% of ideal",
              .kind = Chart::Kind::kBar};
  Series bars{.name = "efficiency"};
  for (const CurvePoint& at : curve.points) {
    chart.categories.push_back(PlaceName(result.points[at.point]));
    bars.y.push_back(at.efficiency() * 100.0);
    bars.low.push_back(at.low / at.workers * 100.0);
    bars.high.push_back(at.high / at.workers * 100.0);
  }
  chart.series = {std::move(bars)};
  return chart;
}

void AddCurve(const ScaleResult& result, const Curve& curve, Page& page) {
  page.Heading(Title(curve.mode));
  page.Text(Explained(curve.mode) + " " + FitSentence(curve) + ".");
  page.Plot(SpeedupChart(result, curve));
  page.Plot(EfficiencyChart(result, curve));
  std::vector<std::vector<std::string>> rows = CurveRows(result, curve);
  const std::vector<std::string> header = std::move(rows.front());
  rows.erase(rows.begin());
  page.Table("Every point: medians", header, rows);
}

// The layers in which most of the time is spent, in the order in which they run.
std::vector<const LayerShare*> Longest(const LayerTable& table, size_t most) {
  std::vector<const LayerShare*> layers;
  for (const LayerShare& layer : table.layers) layers.push_back(&layer);
  const auto seconds = [](const LayerShare* layer) {
    return layer->forward_seconds + layer->backward_seconds;
  };
  if (layers.size() > most) {
    std::vector<double> all;
    for (const LayerShare* layer : layers) all.push_back(seconds(layer));
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(most) - 1, all.end(),
                     std::greater<>());
    const double least = all[most - 1];
    std::erase_if(layers, [&](const LayerShare* layer) { return seconds(layer) < least; });
  }
  return layers;
}

void AddLayers(const LayerTable& table, Page& page) {
  const std::string on = fmt::format("{} thread{}", table.threads, table.threads == 1 ? "" : "s");
  const std::vector<const LayerShare*> layers = Longest(table, 24);
  const std::string which = layers.size() < table.layers.size()
                                ? fmt::format(", the {} longest layers", layers.size())
                                : "";
  Chart times{
      .title = "Time by layer on " + on + which, .y_label = "ms", .kind = Chart::Kind::kBar};
  Chart shares{.title = "Share of the roofline by layer on " + on + which,
               .y_label = "% of the bound",
               .kind = Chart::Kind::kBar};
  Series forward{.name = "forward"}, backward{.name = "backward"}, bound{.name = "bound"},
      share{.name = "share of the bound"};
  for (const LayerShare* layer : layers) {
    times.categories.push_back(LayerName(*layer));
    shares.categories.push_back(LayerName(*layer));
    forward.y.push_back(layer->forward_seconds * 1e3);
    backward.y.push_back(layer->backward_seconds * 1e3);
    bound.y.push_back(layer->bound_seconds * 1e3);
    share.y.push_back(layer->share() * 100.0);
  }
  times.series = {std::move(forward), std::move(backward), std::move(bound)};
  shares.series = {std::move(share)};
  page.Plot(shares);
  page.Plot(times);
  std::vector<std::vector<std::string>> rows = LayerRows(table);
  const std::vector<std::string> header = std::move(rows.front());
  rows.erase(rows.begin());
  page.Table(
      fmt::format("Every layer on {}: peak {:.1f} GFLOP/s, {:.1f} GB/s", on,
                  table.peaks.operations_per_second * 1e-9, table.peaks.bytes_per_second * 1e-9),
      header, rows);
}

void AddCommunication(const ScaleResult& result, Page& page) {
  Chart chart{.title = "Time that ranks wait for each other",
              .y_label = "% of a step",
              .kind = Chart::Kind::kBar};
  Series waited{.name = "waiting"};
  for (const ScalePoint& point : result.points) {
    if (point.ranks == 1) continue;
    chart.categories.push_back(fmt::format("{}, batch {}", PlaceName(point), point.batch));
    waited.y.push_back(point.waited_share() * 100.0);
  }
  page.Heading("Communication");
  if (waited.y.empty()) {
    page.Text("Every point was one process: nothing was sent. --ranks 1,2 measures several.");
    return;
  }
  chart.series = {std::move(waited)};
  page.Text(
      "Of the mean rank. What ranks do for the exchange besides waiting (adding up, copying) is in "
      "the step and not in this share.");
  page.Plot(chart);
}

Chart PredictedChart(const ScaleResult& result, Mode mode,
                     const std::vector<PredictedPoint>& points) {
  Chart chart{.title = Title(mode) + " over ranks: predicted",
              .x_label = "ranks",
              .y_label = "speed-up over one rank",
              .log_x = true,
              .log_y = true};
  Series ideal{.name = "ideal"}, predicted{.name = "predicted", .dashed = true},
      unhidden{.name = "predicted, nothing hidden", .dashed = true}, measured{.name = "measured"};
  for (const PredictedPoint& point : points) {
    ideal.x.push_back(point.ranks);
    ideal.y.push_back(point.ranks);
    predicted.x.push_back(point.ranks);
    predicted.y.push_back(point.speedup);
    unhidden.x.push_back(point.ranks);
    unhidden.y.push_back(point.unhidden_speedup);
  }
  // Those of as many threads, over the one rank among them.
  const ScalePoint* one = nullptr;
  for (const ScalePoint& point : result.points) {
    if (point.threads != result.prediction->model.threads) continue;
    if (!(mode == Mode::kStrong ? point.strong : point.weak)) continue;
    if (point.ranks == 1) one = &point;
    if (one == nullptr) continue;
    measured.x.push_back(point.ranks);
    measured.y.push_back(point.samples_per_second() / one->samples_per_second());
  }
  chart.series = {std::move(ideal), std::move(predicted), std::move(unhidden)};
  if (measured.x.size() > 1) chart.series.push_back(std::move(measured));
  return chart;
}

void AddPrediction(const ScaleResult& result, Page& page) {
  if (!result.prediction) return;
  page.Heading("Predicted: more ranks than were there");
  page.Text(
      "Nothing in this section was measured at that size. It follows from what one rank takes, by "
      "the formula below; dashed lines are predictions.");
  const std::pair<Mode, const std::vector<PredictedPoint>*> curves[] = {
      {Mode::kStrong, &result.prediction->strong}, {Mode::kWeak, &result.prediction->weak}};
  for (const auto& [mode, points] : curves) {
    if (points->size() < 2) continue;
    page.Plot(PredictedChart(result, mode, *points));
  }
  for (const auto& [mode, points] : curves) {
    if (points->size() < 2) continue;
    std::vector<std::vector<std::string>> rows = PredictionRows(*points);
    const std::vector<std::string> header = std::move(rows.front());
    rows.erase(rows.begin());
    page.Table(Title(mode) + ", predicted", header, rows);
  }
  for (const std::string& line : PredictionSentences(*result.prediction)) page.Text(line);
}

}  // namespace

std::string ScalePage(const ScaleResult& result) {
  Page page("Scaling of " + result.name,
            fmt::format("{} parameters, batch {}{}, {}", result.parameters, result.batch,
                        result.loading ? ", loading included" : "",
                        ValueOf(result.machine, "processor")));
  std::vector<std::pair<std::string, std::string>> numbers;
  for (const Curve& curve : result.curves) {
    if (curve.points.empty()) continue;
    const CurvePoint& last = curve.points.back();
    const ScalePoint& point = result.points[last.point];
    if (curve.points.size() == 1) {
      numbers.emplace_back("step on " + PlaceName(point),
                           fmt::format("{:.4g} ms", point.timing.step().median * 1e3));
      break;
    }
    numbers.emplace_back(fmt::format("{} speed-up on {}", NameOf(curve.mode), PlaceName(point)),
                         fmt::format("{:.2f}", last.speedup));
    numbers.emplace_back(fmt::format("{} efficiency there", NameOf(curve.mode)),
                         fmt::format("{:.1f} %", last.efficiency() * 100.0));
    if (curve.fit) {
      numbers.emplace_back(fmt::format("serial share ({})", NameOf(curve.mode)),
                           fmt::format("{:.2f} %", curve.fit->serial * 100.0));
    }
  }
  page.Numbers(numbers);
  for (const std::string& note : result.notes) page.Text("Note: " + note);
  for (const Curve& curve : result.curves) {
    if (!curve.points.empty()) AddCurve(result, curve, page);
  }
  page.Heading("Roofline");
  page.Text(
      "How near each layer comes to what the machine's own limits allow it: multiply-adds in "
      "registers and memory moved, both measured in this run on as many threads. A layer whose "
      "numbers stay in the caches may be above 100 % of a bound by memory.");
  for (const LayerTable& table : result.layers) AddLayers(table, page);
  AddCommunication(result, page);
  AddPrediction(result, page);
  page.Heading("How it was measured");
  page.Text(fmt::format(
      "{} rounds, in each of which every point took its turn, {:.3g} s for each point in all, {} "
      "steps before. A point's figure is the median over rounds of a step's time; its interval "
      "holds the true median with 95 % confidence, by order statistics. Points whose interval is "
      "wider than {:.0f} % of the median are marked unstable.",
      result.options.repetitions, result.options.seconds, result.options.warm_up,
      result.options.widest * 100.0));
  std::vector<std::vector<std::string>> facts;
  for (const scale::Fact& fact : result.machine) facts.push_back({fact.name, fact.value});
  page.Table("Machine", {}, facts);
  return page.Html();
}

}  // namespace lockstep::tools
