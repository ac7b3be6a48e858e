#include "engine/data/table/cell_reader.h"

#include <cmath>
#include <limits>
#include <optional>

#include "engine/data/byte_source.h"

namespace lockstep::inline v0_1 {
namespace {

using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kMend = "; complete it or leave the row out";

Status Fail(std::string_view cell, const std::string& what) {
  return Status::Corrupt(ShownText(cell) + what);
}

std::string ShownClasses(const TableColumn& column) {
  constexpr size_t kMost = 8;
  std::string text;
  for (size_t c = 0; c < column.categories.size() && c < kMost; ++c)
    text += (c == 0 ? "" : ", ") + ShownText(column.categories[c]);
  return text + (column.categories.size() > kMost ? ", ..." : "");
}

}  // namespace

CellReader::CellReader(const TableDescription& description, NumberForm form)
    : description_(description),
      form_(form),
      missing_(description.missing),
      codes_(description.columns.size()) {
  for (size_t i = 0; i < codes_.size(); ++i) {
    const TableColumn& column = description.columns[i];
    if (column.kind != Kind::kCategory || column.role == Role::kLeftOut) continue;
    for (const std::string& category : column.categories)
      codes_[i].emplace(category, static_cast<int64_t>(codes_[i].size()));
  }
}

Result<CellValue> CellReader::Read(size_t place, std::string_view cell) const {
  const TableColumn& column = description_.columns[place];
  if (IsMissing(cell)) return ReadMissing(column, cell);
  switch (column.kind) {
    case Kind::kNumber:
      return ReadNumberOf(column, cell);
    case Kind::kYesNo: {
      if (const std::optional<int> word = ReadYesNo(cell))
        return CellValue{.number = static_cast<double>(*word)};
      if (cell == "0" || cell == "1") return CellValue{.number = cell == "1" ? 1.0 : 0.0};
      return Fail(cell, std::string(" is not yes or no") + kMend);
    }
    case Kind::kDate: {
      if (const std::optional<DateCell> date = ReadDate(cell, column.date))
        return CellValue{.number = date->days};
      return Fail(cell, std::string(" is not a date as the others of the column") + kMend);
    }
    case Kind::kCategory:
      break;
  }
  const auto found = codes_[place].find(cell);
  if (found != codes_[place].end()) return CellValue{.number = kNone, .code = found->second};
  if (column.role == Role::kTarget) {
    return Fail(cell, " is not a class of the model, which knows " + ShownClasses(column) +
                          "; correct it or leave the row out");
  }
  return CellValue{.number = kNone, .code = kUnseenCode};
}

Result<CellValue> CellReader::ReadMissing(const TableColumn& column, std::string_view cell) const {
  if (column.role == Role::kTarget)
    return Fail(cell, " is a missing target; complete it, or leave the row out");
  if (column.role == Role::kWeight)
    return Fail(cell, " is a missing weight; complete it, or leave the row out");
  if (column.kind != Kind::kCategory && description_.missing_is_error) {
    return Fail(cell,
                " is a missing value, and the model was trained without any; complete it or leave "
                "the row out");
  }
  return CellValue{.number = kNone, .code = kMissingCode};
}

Result<CellValue> CellReader::ReadNumberOf(const TableColumn& column, std::string_view cell) const {
  const NumberCell number = ReadNumber(cell, form_);
  switch (number.kind) {
    case NumberCell::kNumber:
      break;
    case NumberCell::kTooLarge:
      return Fail(cell, " is too large for a number");
    case NumberCell::kNotFinite:
      return Fail(cell, " is not a finite number");
    case NumberCell::kText:
      return Fail(cell, std::string(" is not a number") + kMend);
  }
  if (column.role == Role::kWeight && number.value < 0.0)
    return Fail(cell, " is a negative weight; weights are 0 or more");
  if (std::abs(number.value) > std::numeric_limits<float>::max())
    return Fail(cell, " is too large for a 32-bit float; divide the column by something");
  return CellValue{.number = number.value};
}

}  // namespace lockstep
