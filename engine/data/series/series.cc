#include "engine/data/series/series.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/data/byte_source.h"
#include "engine/data/table/csv_cell.h"
#include "engine/data/table/csv_labels.h"
#include "engine/data/table/csv_reader.h"

namespace lockstep {
namespace {

class Parser {
 public:
  Parser(CsvReader& rows, const std::string& name, const SeriesOptions& options)
      : rows_(rows), options_(options) {
    series_.name = name;
    series_.task = options.task;
  }

  Result<Series> Parse() {
    LOCKSTEP_TRY_ASSIGN(bool more, rows_.NextRow());
    if (!more) return Fail("the file is empty; it must hold rows of numbers");
    columns_ = rows_.fields();
    has_header_ = FirstRowIsHeader();
    for (size_t i = 0; has_header_ && i < columns_; ++i) header_.emplace_back(rows_.field(i));
    LOCKSTEP_TRY(FindColumns());
    if (has_header_) {
      LOCKSTEP_TRY_ASSIGN(more, rows_.NextRow());
      if (!more) return Fail("there is only a header and no row of data");
    }
    while (more) {
      LOCKSTEP_TRY(AddRow());
      LOCKSTEP_TRY_ASSIGN(more, rows_.NextRow());
    }
    return Finish();
  }

 private:
  // One of the series, as its rows come.
  struct Group {
    std::string name;
    std::vector<float> x, values;
    std::vector<int32_t> labels;  // provisional
    int64_t rows = 0;
  };

  Status Fail(const std::string& what) const { return Status::Corrupt(series_.name + ": " + what); }
  Status FailAt(size_t column, const std::string& what) const {
    std::string place =
        "line " + std::to_string(rows_.line()) + ", column " + std::to_string(column + 1);
    if (has_header_) place += " (" + ShownText(header_[column]) + ")";
    return Fail(place + ": " + what);
  }
  bool IsValue() const { return options_.task == Task::kRegression; }

  bool FirstRowIsHeader() const {
    if (options_.header != CsvOptions::Header::kAuto)
      return options_.header == CsvOptions::Header::kYes;
    const auto named = [](const CsvColumn& c) { return std::holds_alternative<std::string>(c); };
    if (named(options_.target) || (options_.group && named(*options_.group)) ||
        std::any_of(options_.ignored.begin(), options_.ignored.end(), named))
      return true;
    for (size_t i = 0; i < columns_; ++i) {
      if (ReadCsvCell(rows_.field(i), options_.missing).kind != CsvCell::kText) return false;
    }
    return true;
  }

  Status FindColumns() {
    const auto find = [&](const CsvColumn& column, const char* role) {
      return FindCsvColumn(series_.name, column, role, columns_, has_header_ ? &header_ : nullptr);
    };
    std::vector<bool> is_feature(columns_, true);
    for (const CsvColumn& ignored : options_.ignored) {
      LOCKSTEP_TRY_ASSIGN(const size_t column, find(ignored, "ignored"));
      is_feature[column] = false;
    }
    LOCKSTEP_TRY_ASSIGN(target_, find(options_.target, "label"));
    if (!is_feature[target_]) return Fail("the label column cannot be ignored as well");
    is_feature[target_] = IsValue();
    if (options_.group) {
      LOCKSTEP_TRY_ASSIGN(group_, find(*options_.group, "group"));
      if (*group_ == target_) return Fail("the label column cannot be that of groups as well");
      is_feature[*group_] = false;
    }
    for (size_t i = 0; i < columns_; ++i) {
      if (!is_feature[i]) continue;
      features_.push_back(i);
      if (has_header_) series_.feature_names.push_back(header_[i]);
    }
    series_.features = static_cast<int64_t>(features_.size());
    if (!features_.empty()) return Status::Ok();
    return Fail("no feature is left beside the label, the group and the ignored columns (" +
                std::to_string(columns_) + " in all); check the delimiter");
  }

