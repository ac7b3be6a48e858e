// What a study found, and what follows from it: see Findings in study.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"
#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {

Spread SpreadOf(std::span<const double> values) {
  LOCKSTEP_CHECK(!values.empty(), "a spread needs values");
  const auto n = static_cast<double>(values.size());
  Spread spread{.low = *std::min_element(values.begin(), values.end()),
                .high = *std::max_element(values.begin(), values.end())};
  for (const double v : values) spread.mean += v / n;
  double squares = 0.0;
  for (const double v : values) squares += (v - spread.mean) * (v - spread.mean);
  if (values.size() > 1) spread.sd = std::sqrt(squares / (n - 1.0));
  spread.standard_error = spread.sd / std::sqrt(n);
  return spread;
}

double Median(std::vector<double> values) {
  LOCKSTEP_CHECK(!values.empty(), "a median needs values");
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2.0;
}

size_t LearnedBest(const std::vector<std::vector<Outcome>>& outcomes, size_t begin, size_t end) {
  size_t best = begin;
  double least = HUGE_VAL;
  for (size_t c = begin; c < end; ++c) {
    double loss = 0.0;
    for (const Outcome& o : outcomes[c]) loss += o.train_loss;
    if (loss < least) {
      least = loss;
      best = c;
    }
  }
  return best;
}

bool ClearlyPositive(std::span<const double> differences) {
  const Spread spread = SpreadOf(differences);
  return spread.mean > 0.0 && spread.mean > 2.0 * spread.standard_error;
}

std::vector<double> Difference(std::span<const double> a, std::span<const double> b) {
  LOCKSTEP_CHECK_EQ(a.size(), b.size());
  std::vector<double> difference;
  for (size_t i = 0; i < a.size(); ++i) difference.push_back(a[i] - b[i]);
  return difference;
}

std::string Percent(std::span<const double> shares) {
  const Spread spread = SpreadOf(shares);
  return fmt::format("{:.1f} ± {:.1f} %", spread.mean * 100.0, spread.sd * 100.0);
}

std::string Number(double value) { return fmt::format("{:.3g}", value); }

std::string Number(std::span<const double> values) {
  const Spread spread = SpreadOf(values);
  return fmt::format("{:.3g} ± {:.2g}", spread.mean, spread.sd);
}

void Findings::Add(const std::string& metric, const std::string& arm, double x,
                   std::span<const Outcome> outcomes,
                   const std::function<double(const Outcome&)>& value) {
  std::vector<double> values;
  for (const Outcome& outcome : outcomes) values.push_back(value(outcome));
  Add(metric, arm, x, std::move(values));
}

const std::vector<double>& Findings::Values(const std::string& metric, const std::string& arm,
                                            double x) const {
  for (const Row& row : rows_) {
    if (row.metric == metric && row.arm == arm && row.x == x) return row.values;
  }
  LOCKSTEP_CHECK(false, ("nothing was recorded as " + metric + " of " + arm).c_str());
  return rows_.front().values;
}

void Findings::Plot(const std::string& metric, Chart chart) {
  for (const Row& row : rows_) {
    if (row.metric != metric) continue;
    auto series = std::find_if(chart.series.begin(), chart.series.end(),
                               [&](const Series& s) { return s.name == row.arm; });
    if (series == chart.series.end()) {
      chart.series.push_back({.name = row.arm, .x = {}, .y = {}});
      series = chart.series.end() - 1;
    }
    const Spread spread = SpreadOf(row.values);
    series->x.push_back(row.x);
    series->y.push_back(spread.mean);
    series->low.push_back(spread.low);
    series->high.push_back(spread.high);
  }
  charts_.push_back(std::move(chart));
}

bool Findings::Listed(const Row& row) const {
  return std::find(unlisted_.begin(), unlisted_.end(), row.metric) == unlisted_.end();
}

std::string Findings::Verdict() const {
  const auto met =
      std::count_if(checks_.begin(), checks_.end(), [](const Check& c) { return c.met; });
  if (met == 0) return "does not hold";
  return met == static_cast<std::ptrdiff_t>(checks_.size()) ? "holds" : "holds in part";
}

std::string Findings::Paragraph(const std::string& claim) const {
  const auto listed = [&](bool met) {
    std::string text;
    for (const Check& check : checks_) {
      if (check.met == met)
        text += (text.empty() ? "" : "; ") + check.claim + " (" + check.measured + ")";
    }
    return text;
  };
  std::string text = "\"" + claim + "\" " + Verdict() + " here.";
  if (const std::string seen = listed(true); !seen.empty()) text += " Seen: " + seen + ".";
  if (const std::string missed = listed(false); !missed.empty())
    text += " Expected, and not seen: " + missed + ".";
  for (const std::string& remark : remarks_) text += " " + remark;
  return text;
}

}  // namespace lockstep::tools
