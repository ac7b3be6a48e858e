#include "engine/data/table/csv.h"

#include <algorithm>
#include <utility>

#include "engine/data/table/csv_cell.h"
#include "engine/data/table/csv_labels.h"
#include "engine/data/table/csv_reader.h"

namespace lockstep {
namespace {

class Parser {
 public:
  Parser(CsvReader& rows, std::string name, const CsvOptions& options)
      : rows_(rows), name_(std::move(name)), options_(options) {}

  Result<CsvData> Parse();

 private:
  Status ReadFirstRow();
  Result<bool> FirstRowIsHeader() const;
  Result<size_t> Find(const CsvColumn& column, const std::string& role) const {
    return FindCsvColumn(name_, column, role, columns_, has_header_ ? &header_ : nullptr);
  }
  Status FindColumns();
  Status AddRow();
  Status AddLabel(std::string_view text);
  Result<CsvData> Finish();

  std::string Place(size_t column) const;
  Status Fail(const std::string& what) const { return Status::Corrupt(name_ + ": " + what); }
  Status FailAt(size_t column, const std::string& what) const {
    return Fail(Place(column) + ": " + what);
  }
  Status FailCell(size_t column, CsvCell::Kind kind) const;

  CsvReader& rows_;
  const std::string name_;
  const CsvOptions& options_;

  size_t columns_ = 0;
  bool has_header_ = false;
  std::vector<std::string> header_;
  size_t label_ = 0;
  std::vector<size_t> features_;  // columns

