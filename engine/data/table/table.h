// Tables as people have them: read once, described, and ready to become samples.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/csv_column.h"
#include "engine/data/table/table_description.h"
#include "engine/data/table/table_rows.h"
#include "engine/data/table/table_text.h"

namespace lockstep::inline v0_1 {

// What a user says of a table; what is left out is found by looking.
struct TableOptions {
  DialectOptions dialect{};
  std::optional<CsvColumn> target = int64_t{-1};  // nullopt: there is none
  std::optional<CsvColumn> weight{}, group{}, time{};
  std::vector<CsvColumn> ignored{};
  // "number", "category", "yes/no", "date" or "left out".
  std::vector<std::pair<CsvColumn, std::string>> types{};
  std::optional<Task> task{};  // nullopt: told by the target's values
  std::string positive{};      // kBinary: the class that is 1; empty: the one that sorts last
  std::vector<std::string> more_missing{};  // beside UsualMissingTexts()
  // A missing number: an error; its place is taken by the mean of the training rows, with
  // kIndicate beside a feature that says so; or the row is left out. A missing category is a
  // category of its own unless rows are left out. A missing target: the row is left out with
  // kDropRow, else an error.
  enum class Missing { kError, kMean, kIndicate, kDropRow } on_missing = Missing::kError;
  int64_t one_hot = 32;  // categories with more values are embedded
  int threads = 1;       // changes nothing but the time
  // Binary copies of large tables (table_cache.h): "" beside the file, else in this folder.
  bool cache = false;
  std::string cache_folder{};
  TableText::Progress progress{};
};

struct Table {
  std::string name;  // of the file, for messages
  TableDescription description;
  std::shared_ptr<const TableRows> rows;
  uint64_t content = 0;  // a hash of what is stored
  int64_t dropped_rows = 0;
  // Of a table read for a description: cells of categories that it does not know, by column.
  std::vector<int64_t> unseen{};
  std::vector<std::string> remarks{};  // what the user should be told, a line each
};

// Reads and describes. Scales are those of no rows yet (subtracted 0, divided 1): SetScales. Errors
// name the file, the line, the column, the text found, and what to do.
Result<Table> ReadTable(const std::string& path, const TableOptions& options);
Result<Table> ParseTable(std::string_view text, const std::string& name,
                         const TableOptions& options);

// What a table for a description must have beside its features.
struct TableNeeds {
  bool target = false;  // else it may be there or not, and is not read
  bool others = false;  // weights, groups and times, likewise
  bool drop = false;    // rows with a missing value are left out, as TableOptions::kDropRow
  int threads = 1;
  TableText::Progress progress{};
};
// Reads for a model: columns by name where both tables have names, else by place (all columns, or
// those without the target, or the features alone). Categories that the description does not know
// are unseen and counted; classes that it does not know are an error that names them. A row with a
// missing number is an error where the description says so.
Result<Table> ReadTableFor(const std::string& path, const TableDescription& description,
                           const TableNeeds& needs);
Result<Table> ParseTableFor(std::string_view text, const std::string& name,
                            const TableDescription& description, const TableNeeds& needs);

// What stands in the columns of `table` over the training rows: counts of categories, what numbers
// lose and are divided by, what fills missing ones; the target's too. `standardize` false: numbers
// stay as they are. Errors: no rows, a class that none of them has.
Status SetScales(const Table& table, std::span<const int64_t> train, bool standardize,
                 TableDescription& description);

// Samples: x f32 {features}, targets of the task; of a regression (t - subtracted) / divided. The
// description may have other scales than the table's own.
Result<std::shared_ptr<const Dataset>> TableSamples(
    const Table& table, std::shared_ptr<const TableDescription> description);

// The numbers of different texts or values in a column (of any role that is stored), for splits and
// subgroups: of_row[i] is the place of row i's in `names`.
struct RowGroups {
  std::vector<std::string> names;
  std::vector<int32_t> of_row;
};
Result<RowGroups> GroupsOf(const Table& table, int64_t column);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_H_
