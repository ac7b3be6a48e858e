// What a table holds, column by column, and how it becomes what a network takes: the one
// description that travels with a model. Every table that is read for the model goes through it, by
// the columns' names.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_DESCRIPTION_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_DESCRIPTION_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/objective.h"
#include "engine/data/table/dialect.h"
#include "engine/data/table/table_cell.h"

namespace lockstep::inline v0_1 {

struct TableColumn {
  enum class Kind { kNumber, kYesNo, kCategory, kDate };
  enum class Role { kFeature, kTarget, kWeight, kGroup, kTime, kLeftOut };

  std::string name = {};  // in UTF-8; empty: the table has no header
  Kind kind = Kind::kNumber;
  Role role = Role::kFeature;
  // kCategory: the texts in their order (as numbers where all are, else as bytes). kYesNo: the word
  // for no, the word for yes, as they first stood in the table. Of a target of classes: the
  // classes.
  std::vector<std::string> categories = {};
  // Of each category, how many of the training rows have it; one that none has is never learned and
  // counts as unseen.
  std::vector<int64_t> counts = {};
  bool has_missing = false;  // in the rows trained on; of a category that is one more category
  int64_t width = 0;         // kCategory: of its embedding; 0: one feature for each category
  DateForm date = DateForm::kYearMonthDay;
  bool has_time = false;  // kDate
  // Numbers (a yes is 1, a no 0; a date is days since 1970): (v - subtracted) / divided, in double,
  // is what the network sees; divided = 0: the column is constant, and it sees 0. Of a target: what
  // the network tells, so that its answer is y * divided + subtracted.
  double subtracted = 0.0, divided = 1.0;
  double fill = 0.0;      // in the place of a missing number; the mean of the training rows
  bool exact = false;     // kNumber: stored as a double, for as a float it would lose too much
  bool indicate = false;  // one more feature is 1 where the value is missing
  std::string note = {};  // kLeftOut: why

  bool operator==(const TableColumn&) const = default;
};

struct TableDescription {
  std::vector<TableColumn> columns = {};  // in the order of the file, with those left out
  std::vector<std::string> missing = {};  // texts that stand for a missing value
  bool missing_is_error = true;           // of a number: the table trained on had none
  Dialect dialect{};                      // of the table trained on
  Task task = Task::kClasses;

  // The place of the target; -1: there is none.
  int64_t target() const { return PlaceOf(TableColumn::Role::kTarget); }
  int64_t PlaceOf(TableColumn::Role role) const;
  bool operator==(const TableDescription&) const = default;
};

// "number", "yes/no", "category", "date"; "feature", "target", "weight", "group", "time", "left out"
const char* NameOf(TableColumn::Kind kind);
const char* NameOf(TableColumn::Role role);

// To and from JSON, as it stands in the metadata of a model ("data.table"). Untrusted input: all
// that stands in it is checked.
std::string ToJson(const TableDescription& description);
Result<TableDescription> TableDescriptionFrom(std::string_view json);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_DESCRIPTION_H_
