// From what the columns of a table hold to their description.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_DESCRIBE_TABLE_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_DESCRIBE_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/table/column_evidence.h"
#include "engine/data/table/table.h"

namespace lockstep::inline v0_1 {

// What the user's options say of each column, by their places.
struct ColumnWishes {
  std::vector<TableColumn::Role> roles;  // kFeature: nothing was said
  std::vector<std::string> types;        // "": nothing was said

  bool leaves_out(size_t column) const {
    return roles[column] == TableColumn::Role::kLeftOut || types[column] == "left out";
  }
};
Result<ColumnWishes> WishesFor(const TableText& text, const TableOptions& options);

// Empty, to be filled with the cells of each column but those that are left out as asked.
std::vector<ColumnEvidence> EvidenceFor(const TableText& text, const ColumnWishes& wishes);

struct DescribedTable {
  TableDescription description;
  std::vector<std::string> remarks{};
};
// Errors name the line, the column, the text found and what to do, with the recipe's key.
Result<DescribedTable> DescribeTable(const TableText& text, const TableOptions& options,
                                     const ColumnWishes& wishes,
                                     const std::vector<ColumnEvidence>& evidence);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_DESCRIBE_TABLE_H_
