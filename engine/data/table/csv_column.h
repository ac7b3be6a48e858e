// Which column of a table is meant.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CSV_COLUMN_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CSV_COLUMN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// A column by its number from 0 (negative: from the end, -1 is the last) or by its header name.
using CsvColumn = std::variant<int64_t, std::string>;
// As settings spell it: a whole number is a number, anything else a name.
CsvColumn CsvColumnFrom(const std::string& text);
// The name, where it is given by that, goes to `names`.
void AddName(const CsvColumn& column, std::vector<std::string>& names);

// The place of a column among `columns`; `header` holds their names, null: there is none. Errors
// name the table by `name` and the column by its `role` ("label").
Result<size_t> FindCsvColumn(const std::string& name, const CsvColumn& column,
                             const std::string& role, size_t columns,
                             const std::vector<std::string>* header);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CSV_COLUMN_H_
