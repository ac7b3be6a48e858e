#include "engine/data/series/series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "engine/data/byte_source.h"
#include "engine/data/table/class_labels.h"
#include "engine/data/table/find_columns.h"

namespace lockstep::inline v0_1 {
namespace {

// Where what is needed stands in the file.
struct Columns {
  std::vector<size_t> features;
  std::optional<size_t> target, group;  // kRegression: the target is one of the features as well
};

// Neighbouring rows, as numbers and texts.
class SeriesVisitor final : public RowVisitor {
 public:
  SeriesVisitor(const TableText& text, const SeriesOptions& options, const MissingTexts& missing,
                const Columns& columns)
      : text_(text), options_(options), missing_(missing), columns_(columns) {}

  Status Visit(const TableRow& row) override {
    const bool values = options_.task == Task::kRegression;
    for (const size_t column : columns_.features) {
      const bool may_lack = options_.allow_missing && !(values && column == columns_.target);
      LOCKSTEP_TRY_ASSIGN(x.emplace_back(), Number(row, column, may_lack));
      if (values && column == columns_.target) targets.push_back(x.back());
    }
    if (columns_.group) groups.emplace_back(row.cells[*columns_.group]);
    ++rows;
    if (values || !columns_.target) return Status::Ok();
    const std::string_view label = row.cells[*columns_.target];
    if (label.empty()) return Fail(row, *columns_.target, "the label is missing; complete it");
    labels.emplace_back(label);
    return Status::Ok();
  }

  std::vector<float> x, targets;
  std::vector<std::string> labels, groups;
  int64_t rows = 0;
  bool has_missing = false;

 private:
  Status Fail(const TableRow& row, size_t column, const std::string& what) const {
    return Status::Corrupt(what).At(text_.PlaceOf(row.line, static_cast<int64_t>(column)));
  }

  Result<float> Number(const TableRow& row, size_t column, bool may_lack) {
    const std::string_view cell = row.cells[column];
    if (missing_.Has(cell)) {
      has_missing = true;
      if (may_lack) return std::numeric_limits<float>::quiet_NaN();
      return Fail(row, column,
                  ShownText(cell) +
                      " is a missing value; a row cannot be left out of a series: complete it, or "
                      "have missing features taken as their mean (data.missing = \"mean\")");
    }
    const NumberCell number = ReadNumber(cell, text_.dialect().number);
    const bool fits = std::abs(number.value) <= std::numeric_limits<float>::max();
    if (number.kind == NumberCell::kNumber && fits) return static_cast<float>(number.value);
    return Fail(row, column,
                ShownText(cell) +
                    " is no number that a 32-bit float holds; leave this column out (data.ignore), "
                    "or list the text as missing (data.missing_texts)");
  }

  const TableText& text_;
  const SeriesOptions& options_;
  const MissingTexts& missing_;
  const Columns& columns_;
};

class Parser {
 public:
  Parser(const TableText& text, const SeriesOptions& options) : text_(text), options_(options) {
    series_.name = text.name();
    series_.task = options.task;
    series_.remarks = text.remarks();
  }

  Result<Series> Parse(const std::vector<std::string>& missing_texts) {
    LOCKSTEP_TRY(options_.trained.empty() ? FindColumns() : FindTrained());
    series_.features = std::ssize(columns_.features);
    const MissingTexts missing(missing_texts);
    LOCKSTEP_TRY(text_.ForEachRow(
        [&] { return std::make_unique<SeriesVisitor>(text_, options_, missing, columns_); },
        [&](RowVisitor& visitor) { return Take(static_cast<SeriesVisitor&>(visitor)); },
        options_.threads));
    if (rows_ == 0) return Fail("there is only a header and no row of data");
    return Finish();
  }

 private:
  // One of the series, as its rows come.
  struct Group {
    std::string name;
    std::vector<float> x{}, values{};
    std::vector<int32_t> labels{};  // provisional, unless options.classes are given
    std::vector<int64_t> places{};
  };

  Status Fail(const std::string& what) const { return Status::Corrupt(series_.name + ": " + what); }
  bool IsValue() const { return options_.task == Task::kRegression; }
  bool NeedsTarget() const { return IsValue() || !options_.unlabelled; }

