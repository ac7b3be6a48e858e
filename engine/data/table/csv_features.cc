#include "engine/data/table/csv_features.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "engine/data/table/csv_cell.h"
#include "engine/data/table/csv_column.h"
#include "engine/data/table/csv_reader.h"
#include "engine/io/nearest_name.h"

namespace lockstep {
namespace {

class Reader {
 public:
  Reader(std::unique_ptr<ByteSource> source, const std::string& name,
         const CsvFeatureOptions& options)
      : rows_(std::move(source), name, options.delimiter, options.max_bytes),
        name_(name),
        options_(options) {}

  Result<CsvFeatures> Read() {
    LOCKSTEP_TRY_ASSIGN(bool more, rows_.NextRow());
    if (!more) return Fail("the file is empty; it must hold rows of numbers");
    for (size_t i = 0; i < rows_.fields(); ++i) first_row_.emplace_back(rows_.field(i));
    const bool named = HoldsAllNames();
    has_header_ = named || !HoldsANumber();
    const bool by_name = has_header_ && !options_.names.empty();
    LOCKSTEP_TRY(by_name ? FindByName() : FindByPlace());
    if (options_.group) {
      LOCKSTEP_TRY_ASSIGN(group_, FindCsvColumn(name_, *options_.group, "group", rows_.fields(),
                                                has_header_ ? &first_row_ : nullptr));
      if (std::find(columns_.begin(), columns_.end(), *group_) != columns_.end())
        return Fail("the column of groups is missing, the features alone are not enough");
    }
    if (has_header_) {
      LOCKSTEP_TRY_ASSIGN(more, rows_.NextRow());
      if (!more) return Fail("there is only a header and no row of data");
    }
    CsvFeatures features;
    while (more) {
      LOCKSTEP_TRY(AddRow(features));
      LOCKSTEP_TRY_ASSIGN(more, rows_.NextRow());
    }
    return features;
  }

 private:
  Status Fail(const std::string& what) const { return Status::Corrupt(name_ + ": " + what); }

  bool HoldsAllNames() const {
    const std::set<std::string> row(first_row_.begin(), first_row_.end());
    return !options_.names.empty() &&
           std::all_of(options_.names.begin(), options_.names.end(),
                       [&](const std::string& name) { return row.contains(name); });
  }
  bool HoldsANumber() const {
    bool any_text = false;
    for (const std::string& cell : first_row_) {
      const CsvCell::Kind kind = ReadCsvCell(cell, options_.missing).kind;
      if (kind == CsvCell::kText) any_text = true;
      if (kind == CsvCell::kNumber || kind == CsvCell::kTooLarge) return true;
    }
    return !any_text;
  }

  Status FindByName() {
    for (const std::string& name : options_.names) {
      const auto found = std::find(first_row_.begin(), first_row_.end(), name);
      if (found == first_row_.end()) {
        return Fail("the header has no column " + ShownText(name) +
                    ", which the model was trained on; the nearest is " +
                    ShownText(NearestName(name, first_row_)));
      }
      if (std::find(found + 1, first_row_.end(), name) != first_row_.end())
        return Fail("the header has more than one column " + ShownText(name) + "; rename one");
      columns_.push_back(static_cast<size_t>(found - first_row_.begin()));
    }
    return Status::Ok();
  }

  // The place of `column` in a table of `width` columns, as in training.
  static std::optional<int64_t> PlaceOf(const CsvColumn& column, int64_t width) {
    const auto* number = std::get_if<int64_t>(&column);
    if (number == nullptr) return std::nullopt;
    const int64_t place = *number < 0 ? *number + width : *number;
    return place >= 0 && place < width ? std::optional(place) : std::nullopt;
  }

