// Tables for terminals.
#ifndef LOCKSTEP_TOOLS_SCALE_TEXT_TABLE_H_
#define LOCKSTEP_TOOLS_SCALE_TEXT_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace lockstep::scale {

using TextRow = std::vector<std::string>;

// Columns as wide as their widest cell (in characters of UTF-8); those from `right` to the last but
// one are set to the right, and the last one has no width. All rows have as many cells. A line
// each.
std::string TextTable(const std::vector<TextRow>& rows, size_t right);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_TEXT_TABLE_H_
