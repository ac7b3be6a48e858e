// What the columns of a table say about how its rows are to be split.
#include <cmath>
#include <string>
#include <utility>

#include "engine/base/text.h"
#include "models/recipe_split.h"

namespace lockstep::inline v0_1 {

Result<SplitKeys> KeysOf(const Table& table, const Recipe::Data& data) {
  using Role = TableColumn::Role;
  SplitKeys keys;
  if (const int64_t group = table.description.PlaceOf(Role::kGroup); group >= 0) {
    LOCKSTEP_TRY_ASSIGN(const RowGroups groups, GroupsOf(table, group));
    // In whichever order the table lists them: a model that is read again splits as it did.
    std::vector<int32_t> number(groups.names.size(), -1);
    for (const int32_t of_row : groups.of_row) {
      int32_t& here = number[static_cast<size_t>(of_row)];
      if (here < 0) {
        here = static_cast<int32_t>(keys.group_names.size());
        keys.group_names.push_back(groups.names[static_cast<size_t>(of_row)]);
      }
      keys.groups.push_back(here);
    }
  }
  if (table.description.task != Task::kRegression) {
    LOCKSTEP_TRY_ASSIGN(RowGroups classes, GroupsOf(table, table.description.target()));
    keys.classes = std::move(classes.of_row);
  }
  const int64_t time = table.description.PlaceOf(Role::kTime);
  if (time < 0 || data.split != "time") return keys;
  for (int64_t row = 0; row < table.rows->size(); ++row) {
    const double value = table.rows->at(row, time).number;
    if (!std::isfinite(value)) {
      return Status::Invalid(table.name + ": row " + std::to_string(row + 1) +
                             " has no value in the column of data.time = \"" + data.time +
                             "\": fill it in, or leave the row out");
    }
    keys.times.push_back(value);
  }
  return keys;
}

Status CheckWeights(const Table& table, const Recipe::Data& data) {
  const int64_t column = table.description.PlaceOf(TableColumn::Role::kWeight);
  if (column < 0) return Status::Ok();
  const std::string key = "data.weight = \"" + data.weight + "\"";
  bool any = false;
  for (int64_t row = 0; row < table.rows->size(); ++row) {
    const double weight = table.rows->at(row, column).number;
    // As a float it is to be finite and no rounded zero.
    if (!(weight >= 0.0) || !std::isfinite(static_cast<float>(weight))) {
      return Status::Invalid(table.name + ": row " + std::to_string(row + 1) + " has the weight " +
                             (std::isnan(weight) ? "of an empty cell" : TextOf(weight)) + ", by " +
                             key + ": weights are finite numbers from 0");
    }
    any = any || static_cast<float>(weight) > 0.0f;
  }
  if (any) return Status::Ok();
  return Status::Invalid(table.name + ": every row has weight 0, by " + key +
                         ": nothing is left to learn from");
}

}  // namespace lockstep
