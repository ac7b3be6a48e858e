#include "engine/base/columns.h"

#include <algorithm>
#include <cstdio>

namespace lockstep::inline v0_1 {
namespace {

std::string Scaled(double amount, const char* const (&prefixes)[5], const char* unit) {
  size_t at = 0;
  for (; amount >= 999.5 && at + 1 < std::size(prefixes); ++at) amount /= 1000.0;
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f %s%s", at == 0 || amount >= 99.5 ? 0 : 1, amount,
                prefixes[at], unit);
  return text;
}

}  // namespace

size_t Characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // a byte that begins one
  }));
}

std::string InColumns(const std::vector<std::vector<std::string>>& rows, size_t right) {
  std::string text;
  if (rows.empty()) return text;
  std::vector<size_t> widths(rows.front().size());
  for (const std::vector<std::string>& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], Characters(row[c]));
  }
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t c = 0; c + 1 < row.size(); ++c) {
      const std::string blanks(widths[c] - Characters(row[c]), ' ');
      line += (c < right ? row[c] + blanks : blanks + row[c]) + "  ";
    }
    line += row.back();
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string BytesText(double bytes) { return Scaled(bytes, {"", "K", "M", "G", "T"}, "B"); }
std::string AmountText(double amount, const char* unit) {
  return Scaled(amount, {"", "k", "M", "G", "T"}, unit);
}

}  // namespace lockstep