  Result<size_t> Find(const CsvColumn& column, const char* role) const {
    return FindCsvColumn(series_.name, column, role, static_cast<size_t>(text_.columns()),
                         text_.names().empty() ? nullptr : &text_.names());
  }

  Status FindColumns() {
    using Role = TableColumn::Role;
    const auto columns = static_cast<size_t>(text_.columns());
    series_.columns.resize(columns);
    const auto role = [&](size_t column) -> Role& { return series_.columns[column].role; };
    for (const CsvColumn& ignored : options_.ignored) {
      LOCKSTEP_TRY_ASSIGN(const size_t column, Find(ignored, "ignored"));
      role(column) = Role::kLeftOut;
    }
    LOCKSTEP_TRY_ASSIGN(const size_t target, Find(options_.target, "label"));
    columns_.target = target;
    if (role(target) == Role::kLeftOut)
      return Fail("the label column cannot be ignored as well (data.label, data.ignore)");
    role(target) = Role::kTarget;
    if (options_.group) {
      LOCKSTEP_TRY_ASSIGN(columns_.group, Find(*options_.group, "group"));
      if (columns_.group == columns_.target)
        return Fail("the label column cannot be that of groups as well (data.label, data.group)");
      role(*columns_.group) = Role::kGroup;
    }
    for (size_t i = 0; i < columns; ++i) {
      if (!text_.names().empty()) series_.columns[i].name = text_.names()[i];
      if (role(i) != Role::kFeature && !(role(i) == Role::kTarget && IsValue())) continue;
      columns_.features.push_back(i);
      if (!text_.names().empty()) series_.feature_names.push_back(text_.names()[i]);
    }
    if (!columns_.features.empty()) return Status::Ok();
    return Fail("no feature is left beside the label, the group and the ignored columns (" +
                std::to_string(columns) + " in all); check data.delimiter");
  }

  Status FindTrained() {
    using Role = TableColumn::Role;
    LOCKSTEP_TRY_ASSIGN(
        const FoundColumns found,
        lockstep::FindColumns(text_, options_.trained, {.target = NeedsTarget(), .others = true}));
    if (!found.remark.empty()) series_.remarks.push_back(found.remark);
    bool named = true;
    for (size_t i = 0; i < found.sources.size(); ++i) {
      if (found.sources[i] < 0) continue;
      const TableColumn& column = options_.trained[i];
      const auto source = static_cast<size_t>(found.sources[i]);
      const bool is_target = column.role == Role::kTarget;
      if (is_target) columns_.target = source;
      if (column.role == Role::kGroup) columns_.group = source;
      if (column.role != Role::kFeature && !(is_target && IsValue())) continue;
      columns_.features.push_back(source);
      series_.feature_names.push_back(column.name);
      named = named && !column.name.empty();
    }
    if (!named) series_.feature_names.clear();
    const auto is_feature = [&](size_t column) {
      return std::find(columns_.features.begin(), columns_.features.end(), column) !=
             columns_.features.end();
    };
    if (options_.group && !columns_.group) {
      LOCKSTEP_TRY_ASSIGN(columns_.group, Find(*options_.group, "group"));
      if (is_feature(*columns_.group))
        return Fail("the column of groups is missing, the features alone are not enough");
    }
    if (columns_.target || options_.unlabelled) return Status::Ok();
    LOCKSTEP_TRY_ASSIGN(columns_.target, Find(options_.target, "label"));
    if (is_feature(*columns_.target) == IsValue()) return Status::Ok();
    return Fail("the label column " + text_.NameOf(static_cast<int64_t>(*columns_.target)) +
                (IsValue() ? " is none" : " is one") +
                " of the columns that the model takes; name it as in training (data.label)");
  }

