#include "engine/data/table/table_features.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/portable_math.h"
namespace lockstep::inline v0_1 {
namespace {

using Kind = TableColumn::Kind;

// 1970-01-01 was a Thursday; weeks begin on Monday.
constexpr DateCycle kCycles[] = {{"year", 0.0, 365.2425}, {"week", 3.0, 7.0}, {"day", 0.0, 1.0}};
// Of the cycle, from 0 to 1.
double PhaseOf(const DateCycle& cycle, double days) {
  const double turns = (days + cycle.shift) / cycle.length;
  return turns - std::floor(turns);
}

int64_t FeaturesOf(const TableColumn& column) {
  const int64_t indicator = column.indicate ? 1 : 0;
  switch (column.kind) {
    case Kind::kCategory:
      if (column.width > 0) return 1;
      return static_cast<int64_t>(column.categories.size()) + (column.has_missing ? 1 : 0);
    case Kind::kDate:
      return 1 + 2 * static_cast<int64_t>(CyclesOf(column).size()) + indicator;
    case Kind::kNumber:
    case Kind::kYesNo:
      break;
  }
  return 1 + indicator;
}

}  // namespace

std::span<const DateCycle> DateCycles() { return kCycles; }

std::span<const DateCycle> CyclesOf(const TableColumn& column) {
  if (column.date == DateForm::kTimeOfDay) return DateCycles().last(1);
  return DateCycles().first(column.has_time ? 3 : 2);
}

FeatureLayout LayoutOf(const TableDescription& description) {
  FeatureLayout layout;
  for (const bool embedded : {false, true}) {
    for (size_t i = 0; i < description.columns.size(); ++i) {
      const TableColumn& column = description.columns[i];
      if (column.role != TableColumn::Role::kFeature) continue;
      const bool looks_up = column.kind == Kind::kCategory && column.width > 0;
      if (looks_up != embedded) continue;
      ColumnFeatures where{.column = static_cast<int64_t>(i),
                           .begin = layout.size,
                           .end = layout.size + FeaturesOf(column),
                           .embedded = embedded};
      if (column.kind == Kind::kCategory) {
        where.values =
            static_cast<int64_t>(column.categories.size()) + (column.has_missing ? 1 : 0) + 1;
      }
      layout.size = where.end;
      layout.columns.push_back(where);
    }
  }
  return layout;
}

std::string ColumnName(const TableDescription& description, int64_t column) {
  const std::string& name = description.columns[static_cast<size_t>(column)].name;
  return name.empty() ? "column " + std::to_string(column) : name;
}

std::vector<std::string> FeatureNames(const TableDescription& description) {
  std::vector<std::string> names;
  for (const ColumnFeatures& where : LayoutOf(description).columns) {
    const TableColumn& column = description.columns[static_cast<size_t>(where.column)];
    const std::string name = ColumnName(description, where.column);
    if (column.kind == Kind::kCategory && !where.embedded) {
      for (const std::string& category : column.categories) names.push_back(name + "=" + category);
      if (column.has_missing) names.push_back(name + "=(missing)");
      continue;
    }
    names.push_back(name);
    if (column.kind == Kind::kDate) {
      for (const DateCycle& cycle : CyclesOf(column)) {
        names.push_back(name + " (sin of " + cycle.name + ")");
        names.push_back(name + " (cos of " + cycle.name + ")");
      }
    }
    if (column.indicate) names.push_back(name + " (missing)");
  }
  return names;
}

void DescribeSamples(std::shared_ptr<const TableDescription> description, DatasetInfo& info) {
  const FeatureLayout layout = LayoutOf(*description);
  info.x_shape = {layout.size};
  info.feature_names = FeatureNames(*description);
  info.columns.clear();
  info.embedded.clear();
  for (const ColumnFeatures& where : layout.columns) {
    info.columns.push_back(
        {.name = ColumnName(*description, where.column), .begin = where.begin, .end = where.end});
    if (!where.embedded) continue;
    info.embedded.push_back(
        {.feature = where.begin,
         .values = where.values,
         .width = description->columns[static_cast<size_t>(where.column)].width});
  }
  info.class_names.clear();
  info.target_offset = 0.0;
  info.target_scale = 1.0;
  if (const int64_t target = description->target(); target >= 0) {
    const TableColumn& column = description->columns[static_cast<size_t>(target)];
    const bool values = description->task == Task::kRegression;
    if (!values) info.class_names = column.categories;
    if (values) info.target_offset = column.subtracted;
    if (values && column.divided > 0.0) info.target_scale = column.divided;
    const bool classes = description->task == Task::kClasses;
    SetTargets(description->task, classes ? static_cast<int64_t>(column.categories.size()) : 1,
               info);
  }
  info.weighted = description->PlaceOf(TableColumn::Role::kWeight) >= 0;
  info.table = std::move(description);
}

void EncodeCell(const TableColumn& column, const ColumnFeatures& where, CellValue value, float* x) {
  float* const to = x + where.begin;
  const int64_t size = where.end - where.begin;
  if (column.kind == Kind::kCategory) {
    const auto known = static_cast<int64_t>(column.categories.size());
    int64_t code = value.code;
    if (code == kMissingCode) code = column.has_missing ? known : kUnseenCode;
    const bool learned =
        code == known ||
        (code >= 0 && (column.counts.empty() || column.counts[static_cast<size_t>(code)] > 0));
    if (!learned) code = kUnseenCode;
    if (where.embedded) {
      *to = static_cast<float>(code >= 0 ? code : where.values - 1);
      return;
    }
    std::fill(to, to + size, 0.0f);
    if (code >= 0) to[code] = 1.0f;
    return;
  }
  const bool missing = std::isnan(value.number);
  const double v = missing ? column.fill : value.number;
  *to = column.divided > 0.0 ? static_cast<float>((v - column.subtracted) / column.divided) : 0.0f;
  if (column.indicate) to[size - 1] = missing ? 1.0f : 0.0f;
  if (column.kind != Kind::kDate) return;
  float* wave = to + 1;
  for (const DateCycle& cycle : CyclesOf(column)) {
    const portable::SinCos turn = portable::Turn(missing ? 0.0 : PhaseOf(cycle, value.number));
    *wave++ = missing ? 0.0f : static_cast<float>(turn.sin);
    *wave++ = missing ? 0.0f : static_cast<float>(turn.cos);
  }
}

}  // namespace lockstep
