// A table as text, row by row: comma-separated and related files, plain or gzip-compressed, or text
// in memory.
//
// Cells may be quoted, lines end in LF, CRLF or CR, a byte order mark is skipped, UTF-16 and
// Latin-1 become UTF-8, blanks around a cell do not count. Blank lines are skipped where a row has
// more than one column: in a table of one column they are rows.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_TEXT_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_TEXT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/byte_source.h"
#include "engine/data/table/dialect.h"
#include "engine/data/table/text_encoding.h"

namespace lockstep::inline v0_1 {

struct TableRow {
  int64_t line = 0;  // it begins in, from 1
  std::span<const std::string_view> cells{};
};

// What is done with neighbouring rows, by one thread.
class RowVisitor {
 public:
  virtual ~RowVisitor() = default;
  // Cells are valid during the call. An error ends the reading.
  virtual Status Visit(const TableRow& row) = 0;
};

// Immutable once opened; a file is opened anew by every ForEachRow.
class TableText {
 public:
  // Errors name the file and what to do. Whoever reads a large file says so now and then by
  // `progress` (share of the file, 0 to 1), on the thread that calls ForEachRow.
  static Result<TableText> OpenFile(const std::string& path, const DialectOptions& options);
  // Borrows `text`; `name` stands for the file in messages.
  static Result<TableText> OpenText(std::string_view text, const std::string& name,
                                    const DialectOptions& options);

  const std::string& name() const { return name_; }
  const Dialect& dialect() const { return found_.dialect; }
  const std::vector<std::string>& remarks() const { return found_.remarks; }
  int64_t columns() const { return found_.columns; }
  // Of each column, in UTF-8; empty: there is no header. A column of row names is called "".
  const std::vector<std::string>& names() const { return found_.names; }
  // In messages: "column 3" or "column 3 (\"age\")".
  std::string NameOf(int64_t column) const;
  // Likewise: "table.csv: line 7, column 3 (\"age\")".
  std::string PlaceOf(int64_t line, int64_t column) const;

  // The rows behind the header, on up to `threads` threads: neighbouring rows of a part of the file
  // go to a visitor of their own, and `take` gets the visitors one after another in the order of
  // the file, on the calling thread. Memory: a few parts. Errors name the line: a row with another
  // number of cells, a quote that is not closed, limits exceeded; the first in the file's order is
  // the one returned, whatever the threads.
  using MakeVisitor = std::function<std::unique_ptr<RowVisitor>()>;
  using TakeVisitor = std::function<Status(RowVisitor&)>;
  using Progress = std::function<void(double share)>;
  Status ForEachRow(const MakeVisitor& make, const TakeVisitor& take, int threads = 1,
                    const Progress& progress = nullptr) const;

 private:
  TableText() = default;
  Status Find(const DialectOptions& options);
  Result<std::unique_ptr<ByteSource>> Open() const;

  std::string name_;
  std::string path_;                         // of a file
  std::shared_ptr<const std::string> read_;  // of what can be read but once
  std::string_view text_;                    // of text in memory
  FoundEncoding encoding_;
  FoundDialect found_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_TEXT_H_