  Status Take(SeriesVisitor& part) {
    series_.has_missing = series_.has_missing || part.has_missing;
    const auto width = columns_.features.size();
    for (size_t row = 0; row < static_cast<size_t>(part.rows); ++row) {
      std::string name = columns_.group ? std::move(part.groups[row]) : std::string();
      const auto [found, is_new] = number_of_group_.emplace(name, groups_.size());
      if (is_new) groups_.push_back({.name = std::move(name)});
      Group& group = groups_[found->second];
      const auto from = part.x.begin() + static_cast<std::ptrdiff_t>(row * width);
      group.x.insert(group.x.end(), from, from + static_cast<std::ptrdiff_t>(width));
      if (!part.targets.empty()) group.values.push_back(part.targets[row]);
      if (!part.labels.empty()) {
        LOCKSTEP_TRY_ASSIGN(group.labels.emplace_back(), LabelOf(part.labels[row]));
      }
      group.places.push_back(rows_++);
    }
    return Status::Ok();
  }

  Result<int32_t> LabelOf(const std::string& text) {
    const std::vector<std::string>& known = options_.classes;
    if (known.empty()) {
      if (const int32_t label = labels_.Add(text); label >= 0) return label;
      return Fail("the label column has more than " + std::to_string(LabelNumbers::kMost) +
                  " different labels; is another column the label (data.label), or the task a "
                  "regression (data.task = \"regression\")?");
    }
    const auto found = std::find(known.begin(), known.end(), text);
    if (found != known.end()) return static_cast<int32_t>(found - known.begin());
    return Fail("row " + std::to_string(rows_ + 1) + " has the label " + ShownText(text) +
                ", which the model does not know; correct it, or name the labels as in training");
  }

  Result<Series> Finish() {
    std::vector<int32_t> places;
    series_.classes = options_.classes;
    if (!IsValue() && columns_.target && series_.classes.empty()) {
      LOCKSTEP_TRY_ASSIGN(
          series_.classes,
          labels_.Ordered(series_.name, options_.task, options_.positive, text_.dialect().number));
      places = labels_.Places(series_.classes);
    }
    for (Group& group : groups_) {
      series_.x.insert(series_.x.end(), group.x.begin(), group.x.end());
      series_.values.insert(series_.values.end(), group.values.begin(), group.values.end());
      for (const int32_t label : group.labels)
        series_.labels.push_back(places.empty() ? label : places[static_cast<size_t>(label)]);
      series_.places.insert(series_.places.end(), group.places.begin(), group.places.end());
      series_.group_ends.push_back(series_.rows() + std::ssize(group.places));
      if (columns_.group) series_.group_names.push_back(group.name);
      group = {};  // its memory
    }
    return std::move(series_);
  }

  const TableText& text_;
  const SeriesOptions& options_;
  Columns columns_;
  LabelNumbers labels_;
  std::map<std::string, size_t> number_of_group_;
  std::vector<Group> groups_;
  int64_t rows_ = 0;
  Series series_;
};

// The dialect's options with what the columns say of it.
DialectOptions DialectFor(const SeriesOptions& options) {
  DialectOptions dialect = options.dialect;
  dialect.missing = MissingTextsWith(options.more_missing);
  dialect.doubt_is_data = true;  // values often go up from row to row
  if (!options.trained.empty()) {
    dialect.names = NamesOfFeatures(options.trained);
    return dialect;
  }
  AddName(options.target, dialect.names);
  if (options.group) AddName(*options.group, dialect.names);
  for (const CsvColumn& ignored : options.ignored) AddName(ignored, dialect.names);
  if (!dialect.names.empty() && !dialect.header) dialect.header = true;
  return dialect;
}

Result<Series> Parse(const Result<TableText>& text, const SeriesOptions& options,
                     const DialectOptions& dialect) {
  LOCKSTEP_TRY(text.status());
  return Parser(*text, options).Parse(dialect.missing);
}

}  // namespace

Result<Series> LoadSeries(const std::string& path, const SeriesOptions& options) {
  const DialectOptions dialect = DialectFor(options);
  return Parse(TableText::OpenFile(path, dialect), options, dialect);
}

Result<Series> ParseSeries(std::string_view text, const std::string& name,
                           const SeriesOptions& options) {
  const DialectOptions dialect = DialectFor(options);
  return Parse(TableText::OpenText(text, name, dialect), options, dialect);
}

}  // namespace lockstep
