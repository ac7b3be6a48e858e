#include "tools/scale/text_table.h"

#include <algorithm>

namespace lockstep::scale {
namespace {

size_t Characters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // a byte that begins one
  }));
}

}  // namespace

std::string TextTable(const std::vector<TextRow>& rows, size_t right) {
  std::string text;
  if (rows.empty()) return text;
  std::vector<size_t> widths(rows.front().size());
  for (const TextRow& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], Characters(row[c]));
  }
  for (const TextRow& row : rows) {
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

}  // namespace lockstep::scale
