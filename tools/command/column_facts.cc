#include "tools/command/column_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace lockstep::inline v0_1::tools {
namespace {

using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

// Shares from which a column is pointed out.
constexpr double kNearlyAll = 0.99;       // of its rows with one value
constexpr double kNearlyCopy = 0.995;     // AUC, or rows whose class the value tells
constexpr double kNearlyLinear = 0.9999;  // correlation, of a regression
constexpr int64_t kFewRows = 20;          // below which anything may look like anything
constexpr size_t kRowsOfAGroup = 10;      // likewise, of the rows with one value

// Of each row the value, or the code of its category; NaN where it is missing or not known.
std::vector<double> ValuesOf(const Table& table, int64_t column) {
  const bool category =
      table.description.columns[static_cast<size_t>(column)].kind == Kind::kCategory;
  std::vector<double> values(static_cast<size_t>(table.rows->size()));
  for (size_t row = 0; row < values.size(); ++row) {
    const CellValue cell = table.rows->at(static_cast<int64_t>(row), column);
    values[row] = !category        ? cell.number
                  : cell.code >= 0 ? static_cast<double>(cell.code)
                                   : std::nan("");
  }
  return values;
}

// 9, 99, 999, ..., 88, 888, ... or one of them below 0.
bool IsFiller(double value) {
  for (double nines = 9.0; nines < 0x1p24; nines = nines * 10.0 + 9.0) {
    const double eights = nines / 9.0 * 8.0;
    if (std::abs(value) == nines || (eights > 8.0 && std::abs(value) == eights)) return true;
  }
  return false;
}

// Numbers such as -999 stand for a missing value where they come more than once and are farther from
// all others than those are from each other.
std::string Filler(const std::vector<double>& sorted) {
  if (sorted.empty()) return "";
  for (const double value : {sorted.front(), sorted.back()}) {
    const auto [from, to] = std::equal_range(sorted.begin(), sorted.end(), value);
    const auto count = to - from;
    const bool is_least = from == sorted.begin();
    if (!IsFiller(value) || count < 2 || count == std::ssize(sorted)) continue;
    const double least = is_least ? *to : sorted.front();
    const double most = is_least ? sorted.back() : *(from - 1);
    const double gap = is_least ? least - value : value - most;
    if (least == most || gap <= most - least) continue;
    return fmt::format(
        "is {:.0f} in {} rows, far from all other values; if that stands for a missing value: "
        "data.missing_texts = [\"{:.0f}\"], as the file writes it",
        value, count, value);
  }
  return "";
}

void Count(const TableColumn& column, const std::vector<double>& values, ColumnFacts& facts) {
  facts.stored = true;
  facts.rows = static_cast<int64_t>(values.size());
  int64_t n = 0;
  double m2 = 0.0, last = 0.0;
  facts.all_whole = facts.counts_up = true;
  for (const double value : values) {
    if (std::isnan(value)) {
      ++facts.missing;
      facts.counts_up = false;
      continue;
    }
    if (n > 0 && value != last + 1.0) facts.counts_up = false;
    last = value;
    facts.all_whole = facts.all_whole && value == std::floor(value);
    facts.least = n == 0 ? value : std::min(facts.least, value);
    facts.most = n == 0 ? value : std::max(facts.most, value);
    const double delta = value - facts.mean;  // Welford
    facts.mean += delta / static_cast<double>(++n);
    m2 += delta * (value - facts.mean);
  }
  if (n == 0) {
    facts.all_whole = facts.counts_up = false;
    return;
  }
  facts.sd = std::sqrt(m2 / static_cast<double>(n));
  std::vector<double> sorted = values;
  std::erase_if(sorted, [](double value) { return std::isnan(value); });
  std::sort(sorted.begin(), sorted.end());
  int64_t different = 0, most = 0;
  for (size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
    while (end < sorted.size() && sorted[end] == sorted[begin]) ++end;
    const auto count = static_cast<int64_t>(end - begin);
    most = std::max(most, count);
    ++different;
    if (column.kind == Kind::kCategory || column.kind == Kind::kYesNo)
      facts.counts.emplace_back(column.categories[static_cast<size_t>(sorted[begin])], count);
  }
  std::stable_sort(facts.counts.begin(), facts.counts.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  facts.most_common = static_cast<double>(most) / static_cast<double>(n);
  facts.all_differ = n > 1 && different == n;
  if (column.kind == Kind::kNumber) facts.suspicion = Filler(sorted);
  facts.counts_up = facts.counts_up && n > 2;
}

// How well `x` alone, by its order, tells which rows have y = 1: the area under the curve, ties
// counted half (Mann and Whitney). 0.5 where it cannot be told.
double AucOf(const std::vector<double>& x, const std::vector<double>& y) {
  std::vector<size_t> order;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isnan(x[i]) && !std::isnan(y[i])) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] < x[b]; });
  double below = 0.0, above = 0.0, area = 0.0;  // rows with 0 so far, with 1, pairs in order
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    double zeros = 0.0, ones = 0.0;
    for (; end < order.size() && x[order[end]] == x[order[begin]]; ++end)
      (y[order[end]] != 0.0 ? ones : zeros) += 1.0;
    area += ones * (below + 0.5 * zeros);
    below += zeros;
    above += ones;
  }
  return below > 0.0 && above > 0.0 ? area / (below * above) : 0.5;
}