  Result<float> Number(size_t column, bool may_be_missing) {
    const CsvCell cell = ReadCsvCell(rows_.field(column), options_.missing);
    if (cell.kind == CsvCell::kNumber) return cell.value;
    const std::string found = ShownText(rows_.field(column));
    if (cell.kind != CsvCell::kMissing) {
      return FailAt(column, found +
                                " is no number that a 32-bit float holds; ignore this column, or "
                                "list the text as missing");
    }
    if (may_be_missing) {
      series_.has_missing = true;
      return cell.value;
    }
    return FailAt(column, found +
                              " is a missing value; a row cannot be left out of a series: complete "
                              "it, or have missing features taken as their mean");
  }

  Status AddRow() {
    if (rows_.fields() != columns_) {
      return Fail("line " + std::to_string(rows_.line()) + ": " + std::to_string(rows_.fields()) +
                  " fields, but the first row has " + std::to_string(columns_) +
                  "; every row needs the same number");
    }
    const std::string name(group_ ? rows_.field(*group_) : "");
    const auto [found, is_new] = number_of_group_.emplace(name, groups_.size());
    if (is_new) groups_.push_back({.name = name, .x = {}, .values = {}, .labels = {}});
    Group& group = groups_[found->second];
    for (const size_t column : features_) {
      const bool may_be_missing = options_.allow_missing && column != target_;
      LOCKSTEP_TRY_ASSIGN(group.x.emplace_back(), Number(column, may_be_missing));
    }
    ++group.rows;
    if (IsValue()) {
      LOCKSTEP_TRY_ASSIGN(group.values.emplace_back(), Number(target_, false));
      return Status::Ok();
    }
    const std::string_view label = rows_.field(target_);
    if (label.empty()) return FailAt(target_, "the label is missing; complete it");
    group.labels.push_back(labels_.Add(label));
    if (group.labels.back() >= 0) return Status::Ok();
    return FailAt(target_, "more than " + std::to_string(CsvLabels::kMost) +
                               " different labels; is another column the label, or the task a "
                               "regression?");
  }

  Result<Series> Finish() {
    std::vector<int32_t> places;
    if (!IsValue()) {
      LOCKSTEP_TRY_ASSIGN(
          series_.classes,
          labels_.Ordered(series_.name, options_.task == Task::kBinary, options_.positive));
      places = labels_.Places(series_.classes);
    }
    for (Group& group : groups_) {
      series_.x.insert(series_.x.end(), group.x.begin(), group.x.end());
      series_.values.insert(series_.values.end(), group.values.begin(), group.values.end());
      for (const int32_t label : group.labels)
        series_.labels.push_back(places[static_cast<size_t>(label)]);
      series_.group_ends.push_back(series_.rows() + group.rows);
      if (group_) series_.group_names.push_back(group.name);
      group = {};  // its memory
    }
    return std::move(series_);
  }

  CsvReader& rows_;
  const SeriesOptions& options_;
  size_t columns_ = 0;
  bool has_header_ = false;
  std::vector<std::string> header_;
  size_t target_ = 0;
  std::optional<size_t> group_;
  std::vector<size_t> features_;  // columns
  CsvLabels labels_;
  std::map<std::string, size_t> number_of_group_;
  std::vector<Group> groups_;
  Series series_;
};

Result<Series> Parse(std::unique_ptr<ByteSource> source, const std::string& name,
                     const SeriesOptions& options) {
  const char d = options.delimiter;
  if (d == '"' || d == '\n' || d == '\r' || d == '\0') {
    return Status::Invalid(name + ": a quote, a line end or NUL cannot be the delimiter");
  }
  CsvReader rows(std::move(source), name, d, options.max_bytes);
  return Parser(rows, name, options).Parse();
}

}  // namespace

Result<Series> LoadSeries(const std::string& path, const SeriesOptions& options) {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return Parse(std::move(source), path, options);
}

Result<Series> ParseSeries(std::string_view text, const std::string& name,
                           const SeriesOptions& options) {
  return Parse(OpenText(text), name, options);
}

}  // namespace lockstep
