#include "tools/report/set_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/data/class_name.h"
#include "engine/train/metrics.h"
#include "tools/command/live_line.h"
#include "tools/report/page.h"
#include "tools/report/threshold_curves.h"

namespace lockstep::inline v0_1::tools {
namespace {

std::string Cell(const std::optional<double>& value) { return value ? LossText(*value) : "-"; }

// Each run's bar, and behind them one of the mean.
Chart MetricChart(const SetResult& set, size_t m) {
  const Spread& spread = set.spreads[m];
  Chart chart{.title = set.metrics[m] + " of each run",
              .y_label = set.metrics[m],
              .kind = Chart::Kind::kBar};
  Series bars{.name = set.metrics[m]};
  for (const MemberResult& run : set.runs) {
    chart.categories.push_back(run.member.name);
    const double value = run.metrics[m].value_or(std::nan(""));
    bars.y.push_back(value);
    bars.low.push_back(value);
    bars.high.push_back(value);
  }
  chart.categories.push_back("mean and sd");
  bars.y.push_back(spread.mean);
  bars.low.push_back(spread.mean - spread.sd);
  bars.high.push_back(spread.mean + spread.sd);
  chart.series = {std::move(bars)};
  return chart;
}

// Of two classes.
Chart RocChart(const SetResult& set) {
  Chart chart{.title = "ROC of the samples of all folds",
              .x_label = "share of negatives called positive",
              .y_label = "share of positives found"};
  for (size_t i = 0; i < set.held_out.size(); ++i) {
    const auto& [seed, held] = set.held_out[i];
    chart.series.push_back(SeriesOf(fmt::format("seed {}, AUC {}", seed, Cell(set.pooled[i].auc)),
                                    RocOf(Ranking(held.outputs, held.targets).cuts())));
  }
  chart.series.push_back({.name = "chance", .x = {0.0, 1.0}, .y = {0.0, 1.0}, .dashed = true});
  return chart;
}

// Of a regression with one number: at most so many points of the first seed.
Chart TruthChart(const SetResult& set) {
  constexpr size_t kMost = 2000;
  const HeldOut& held = set.held_out.front().second;
  const std::vector<float> predicted = PredictionsOf(held, set.samples);
  Series points{.name = "samples"};
  const size_t stride = std::max<size_t>(1, predicted.size() / kMost);
  for (size_t i = 0; i < predicted.size(); i += stride) {
    points.x.push_back(static_cast<double>(held.targets[i]));
    points.y.push_back(static_cast<double>(predicted[i]));
  }
  return {.title = "Predicted against true, each sample by the run that has not seen it",
          .x_label = "true",
          .y_label = "predicted",
          .kind = Chart::Kind::kScatter,
          .series = {std::move(points)}};
}

void AddConfusion(const SetResult& set, Page& page) {
  const EvaluationResult& all = set.pooled.front();
  constexpr int64_t kWidest = 30;
  if (all.confusion.empty() || all.classes > kWidest) return;
  std::vector<std::string> names;
  for (int64_t c = 0; c < all.classes; ++c)
    names.push_back(ClassNameOf(set.samples.class_names, c));
  page.Matrix("All folds: truth by row, predicted by column", names, names, ConfusionRows(all));
}

std::string Explained(const SetResult& set) {
  std::string text = "Each row is a run of its own, measured on its " + set.split + " samples. ";
  if (set.held_out.empty()) {
    return text +
           "Runs differ in their seed alone: initial weights, shuffling, dropout. The spread is "
           "what such chance does to the result.";
  }
  return text +
         "Every fold was held back once: the run that is measured on it has not seen it. The mean "
         "over the folds is the estimate for new samples of the same kind; sd is the spread from "
         "fold to fold, which is not its error: folds share training samples. All folds: the "
         "held-back samples of all runs as one evaluation.";
}

}  // namespace

std::vector<std::vector<std::string>> SetRows(const SetResult& set) {
  std::vector<std::string> header = {"run", "samples"};
  header.insert(header.end(), set.metrics.begin(), set.metrics.end());
  header.push_back("seconds");
  std::vector<std::vector<std::string>> rows = {std::move(header)};
  for (const MemberResult& run : set.runs) {
    std::vector<std::string> row = {run.member.name, std::to_string(run.samples)};
    for (const std::optional<double>& value : run.metrics) row.push_back(Cell(value));
    row.push_back(fmt::format("{:.1f}", run.seconds));
    rows.push_back(std::move(row));
  }
  const auto add = [&](const std::string& name, auto of) {
    std::vector<std::string> row = {name, ""};
    for (const Spread& spread : set.spreads) row.push_back(LossText(of(spread)));
    row.emplace_back();
    rows.push_back(std::move(row));
  };
  if (set.runs.size() > 1) {
    add("mean", [](const Spread& s) { return s.mean; });
    add("sd", [](const Spread& s) { return s.sd; });
    add("smallest", [](const Spread& s) { return s.low; });
    add("largest", [](const Spread& s) { return s.high; });
  }
  for (size_t i = 0; i < set.pooled.size(); ++i) {
    std::string name = "all folds";
    if (set.pooled.size() > 1) name += fmt::format(", seed {}", set.held_out[i].first);
    std::vector<std::string> row = {name, std::to_string(set.pooled[i].samples)};
    for (const std::string& metric : set.metrics)
      row.push_back(Cell(ValueOf(set.pooled[i], *MetricFromName(metric))));
    row.emplace_back();
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string SetPage(const SetResult& set, const Recipe& recipe, const std::string& name) {
  Page page(name, fmt::format("{} runs of one recipe", set.runs.size()));
  std::vector<std::pair<std::string, std::string>> tiles;
  for (size_t m = 0; m < set.metrics.size(); ++m) {
    tiles.emplace_back(
        set.metrics[m] + ", mean (sd)",
        fmt::format("{} ({})", LossText(set.spreads[m].mean), LossText(set.spreads[m].sd)));
  }
  page.Numbers(tiles);
  page.Text(Explained(set));
  std::vector<std::vector<std::string>> rows = SetRows(set);
  const std::vector<std::string> header = std::move(rows.front());
  rows.erase(rows.begin());
  page.Table("Every run", header, rows);
  for (size_t m = 0; m < set.metrics.size(); ++m) page.Plot(MetricChart(set, m));
  if (!set.held_out.empty()) {
    page.Heading("All folds together");
    const Reading reading = ObjectiveOf(set.samples.task).reading;
    if (reading == Reading::kPositive) page.Plot(RocChart(set));
    if (reading == Reading::kValues && set.held_out.front().second.columns == 1)
      page.Plot(TruthChart(set));
    AddConfusion(set, page);
  }
  page.Listing("The recipe", PrintRecipe(recipe));
  return page.Html();
}

}  // namespace lockstep::tools
