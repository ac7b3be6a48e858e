// Where the columns that a model was trained on stand in another file.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_FIND_COLUMNS_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_FIND_COLUMNS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/table/table_description.h"
#include "engine/data/table/table_text.h"

namespace lockstep::inline v0_1 {

// Which columns are needed beside the features.
struct NeededColumns {
  bool target = false;
  bool others = false;  // weights, groups and times
};

// Names that a header must have.
std::vector<std::string> NamesOfFeatures(const std::vector<TableColumn>& trained);

struct FoundColumns {
  std::vector<int64_t> sources;  // by column trained on: where it stands; -1: it is not needed
  std::string remark{};          // what was guessed; empty: nothing
};
// By name where both tables have names, whatever the order and what else there is; else by place:
// all columns as in training, or those without the target, or the needed ones alone. Errors name
// the file, and the column that is missing with the name that is nearest.
Result<FoundColumns> FindColumns(const TableText& text, const std::vector<TableColumn>& trained,
                                 NeededColumns needs);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_FIND_COLUMNS_H_