  Status FindByPlace() {
    const auto width = static_cast<int64_t>(first_row_.size());
    const int64_t trained_width = options_.count + (options_.label_is_feature ? 0 : 1) +
                                  (options_.group ? 1 : 0) +
                                  static_cast<int64_t>(options_.ignored.size());
    const std::optional<int64_t> label = PlaceOf(options_.label, trained_width);
    std::set<int64_t> others;  // that are no features, where the table is as in training
    bool known = label.has_value() || options_.label_is_feature;
    if (label && !options_.label_is_feature) others.insert(*label);
    if (options_.group) {
      const std::optional<int64_t> place = PlaceOf(*options_.group, trained_width);
      known = known && place.has_value();
      if (place) others.insert(*place);
    }
    for (const CsvColumn& ignored : options_.ignored) {
      const std::optional<int64_t> place = PlaceOf(ignored, trained_width);
      known = known && place.has_value();
      if (place) others.insert(*place);
    }
    if (width == options_.count && !options_.group) {
      for (size_t i = 0; i < first_row_.size(); ++i) columns_.push_back(i);
      return Status::Ok();
    }
    const bool label_may_lack = !options_.label_is_feature;
    if (!known || (width != trained_width && !(label_may_lack && width == trained_width - 1))) {
      return Fail("it has " + std::to_string(width) + " columns, the model takes " +
                  std::to_string(options_.count) + " features" +
                  (known ? " (" + std::to_string(trained_width) +
                               " columns with the label and what was ignored)"
                         : "") +
                  "; check the delimiter too");
    }
    size_t column = 0;
    for (int64_t place = 0; place < trained_width; ++place) {
      if (width < trained_width && place == *label) continue;  // that column is not here
      if (!others.contains(place)) columns_.push_back(column);
      ++column;
    }
    if (static_cast<int64_t>(columns_.size()) == options_.count) return Status::Ok();
    return Fail("the model ignores a column twice; give the " + std::to_string(options_.count) +
                " features alone");
  }

  Status AddRow(CsvFeatures& features) {
    if (rows_.fields() != first_row_.size()) {
      return Fail("line " + std::to_string(rows_.line()) + ": " + std::to_string(rows_.fields()) +
                  " fields, but the first row has " + std::to_string(first_row_.size()) +
                  "; every row needs the same number");
    }
    for (const size_t column : columns_) {
      const CsvCell cell = ReadCsvCell(rows_.field(column), options_.missing);
      if (cell.kind != CsvCell::kNumber &&
          !(cell.kind == CsvCell::kMissing && options_.allow_missing)) {
        return FailCell(column, cell.kind);
      }
      features.x.push_back(cell.value);
    }
    if (group_) features.groups.emplace_back(rows_.field(*group_));
    ++features.rows;
    return Status::Ok();
  }

  Status FailCell(size_t column, CsvCell::Kind kind) const {
    std::string place =
        "line " + std::to_string(rows_.line()) + ", column " + std::to_string(column + 1);
    if (has_header_) place += " (" + ShownText(first_row_[column]) + ")";
    const char* what = kind == CsvCell::kMissing
                           ? " is a missing value, and the model was trained without any"
                       : kind == CsvCell::kTooLarge  ? " is too large for a 32-bit float"
                       : kind == CsvCell::kNotFinite ? " is not a finite number"
                                                     : " is not a number";
    return Fail(place + ": " + ShownText(rows_.field(column)) + what +
                "; complete it or leave the row out");
  }

  CsvReader rows_;
  const std::string name_;
  const CsvFeatureOptions& options_;
  std::vector<std::string> first_row_;
  bool has_header_ = false;
  std::optional<size_t> group_;
  std::vector<size_t> columns_;  // of the features, in the model's order
};

}  // namespace

Result<CsvFeatures> LoadCsvFeatures(const std::string& path, const CsvFeatureOptions& options) {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return Reader(std::move(source), path, options).Read();
}

Result<CsvFeatures> ParseCsvFeatures(std::string_view text, const std::string& name,
                                     const CsvFeatureOptions& options) {
  return Reader(OpenText(text), name, options).Read();
}

}  // namespace lockstep
