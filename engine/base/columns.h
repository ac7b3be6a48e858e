// Tables for terminals.
#ifndef LOCKSTEP_ENGINE_BASE_COLUMNS_H_
#define LOCKSTEP_ENGINE_BASE_COLUMNS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::inline v0_1 {

// Of UTF-8.
size_t Characters(std::string_view text);

// Columns as wide as their widest cell (in characters of UTF-8); those from `right` to the last but
// one are set to the right, and the last one has no width. All rows have as many cells. A line
// each.
std::string InColumns(const std::vector<std::vector<std::string>>& rows, size_t right);

// About how much, to two or three digits: "12.3 MB", "0 B".
std::string BytesText(double bytes);
// The same with "FLOP", "MAC" or another unit behind k, M, G or T: "877 kFLOP".
std::string AmountText(double amount, const char* unit);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_COLUMNS_H_