double CorrelationOf(const std::vector<double>& x, const std::vector<double>& y) {
  double n = 0.0, mean_x = 0.0, mean_y = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) || std::isnan(y[i])) continue;
    n += 1.0;
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    mean_x += dx / n;
    mean_y += dy / n;
    xx += dx * (x[i] - mean_x);
    yy += dy * (y[i] - mean_y);
    xy += dx * (y[i] - mean_y);
  }
  return xx > 0.0 && yy > 0.0 ? xy / std::sqrt(xx * yy) : 0.0;
}

// The share of rows whose class is the most frequent one among the rows with the same value of x;
// 0 where each value has but a few rows. Missing is a value as others are.
double ToldShare(const std::vector<double>& x, const std::vector<double>& y) {
  const auto less = [](double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; };
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return less(x[a], x[b]) || (!less(x[b], x[a]) && less(y[a], y[b]));
  });
  size_t groups = 0, told = 0;
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    size_t best = 0, run = 0;
    for (; end < order.size() && !less(x[order[begin]], x[order[end]]); ++end) {
      const bool same = run > 0 && y[order[end]] == y[order[end - 1]];
      run = same ? run + 1 : 1;
      best = std::max(best, run);
    }
    told += best;
    if (++groups * kRowsOfAGroup > order.size()) return 0.0;
  }
  return static_cast<double>(told) / static_cast<double>(std::max<size_t>(order.size(), 1));
}

std::string Suspicion(const TableColumn& column, const ColumnFacts& facts) {
  if (facts.missing == facts.rows) return "has no value at all";
  const bool whole_missing = facts.missing == 0;
  if (facts.most_common == 1.0)
    return whole_missing ? "has one value alone" : "has one value alone, or none";
  if (facts.most_common > kNearlyAll)
    return fmt::format("has one value in {:.1f} % of its rows", 100.0 * facts.most_common);
  if (column.kind == Kind::kNumber && facts.counts_up) return "counts the rows";
  if (column.kind == Kind::kNumber && facts.all_whole && facts.all_differ && facts.rows >= kFewRows)
    return "is a whole number that differs in every row, as an identifier does";
  if (column.kind == Kind::kCategory && facts.all_differ && facts.rows >= kFewRows)
    return "differs in every row";
  if (2 * facts.missing > facts.rows)
    return fmt::format(
        "is missing in {:.0f} % of the rows",
        100.0 * static_cast<double>(facts.missing) / static_cast<double>(facts.rows));
  return "";
}

// Whether a feature tells the target all by itself, as what is known only afterwards does.
std::string TellsTarget(const Table& table, const TableColumn& column,
                        const std::vector<double>& values, const std::vector<double>& target,
                        double largest_class) {
  const Task task = table.description.task;
  if (task == Task::kRegression) {
    if (column.kind == Kind::kCategory) return "";
    const double r = CorrelationOf(values, target);
    if (std::abs(r) < kNearlyLinear) return "";
    return fmt::format("is nearly a copy of the target (correlation {:.5f})", r);
  }
  const double told = ToldShare(values, target);
  if (told >= kNearlyCopy && largest_class < 0.97)
    return fmt::format("tells the target all by itself in {:.1f} % of the rows", 100.0 * told);
  if (task != Task::kBinary || column.kind == Kind::kCategory) return "";
  const double auc = AucOf(values, target);
  if (std::max(auc, 1.0 - auc) < kNearlyCopy) return "";
  return fmt::format("tells the target all by itself (AUC {:.4f})", std::max(auc, 1.0 - auc));
}

}  // namespace

std::vector<ColumnFacts> FactsOf(const Table& table) {
  const std::vector<TableColumn>& columns = table.description.columns;
  std::vector<ColumnFacts> all(columns.size());
  const int64_t target = table.description.target();
  std::vector<double> targets;
  if (target >= 0) targets = ValuesOf(table, target);
  double largest = 0.0;  // share of a class
  if (target >= 0) {
    const auto t = static_cast<size_t>(target);
    Count(columns[t], targets, all[t]);
    largest = all[t].most_common;
  }
  const bool enough = target >= 0 && table.rows->size() >= kFewRows;
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto place = static_cast<int64_t>(i);
    if (place == target || table.rows->layout().types[i] == CellType::kNone) continue;
    const std::vector<double> values = ValuesOf(table, place);
    Count(columns[i], values, all[i]);
    if (columns[i].role != Role::kFeature) continue;
    std::string more = Suspicion(columns[i], all[i]);
    if (enough && more.empty() && all[i].stored)
      more = TellsTarget(table, columns[i], values, targets, largest);
    std::string& said = all[i].suspicion;
    said = said.empty() || more.empty() ? said + more : said + "; it " + more;
  }
  return all;
}

}  // namespace lockstep::tools
