#include "engine/data/table/csv_column.h"

#include <algorithm>
#include <charconv>

#include "engine/data/byte_source.h"

namespace lockstep::inline v0_1 {

CsvColumn CsvColumnFrom(const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && rest == end) return number;
  return text;
}

void AddName(const CsvColumn& column, std::vector<std::string>& names) {
  if (const auto* name = std::get_if<std::string>(&column)) names.push_back(*name);
}

Result<size_t> FindCsvColumn(const std::string& name, const CsvColumn& column,
                             const std::string& role, size_t columns,
                             const std::vector<std::string>* header) {
  const auto fail = [&](const std::string& what) { return Status::Corrupt(name + ": " + what); };
  if (const auto* number = std::get_if<int64_t>(&column)) {
    // A name that is a number, as a year, comes before the place; a place from the end has none.
    const auto named = header == nullptr || *number < 0
                           ? 0
                           : std::count(header->begin(), header->end(), std::to_string(*number));
    if (named == 1) return FindCsvColumn(name, std::to_string(*number), role, columns, header);
    const auto count = static_cast<int64_t>(columns);
    const int64_t index = *number < 0 && *number >= -count ? *number + count : *number;
    if (index >= 0 && index < count) return static_cast<size_t>(index);
    return fail("the " + role + " column " + std::to_string(*number) +
                " does not exist: there are " + std::to_string(count) +
                " columns, numbered from 0 (or from the end, -1 is the last); check the delimiter "
                "too");
  }
  const std::string& wanted = std::get<std::string>(column);
  if (header == nullptr) {
    return fail("the " + role + " column is given by its name " + ShownText(wanted) +
                ", but the file has no header; give its number, from 0");
  }
  const auto found = std::find(header->begin(), header->end(), wanted);
  if (found == header->end()) {
    std::string names;
    for (size_t i = 0; i < header->size() && i < 8; ++i) {
      names += (i == 0 ? "" : ", ") + ShownText((*header)[i]);
    }
    if (header->size() > 8) names += ", ...";
    return fail("the header has no " + role + " column " + ShownText(wanted) + "; it has " + names);
  }
  if (std::find(found + 1, header->end(), wanted) != header->end()) {
    return fail("the header has more than one column " + ShownText(wanted) +
                "; give the number of the one meant, from 0");
  }
  return static_cast<size_t>(found - header->begin());
}

}  // namespace lockstep
