// Whether the first row of a table holds the names of its columns.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_HEADER_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_HEADER_H_

#include <string>
#include <vector>

#include "engine/data/table/dialect.h"
#include "engine/data/table/table_cell.h"

namespace lockstep::inline v0_1 {

struct FoundHeader {
  bool header = false;
  bool unlike = false;   // a header that could be no row: texts alone, above numbers or dates
  std::string remark{};  // where another answer was possible
};

// `rows`: the first rows of a file, cell by cell, all of one width. A row is a header if it holds
// names that only a header can hold; if its texts stand above numbers or dates; if it counts the
// columns or years as no row below does and as chance hardly would; or if none of its texts occurs
// again where those of rows do, unless it answers yes or no as they do.
FoundHeader FindHeader(const std::vector<std::vector<std::string>>& rows, NumberForm form,
                       const MissingTexts& missing, const std::vector<std::string>& names);

// "age", "age", "" -> "age", "age.1", "", as pandas does; `remark` says which.
void MakeDistinct(std::vector<std::string>& names, std::string& remark);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_HEADER_H_