  std::vector<float> row_;  // of AddRow
  std::vector<float> x_;
  CsvLabels labels_;
  std::vector<int32_t> classes_;  // provisional
  std::vector<float> values_;
  int64_t row_count_ = 0;
  CsvData data_;
};

std::string Parser::Place(size_t column) const {
  std::string place =
      "line " + std::to_string(rows_.line()) + ", column " + std::to_string(column + 1);
  if (has_header_ && column < header_.size()) place += " (" + ShownText(header_[column]) + ")";
  return place;
}

Status Parser::FailCell(size_t column, CsvCell::Kind kind) const {
  const std::string found = ShownText(rows_.field(column));
  switch (kind) {
    case CsvCell::kMissing:
      return FailAt(column, found +
                                " is a missing value; choose what to do with them (mean of the "
                                "training samples, or drop the row)");
    case CsvCell::kTooLarge:
      return FailAt(column, found + " is too large for a 32-bit float");
    case CsvCell::kNotFinite:
      return FailAt(column,
                    found + " is not a finite number; list it as missing if it is meant so");
    case CsvCell::kText:
    case CsvCell::kNumber:
      break;
  }
  return FailAt(column,
                found + " is not a number; ignore this column, or list the text as missing");
}

// The first row fixes the number of columns. Leaves the reader at the first row of data.
Status Parser::ReadFirstRow() {
  LOCKSTEP_TRY_ASSIGN(const bool any, rows_.NextRow());
  if (!any) return Fail("the file is empty; it must hold rows of numbers");
  columns_ = rows_.fields();

  LOCKSTEP_TRY_ASSIGN(has_header_, FirstRowIsHeader());
  if (has_header_) {
    for (size_t i = 0; i < columns_; ++i) header_.emplace_back(rows_.field(i));
  }
  LOCKSTEP_TRY(FindColumns());
  if (!has_header_) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(const bool more, rows_.NextRow());
  if (!more) return Fail("there is only a header and no row of data");
  return Status::Ok();
}

Result<bool> Parser::FirstRowIsHeader() const {
  if (options_.header != CsvOptions::Header::kAuto) {
    return options_.header == CsvOptions::Header::kYes;
  }
  // Names can only come from a header.
  std::vector<size_t> others;
  if (std::holds_alternative<std::string>(options_.label)) return true;
  LOCKSTEP_TRY_ASSIGN(others.emplace_back(), Find(options_.label, "label"));
  for (const CsvColumn& ignored : options_.ignored) {
    if (std::holds_alternative<std::string>(ignored)) return true;
    LOCKSTEP_TRY_ASSIGN(others.emplace_back(), Find(ignored, "ignored"));
  }
  bool any_text = false;
  for (size_t i = 0; i < columns_; ++i) {
    if (std::find(others.begin(), others.end(), i) != others.end()) continue;
    const CsvCell::Kind kind = ReadCsvCell(rows_.field(i), options_.missing).kind;
    if (kind == CsvCell::kText) any_text = true;
    if (kind != CsvCell::kText && kind != CsvCell::kMissing) return false;
  }
  return any_text;
}

Status Parser::FindColumns() {
  LOCKSTEP_TRY_ASSIGN(label_, Find(options_.label, "label"));
  std::vector<bool> is_feature(columns_, true);
  for (const CsvColumn& ignored : options_.ignored) {
    LOCKSTEP_TRY_ASSIGN(const size_t column, Find(ignored, "ignored"));
    if (column == label_) return Fail("the label column cannot be ignored as well");
    is_feature[column] = false;
  }
  is_feature[label_] = false;
  for (size_t i = 0; i < columns_; ++i) {
    if (is_feature[i]) features_.push_back(i);
  }
  if (features_.empty()) {
    return Fail("no feature is left beside the label and the ignored columns (" +
                std::to_string(columns_) + " in all); check the delimiter");
  }
  return Status::Ok();
}

Status Parser::AddRow() {
  if (rows_.fields() != columns_) {
    return Fail("line " + std::to_string(rows_.line()) + ": " + std::to_string(rows_.fields()) +
                " fields, but the first row has " + std::to_string(columns_) +
                "; every row needs the same number");
  }
  const bool drop = options_.on_missing == CsvOptions::Missing::kDropRow;
  row_.clear();
  int64_t missing = 0;
  for (const size_t column : features_) {
    const CsvCell cell = ReadCsvCell(rows_.field(column), options_.missing);
    if (cell.kind == CsvCell::kMissing && options_.on_missing != CsvOptions::Missing::kError) {
      ++missing;
    } else if (cell.kind != CsvCell::kNumber) {
      return FailCell(column, cell.kind);
    }
    row_.push_back(cell.value);
  }
  const std::string_view label = rows_.field(label_);
  const bool no_label =
      std::find(options_.missing.begin(), options_.missing.end(), label) != options_.missing.end();
  if (drop && (missing > 0 || no_label)) {
    ++data_.dropped_rows;
    return Status::Ok();
  }
  if (no_label) {
    return FailAt(label_, "the label is missing (" + ShownText(label) +
                              "); complete it, or have rows with missing values dropped");
  }
  LOCKSTEP_TRY(AddLabel(label));
  x_.insert(x_.end(), row_.begin(), row_.end());
  data_.missing_cells += missing;
  ++row_count_;
  return Status::Ok();
}

Status Parser::AddLabel(std::string_view text) {
  if (options_.task == Task::kRegression) {
    const CsvCell cell = ReadCsvCell(text, {});
    if (cell.kind != CsvCell::kNumber) return FailCell(label_, cell.kind);
    values_.push_back(cell.value);
    return Status::Ok();
  }
  const int32_t number = labels_.Add(text);
  if (number < 0) {
    return FailAt(label_, "more than " + std::to_string(CsvLabels::kMost) +
                              " different labels; is another column the label, or the task a "
                              "regression?");
  }
  classes_.push_back(number);
  return Status::Ok();
}

Result<CsvData> Parser::Finish() {
  if (row_count_ == 0) {
    return Fail("all " + std::to_string(data_.dropped_rows) +
                " rows have missing values and were dropped; have them filled instead");
  }
  DatasetInfo info{.name = name_,
                   .size = row_count_,
                   .x_shape = {static_cast<int64_t>(features_.size())},
                   .has_missing = data_.missing_cells > 0};
  if (has_header_) {
    for (const size_t column : features_) info.feature_names.push_back(header_[column]);
  }
  InMemoryDataset::Targets targets;
  if (options_.task != Task::kRegression) {
    LOCKSTEP_TRY_ASSIGN(info.class_names,
                        labels_.Ordered(name_, options_.task == Task::kBinary, options_.positive));
    const std::vector<int32_t> places = labels_.Places(info.class_names);
    for (int32_t& number : classes_) number = places[static_cast<size_t>(number)];
  }
  const bool class_numbers = options_.task == Task::kClasses;
  SetTargets(options_.task, class_numbers ? static_cast<int64_t>(info.class_names.size()) : 1,
             info);
  if (class_numbers) {
    targets = std::move(classes_);
  } else {
    if (options_.task == Task::kBinary) values_.assign(classes_.begin(), classes_.end());
    targets = std::move(values_);
  }
  LOCKSTEP_TRY_ASSIGN(data_.dataset,
                      InMemoryDataset::Make(std::move(info), std::move(x_), std::move(targets)));
  return std::move(data_);
}

Result<CsvData> Parser::Parse() {
  LOCKSTEP_TRY(ReadFirstRow());
  for (bool more = true; more;) {
    LOCKSTEP_TRY(AddRow());
    LOCKSTEP_TRY_ASSIGN(more, rows_.NextRow());
  }
  return Finish();
}

Result<CsvData> Parse(std::unique_ptr<ByteSource> source, const std::string& name,
                      const CsvOptions& options) {
  const char d = options.delimiter;
  if (d == '"' || d == '\n' || d == '\r' || d == '\0') {
    return Status::Invalid(name + ": a quote, a line end or NUL cannot be the delimiter");
  }
  if (!options.positive.empty() && options.task != Task::kBinary) {
    return Status::Invalid(name + ": a positive label is for binary tasks only");
  }
  CsvReader rows(std::move(source), name, d, options.max_bytes);
  return Parser(rows, name, options).Parse();
}

}  // namespace

Result<CsvData> LoadCsv(const std::string& path, const CsvOptions& options) {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return Parse(std::move(source), path, options);
}

Result<CsvData> ParseCsv(std::string_view text, const std::string& name,
                         const CsvOptions& options) {
  return Parse(OpenText(text), name, options);
}

}  // namespace lockstep
