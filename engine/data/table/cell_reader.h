// The cells of a table, read as a description says.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CELL_READER_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CELL_READER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/table/table_features.h"

namespace lockstep::inline v0_1 {

// Borrows the description. Thread-safety: immutable.
class CellReader {
 public:
  // `form`: how the table at hand writes numbers.
  CellReader(const TableDescription& description, NumberForm form);

  bool IsMissing(std::string_view cell) const { return missing_.Has(cell); }
  // Of a missing cell NaN and kMissingCode; of a category that the description does not know
  // kUnseenCode. An error says what is wrong with the cell, beginning with its text: whoever knows
  // where it stands puts that in front.
  Result<CellValue> Read(size_t column, std::string_view cell) const;

 private:
  Result<CellValue> ReadMissing(const TableColumn& column, std::string_view cell) const;
  Result<CellValue> ReadNumberOf(const TableColumn& column, std::string_view cell) const;

  const TableDescription& description_;
  const NumberForm form_;
  const MissingTexts missing_;
  std::vector<std::unordered_map<std::string_view, int64_t>> codes_;  // by column
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CELL_READER_H_
