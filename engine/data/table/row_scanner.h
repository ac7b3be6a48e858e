// Text of whole rows cut into cells (RFC 4180 and its relatives), without giving them a meaning.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_ROW_SCANNER_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_ROW_SCANNER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/table/dialect.h"

namespace lockstep::inline v0_1 {

// A quote opens a cell where it is the first in it, and is written twice within; elsewhere it is a
// character like others. Rows end in LF, CRLF or CR. Comments and blank lines are left out.
// Thread-compatible.
class RowScanner {
 public:
  static constexpr size_t kLongestCell = size_t{1} << 16;
  static constexpr size_t kMostCells = size_t{1} << 20;

  // Of `dialect` it takes delimiter, quote, comment and encoding. `keep_blank`: a blank line is a
  // row of one empty cell.
  RowScanner(const Dialect& dialect, bool keep_blank);

  // Goes on with `text`, which begins with a row in `line` (from 1), and is borrowed. Errors: bytes
  // that no text has, or that are not UTF-8 where the dialect says so.
  Status Start(std::string_view text, int64_t line);

  // Reads the next row; false at the end. Errors begin with the line: a quote that is not closed or
  // has text behind it, limits exceeded.
  Result<bool> Next();

  // Blanks around them removed, quotes undone, in UTF-8. Valid until Next or Start.
  std::span<const std::string_view> cells() const { return cells_; }
  // The line the row begins in.
  int64_t line() const { return row_line_; }
  // Where the next row begins.
  const char* place() const { return at_; }

 private:
  bool IsBlank(char c) const { return (c == ' ' || c == '\t') && c != delimiter_; }
  bool IsLineEnd(char c) const { return c == '\n' || c == '\r'; }
  void SkipBlanks();
  void SkipLineEnd();
  const char* FindEnd(const char* from) const;
  // One cell and what ends it: true where that is the row's end.
  Result<bool> ReadCell();
  Status ReadQuoted();
  Status Add(std::string_view cell);
  Status Fail(int64_t line, const std::string& what) const;

  const char delimiter_, quote_, comment_;
  const bool blanks_;  // runs of blanks are the delimiter
  const bool latin1_, keep_blank_;

  const char* at_ = nullptr;
  const char* end_ = nullptr;
  int64_t line_ = 1, row_line_ = 1;
  bool quoted_ = false;  // a cell of the row is in quotes
  std::vector<std::string_view> cells_;
  std::deque<std::string> made_;  // cells that do not stand in the text as they are
};

// How many lines end in `text`, whatever they end in.
int64_t CountLineEnds(std::string_view text);

// The length of the beginning of `text` that ends behind the last row that is complete; `text`
// begins with a row. `lines`: how many lines that are.
size_t WholeRows(std::string_view text, const Dialect& dialect, int64_t& lines);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_ROW_SCANNER_H_
