#include "engine/data/table/table_remarks.h"

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "engine/base/characters.h"
#include "engine/base/text.h"
#include "engine/data/byte_source.h"

namespace lockstep::inline v0_1 {
namespace {

using Kind = TableColumn::Kind;
using Role = TableColumn::Role;

// Categories with fewer rows each than this, and too many for a feature each, look like groups.
constexpr int64_t kRowsOfAGroup = 10;

bool IsFeature(const TableColumn& column, Kind kind) {
  return column.role == Role::kFeature && column.kind == kind;
}
// Of a feature or the target.
bool IsWords(const TableColumn& column) {
  const bool is_used = column.role == Role::kFeature || column.role == Role::kTarget;
  return is_used && column.kind == Kind::kCategory;
}

}  // namespace

std::string ColumnKey(const TableText& text, size_t column) {
  constexpr size_t kLongest = 60;  // in a message
  const std::string name = text.names().empty() ? "" : text.names()[column];
  const bool fits =
      !name.empty() && name.size() <= kLongest && name.find_first_of("\"\\") == std::string::npos;
  return fits ? name : std::to_string(column);
}

std::string TypeKey(const TableText& text, size_t column, const char* type) {
  return "data.types = [\"" + ColumnKey(text, column) + "=" + type + "\"]";
}

bool IsWrapped(const ColumnEvidence& seen) {
  return seen.wrapped > 0 && seen.wrapped_alike() && seen.all(seen.numbers + seen.wrapped);
}

std::string HowToUnwrap(const ColumnEvidence& seen) {
  return "without what stands around them, texts such as " + ShownText(seen.first_wrapped.text) +
         " would be numbers: take it away in the file";
}

template <class Of>
std::vector<std::string> TableRemarks::OfEach(const Of& of) const {
  std::vector<std::string> remarks;
  for (size_t i = 0; i < description_.columns.size(); ++i) {
    std::string remark = of(i, description_.columns[i], evidence_[i]);
    if (!remark.empty()) remarks.push_back(std::move(remark));
  }
  return remarks;
}

std::string TableRemarks::NameOf(size_t i) const { return text_.NameOf(static_cast<int64_t>(i)); }
bool TableRemarks::IsSaid(size_t i) const { return !wishes_.types[i].empty(); }

std::vector<std::string> TableRemarks::LeftOut() const {
  return OfEach([&](size_t i, const TableColumn& column, const ColumnEvidence& seen) {
    if (column.role != Role::kLeftOut || column.note == "as asked") return std::string();
    return NameOf(i) + " is left out: " + column.note + "; " +
           TypeKey(text_, i, seen.numbers > 0 ? "number" : "category") + " keeps it" +
           (IsWrapped(seen) ? "; " + HowToUnwrap(seen) : "");
  });
}

// A postal code or a key is no amount.
std::vector<std::string> TableRemarks::Codes() const {
  return OfEach([&](size_t i, const TableColumn& column, const ColumnEvidence& seen) {
    if (!IsFeature(column, Kind::kNumber) || seen.leading_zeros == 0 || IsSaid(i))
      return std::string();
    return NameOf(i) + " is read as numbers, though " + ShownText(seen.first_leading_zero.text) +
           " is written as codes are; " + TypeKey(text_, i, "category") +
           " learns from each code for itself";
  });
}

// Pace, odds and dilutions look like them.
std::vector<std::string> TableRemarks::Times() const {
  return OfEach([&](size_t i, const TableColumn& column, const ColumnEvidence&) {
    if (!IsFeature(column, Kind::kDate) || column.date != DateForm::kTimeOfDay || IsSaid(i))
      return std::string();
    return NameOf(i) + " is read as times of the day; if they are something else: " +
           TypeKey(text_, i, "category");
  });
}

// Words that come a few times each may name patients or machines, whose rows are alike.
std::vector<std::string> TableRemarks::Groups() const {
  return OfEach([&](size_t i, const TableColumn& column, const ColumnEvidence& seen) {
    const auto values = static_cast<int64_t>(column.categories.size());
    const bool few_rows_each = seen.present() < kRowsOfAGroup * values;
    if (column.role != Role::kFeature || column.width == 0 || !few_rows_each) return std::string();
    return NameOf(i) + " has " + std::to_string(values) +
           " different values, each in few rows; if they name patients or the like: data.group = "
           "\"" +
           ColumnKey(text_, i) +
           "\" keeps the rows of one together and learns nothing from the name";
  });
}

std::vector<std::string> TableRemarks::Wrapped() const {
  return OfEach([&](size_t i, const TableColumn& column, const ColumnEvidence& seen) {
    if (!IsWords(column) || !IsWrapped(seen) || IsSaid(i)) return std::string();
    return NameOf(i) + " is read as words; " + HowToUnwrap(seen) +
           ", or say that they are words: " + TypeKey(text_, i, "category");
  });
}

// "Yes" and "yes" are two classes for us, and hardly for who wrote them.
std::vector<std::string> TableRemarks::Cases() const {
  return OfEach([&](size_t i, const TableColumn& column, const ColumnEvidence&) {
    if (!IsWords(column)) return std::string();
    std::unordered_map<std::string, size_t> met;
    for (size_t k = 0; k < column.categories.size(); ++k) {
      const auto [other, is_new] = met.try_emplace(Lower(column.categories[k]), k);
      if (is_new) continue;
      return NameOf(i) + ": " + ShownText(column.categories[other->second]) + " and " +
             ShownText(column.categories[k]) +
             " differ in capital letters alone and are two values; if they mean the same, write "
             "them alike in the file";
    }
    return std::string();
  });
}

}  // namespace lockstep
