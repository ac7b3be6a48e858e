// Tables for terminals, by the names that the tools know them by.
#ifndef LOCKSTEP_TOOLS_SCALE_TEXT_TABLE_H_
#define LOCKSTEP_TOOLS_SCALE_TEXT_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "engine/base/columns.h"

namespace lockstep::inline v0_1::scale {

using TextRow = std::vector<std::string>;

inline std::string TextTable(const std::vector<TextRow>& rows, size_t right) {
  return InColumns(rows, right);
}

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_TEXT_TABLE_H_
