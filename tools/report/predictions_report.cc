#include "tools/report/predictions_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/data/class_name.h"
#include "engine/data/text/tokenizer.h"
#include "engine/io/file.h"
#include "tools/report/assessment_text.h"
#include "tools/report/text_samples.h"
#include "tools/report/threshold_curves.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Row = std::vector<std::string>;

constexpr size_t kLargestMatrix = 20;
// What a reader looks at of many.
constexpr size_t kMostColumns = 6, kMostBars = 20;

std::string ShareText(int64_t part, int64_t whole) {
  return whole == 0 ? "-"
                    : fmt::format("{:.2f} %",
                                  100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string ClassName(const DatasetInfo& info, int64_t c) {
  if (IsText(info) && info.tokenizer != nullptr && c < info.tokenizer->size())
    return Quoted(std::string(info.tokenizer->Bytes(static_cast<int32_t>(c))));
  return ClassNameOf(info.class_names, c);
}

// Of many classes those that are found worst, and the pairs that are mistaken most often.
void AddClasses(const std::vector<std::string>& names,
                const std::vector<std::vector<int64_t>>& counts, const Assessment* all,
                Page& page) {
  struct Class {
    size_t index;
    int64_t samples = 0, predicted = 0, right = 0;
    double recall() const {
      return samples == 0 ? 1.0 : static_cast<double>(right) / static_cast<double>(samples);
    }
  };
  std::vector<Class> classes;
  for (size_t c = 0; c < names.size(); ++c) {
    Class one{.index = c, .right = counts[c][c]};
    for (size_t other = 0; other < names.size(); ++other) {
      one.samples += counts[c][other];
      one.predicted += counts[other][c];
    }
    classes.push_back(one);
  }
  std::string title = "Class by class";
  const bool many = names.size() > kLargestMatrix;
  if (many) {
    std::stable_sort(classes.begin(), classes.end(),
                     [](const Class& a, const Class& b) { return a.recall() < b.recall(); });
    classes.resize(kLargestMatrix);
    title += fmt::format(": the {} of {} with the least recall", classes.size(), names.size());
  }
  const bool areas = all != nullptr && all->classes.size() == names.size();
  Row header = {"class", "samples", "recall", "precision", "F1"};
  if (areas) header.push_back("AUC");
  std::vector<Row> rows;
  for (const Class& one : classes) {
    const int64_t both = one.samples + one.predicted;
    rows.push_back({names[one.index], Grouped(one.samples), ShareText(one.right, one.samples),
                    ShareText(one.right, one.predicted),
                    both == 0 ? "-"
                              : fmt::format("{:.4f}", 2.0 * static_cast<double>(one.right) /
                                                          static_cast<double>(both))});
    if (!areas) continue;
    const auto area = all->classes[one.index].auc;
    rows.back().push_back(area ? fmt::format("{:.4f}", *area) : "-");
  }
  page.Table(title, header, rows);
  if (!many) return;

  struct Pair {
    size_t truth, said;
    int64_t count;
  };
  std::vector<Pair> pairs;
  for (size_t truth = 0; truth < names.size(); ++truth) {
    for (size_t said = 0; said < names.size(); ++said) {
      if (truth != said && counts[truth][said] > 0)
        pairs.push_back({truth, said, counts[truth][said]});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.count > b.count; });
  if (pairs.size() > kLargestMatrix) pairs.resize(kLargestMatrix);
  rows.clear();
  for (const Pair& pair : pairs)
    rows.push_back({names[pair.truth], names[pair.said], Grouped(pair.count)});
  if (!rows.empty()) page.Table("Mistaken most often", {"class", "taken for", "samples"}, rows);
}

void AddScores(const std::string& title, const std::vector<Score>& scores, Page& page) {
  std::vector<Row> rows;
  for (const Score& score : scores) {
    rows.push_back({TitleOf(score.name), ValueText(score.name, score.value),
                    IntervalText(score.name, score.interval)});
  }
  page.Table(title, {"score", "value", "95 % interval"}, rows);
}

void AddCalibration(const Assessment& all, Page& page) {
  const bool binary = all.reading == Reading::kPositive;
  Series bins{.name = "this network"};
  std::vector<Row> rows;
  for (const CalibrationBin& bin : all.calibration) {
    bins.x.push_back(bin.said);
    bins.y.push_back(bin.so);
    bins.low.push_back(bin.so_interval.low);
    bins.high.push_back(bin.so_interval.high);
    rows.push_back({fmt::format("{:.1f} to {:.1f}", bin.low, bin.high), Grouped(bin.samples),
                    fmt::format("{:.2f} %", 100.0 * bin.said),
                    fmt::format("{:.2f} %", 100.0 * bin.so)});
  }
  page.Plot({.title = binary ? "Calibration: is what it says so?"
                             : "Calibration of the predicted class: is it as sure as it is right?",
             .x_label = binary ? "predicted probability of a positive"
                               : "predicted probability of the predicted class",
             .y_label = binary ? "share that is positive" : "share that is right",
             .series = {std::move(bins),
                        {.name = "as it should be", .x = {0, 1}, .y = {0, 1}, .dashed = true}}});
  page.Table("Calibration by predicted probability",
             {"probability", "samples", "predicted", "true"}, rows);
}

void AddBinary(const Assessment& all, Page& page) {
  if (!all.cuts.empty()) {
    page.Plot({.title = "Receiver operating characteristic",
               .x_label = "share of the negatives taken for positive",
               .y_label = "share of the positives found",
               .series = {SeriesOf("this network", RocOf(all.cuts)),
                          {.name = "guessing", .x = {0, 1}, .y = {0, 1}, .dashed = true}}});
    const double share = static_cast<double>(all.positives) / static_cast<double>(all.samples);
    page.Plot({.title = "Precision and recall",
               .x_label = "share of the positives found (recall)",
               .y_label = "share of what is said that is so (precision)",
               .series = {SeriesOf("this network", PrecisionRecallOf(all.cuts)),
                          {.name = "guessing", .x = {0, 1}, .y = {share, share}, .dashed = true}}});
  }
  std::vector<Row> rows;
  const auto add = [&](float threshold, const Outcome& outcome, const char* mark) {
    const int64_t positives = outcome.true_positives + outcome.false_negatives;
    const int64_t negatives = outcome.true_negatives + outcome.false_positives;
    const int64_t said = outcome.true_positives + outcome.false_positives;
    rows.push_back(
        {fmt::format("{:.3g}{}", threshold, mark), Grouped(said),
         ShareText(outcome.true_positives, positives), ShareText(outcome.true_negatives, negatives),
         ShareText(outcome.true_positives, said),
         ShareText(outcome.true_negatives, outcome.true_negatives + outcome.false_negatives)});
  };
  bool told = false;
  for (const OutcomeRow& row : all.outcomes) {
    if (!told && all.decision.threshold <= row.threshold) {
      add(all.decision.threshold, all.outcome, " (this model's)");
      told = true;
      if (row.threshold == all.decision.threshold) continue;
    }
    add(row.threshold, row.outcome, "");
  }
  if (!told) add(all.decision.threshold, all.outcome, " (this model's)");
  page.Table("At other thresholds",
             {"threshold", "said positive", "recall (sensitivity)", "specificity",
              "positive predictive value", "negative predictive value"},
             rows);
}

void AddResiduals(const Residuals& residuals, const std::string& of, Page& page) {
  Series points{.name = "samples"}, errors{.name = "samples"};
  double least = INFINITY, most = -INFINITY, first = INFINITY, last = -INFINITY;
  for (const ValuePair& pair : residuals.points) {
    points.x.push_back(pair.truth);
    points.y.push_back(pair.predicted);
    errors.x.push_back(pair.predicted);
    errors.y.push_back(pair.predicted - pair.truth);
    least = std::min(least, pair.truth);
    most = std::max(most, pair.truth);
    first = std::min(first, pair.predicted);
    last = std::max(last, pair.predicted);
  }
  page.Plot(
      {.title = "Predicted and true" + of,
       .x_label = "true",
       .y_label = "predicted",
       .kind = Chart::Kind::kScatter,
       .series = {
           std::move(points),
           {.name = "as it should be", .x = {least, most}, .y = {least, most}, .dashed = true}}});
  page.Plot(
      {.title = "Errors (predicted less true) by what is predicted" + of,
       .x_label = "predicted",
       .y_label = "error",
       .kind = Chart::Kind::kScatter,
       .series = {std::move(errors),
                  {.name = "as it should be", .x = {first, last}, .y = {0, 0}, .dashed = true}}});
  Chart histogram{.title = "Errors" + of, .y_label = "samples", .kind = Chart::Kind::kBar};
  histogram.series = {{.name = "samples"}};
  const double width = (residuals.most - residuals.least) /
                       static_cast<double>(std::max<size_t>(residuals.histogram.size(), 1));
  for (size_t r = 0; r < residuals.histogram.size(); ++r) {
    const double from = residuals.least + static_cast<double>(r) * width;
    histogram.categories.push_back(fmt::format("{:.3g} to {:.3g}", from, from + width));
    histogram.series[0].y.push_back(static_cast<double>(residuals.histogram[r]));
  }
  page.Plot(histogram);
  const auto number = [](double value) { return fmt::format("{:.7g}", value); };
  page.Table("Errors" + of + ": least, 5th, 50th and 95th of a hundred, most", {},
             {{"least", number(residuals.least)},
              {"5 %", number(residuals.q05)},
              {"median", number(residuals.median)},
              {"95 %", number(residuals.q95)},
              {"most", number(residuals.most)}});
  std::vector<Row> rows;
  for (const ValuePair& pair : residuals.largest) {
    rows.push_back({std::to_string(pair.index), number(pair.truth), number(pair.predicted),
                    number(pair.predicted - pair.truth)});
  }
  page.Table("The largest errors" + of, {"sample (from 0)", "true", "predicted", "error"}, rows);
}

void AddSubgroups(const SubgroupScores& by, Reading reading, Page& page) {
  const bool binary = reading == Reading::kPositive;
  Row header = {by.column, "samples"};
  if (binary) header.push_back("positives");
  std::vector<Row> rows;
  for (const GroupScores& group : by.groups) {
    Row row = {group.name, Grouped(group.samples)};
    if (binary) row.push_back(Grouped(group.positives));
    for (const Score& score : group.scores) {
      if (rows.empty()) header.push_back(TitleOf(score.name));
      row.push_back(ScoreText(score));
    }
    rows.push_back(std::move(row));
  }
  std::string title = "By " + by.column;
  if (by.smaller > 0)
    title += fmt::format(", the largest groups ({} are smaller)", Grouped(by.smaller));
  if (by.without > 0)
    title += fmt::format(" ({} samples have no value there)", Grouped(by.without));
  page.Table(title, header, rows);
}

void AddImportances(const Importances& importances, Page& page) {
  page.Heading("What it relies on");
  page.Text(fmt::format(
      "Each column's values are dealt anew among {} samples, {} times, and the loss in {} is "
      "measured, which is {} with everything in its place; bars are means, whiskers one standard "
      "deviation. Columns that say the same share their importance.",
      Grouped(importances.samples), importances.repetitions, TitleOf(importances.score),
      ValueText(importances.score, importances.value)));
  const size_t shown = std::min(importances.columns.size(), kMostBars);
  Chart chart{.title = shown < importances.columns.size()
                           ? fmt::format("Importance: the {} columns of {} with the most", shown,
                                         importances.columns.size())
                           : "Importance by column",
              .y_label = "loss in " + TitleOf(importances.score),
              .kind = Chart::Kind::kBar};
  chart.series = {{.name = "importance"}};
  std::vector<Row> rows;
  for (size_t c = 0; c < shown; ++c) {
    const Importance& one = importances.columns[c];
    chart.categories.push_back(one.column);
    chart.series[0].y.push_back(one.mean);
    chart.series[0].low.push_back(one.mean - one.sd);
    chart.series[0].high.push_back(one.mean + one.sd);
    rows.push_back({one.column, fmt::format("{:.4f}", one.mean), fmt::format("{:.4f}", one.sd)});
  }
  page.Plot(chart);
  page.Table("Importance by column", {"column", "mean", "sd"}, rows);
}

}  // namespace

void AddAssessment(const Assessment& all, Page& page) {
  std::vector<Score> scores = all.scores;
  if (all.reading != Reading::kValues) {
    scores.push_back({.name = "calibration_error", .value = all.calibration_error});
    scores.push_back({.name = "log_loss", .value = all.log_loss});
    if (all.decision.temperature != 1.0f)
      scores.push_back({.name = "log loss before calibration", .value = all.uncalibrated_log_loss});
  }
  page.Text(AboutIntervals(all));
  if (const std::string decision = AboutDecision(all.decision); !decision.empty())
    page.Text(decision);
  AddScores("Scores", scores, page);
  if (!all.weighted.empty())
    AddScores("Scores by the samples' weights; all else counts every sample once", all.weighted,
              page);
  if (all.reading == Reading::kPositive) AddBinary(all, page);
  if (all.reading != Reading::kValues) AddCalibration(all, page);
  const size_t columns = std::min(all.residuals.size(), kMostColumns);
  for (size_t c = 0; c < columns; ++c) {
    const std::string of = all.residuals.size() == 1 ? "" : fmt::format(", value {}", c);
    if (all.residuals.size() > 1) AddScores("Scores" + of, all.residuals[c].scores, page);
    AddResiduals(all.residuals[c], of, page);
  }
  if (!all.subgroups.empty()) {
    page.Heading("Subgroups");
    page.Text(
        "Intervals stand in brackets: where those of two groups overlap widely, their "
        "difference may be chance.");
  }
  for (const SubgroupScores& by : all.subgroups) AddSubgroups(by, all.reading, page);
  if (!all.importances.columns.empty()) AddImportances(all.importances, page);
  if (!all.importance_note.empty())
    page.Text("How much it relies on each column was " + all.importance_note + ".");
}

void AddPredictions(const std::string& split, const EvaluationResult& result, const Assessment* all,
                    const DatasetInfo& info, Page& page) {
  if (result.confusion.empty() && all == nullptr) return;
  page.Heading("Predictions on the " + split + " samples");
  if (!result.confusion.empty()) {
    std::vector<std::string> names;
    const std::vector<std::vector<int64_t>> counts = ConfusionRows(result);
    for (int64_t c = 0; c < result.classes; ++c) names.push_back(ClassName(info, c));
    if (names.size() <= kLargestMatrix) {
      page.Matrix("Confusion: a row is what the samples are, a column what was predicted", names,
                  names, counts);
    }
    AddClasses(names, counts, all, page);
  }
  if (all != nullptr) AddAssessment(*all, page);
}

}  // namespace lockstep::tools
