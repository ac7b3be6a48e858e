#include "engine/data/table/find_columns.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "engine/data/byte_source.h"
#include "engine/io/nearest_name.h"

namespace lockstep::inline v0_1 {
namespace {

using Role = TableColumn::Role;

bool IsNeeded(const TableColumn& column, NeededColumns needs) {
  switch (column.role) {
    case Role::kFeature:
      return true;
    case Role::kTarget:
      return needs.target;
    case Role::kGroup:
    case Role::kWeight:
    case Role::kTime:
      return needs.others;
    case Role::kLeftOut:
      break;
  }
  return false;
}

// A column without a name among others that have one: at its place in a table as wide as the one
// trained on, unless that place is another's. -1: it is not found.
int64_t PlaceOfNameless(const TableText& text, const std::vector<TableColumn>& trained, size_t i) {
  if (text.columns() != std::ssize(trained)) return -1;
  const std::string& here = text.names()[i];
  const bool is_another =
      !here.empty() && std::any_of(trained.begin(), trained.end(),
                                   [&](const TableColumn& column) { return column.name == here; });
  return is_another ? -1 : static_cast<int64_t>(i);
}

Result<FoundColumns> FindByName(const TableText& text, const std::vector<TableColumn>& trained,
                                NeededColumns needs) {
  FoundColumns found;
  const std::vector<std::string>& names = text.names();
  std::unordered_map<std::string_view, int64_t> places;
  for (size_t i = 0; i < names.size(); ++i) places.emplace(names[i], static_cast<int64_t>(i));
  for (size_t i = 0; i < trained.size(); ++i) {
    int64_t& source = found.sources.emplace_back(-1);
    if (!IsNeeded(trained[i], needs)) continue;
    const std::string& wanted = trained[i].name;
    if (wanted.empty()) {
      source = PlaceOfNameless(text, trained, i);
      if (source >= 0) continue;
      return Status::Corrupt(text.name() + ": column " + std::to_string(i + 1) +
                             " of the table trained on, a " + NameOf(trained[i].role) +
                             ", has no name to be found by; give the columns as they were there");
    }
    const auto place = places.find(wanted);
    if (place == places.end()) {
      return Status::Corrupt(text.name() + ": the header has no column " + ShownText(wanted) +
                             ", which the model was trained on; the nearest is " +
                             ShownText(NearestName(wanted, names)));
    }
    source = place->second;
  }
  return found;
}

Result<FoundColumns> FindByPlace(const TableText& text, const std::vector<TableColumn>& trained,
                                 NeededColumns needs) {
  int64_t needed = 0, targets = 0;
  for (const TableColumn& column : trained) {
    needed += IsNeeded(column, needs) ? 1 : 0;
    targets += column.role == Role::kTarget && !needs.target ? 1 : 0;
  }
  const int64_t columns = std::ssize(trained), width = text.columns();
  const bool whole = width == columns;
  const bool without_target = targets == 1 && width == columns - 1;
  if (!whole && !without_target && width != needed) {
    return Status::Corrupt(text.name() + ": it has " + std::to_string(width) +
                           " columns, the model was trained on " + std::to_string(columns) +
                           " and needs " + std::to_string(needed) +
                           " of them; check data.delimiter too");
  }
  FoundColumns found;
  int64_t place = 0;
  for (const TableColumn& column : trained) {
    const bool is_needed = IsNeeded(column, needs);
    const bool here = whole || (without_target ? column.role != Role::kTarget : is_needed);
    found.sources.push_back(here && is_needed ? place : -1);
    place += here ? 1 : 0;
  }
  return found;
}

}  // namespace

std::vector<std::string> NamesOfFeatures(const std::vector<TableColumn>& trained) {
  std::vector<std::string> names;
  for (const TableColumn& column : trained) {
    if (column.role == TableColumn::Role::kFeature && !column.name.empty())
      names.push_back(column.name);
  }
  return names;
}

Result<FoundColumns> FindColumns(const TableText& text, const std::vector<TableColumn>& trained,
                                 NeededColumns needs) {
  const bool named = std::any_of(trained.begin(), trained.end(),
                                 [](const TableColumn& column) { return !column.name.empty(); });
  const bool has_names = !text.names().empty();
  if (named && has_names) return FindByName(text, trained, needs);
  LOCKSTEP_TRY_ASSIGN(FoundColumns found, FindByPlace(text, trained, needs));
  if (named != has_names) {
    found.remark = std::string(named ? "it has no header, and the table trained on has one"
                                     : "it has a header, and the table trained on has none") +
                   ": columns are taken by their places";
  }
  return found;
}

}  // namespace lockstep
