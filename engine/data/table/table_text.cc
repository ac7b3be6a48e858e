#include "engine/data/table/table_text.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "engine/data/table/file_kind.h"
#include "engine/data/table/row_scanner.h"

namespace lockstep {
namespace {

constexpr size_t kBeginning = size_t{1} << 20;  // bytes that the dialect is found by
constexpr size_t kLongestRow = size_t{1} << 28;
constexpr size_t kPart = size_t{1} << 22;
constexpr int64_t kLargestPipe = int64_t{8} << 30;

Result<std::string> ReadUpTo(ByteSource& source, size_t most) {
  std::string text;
  while (text.size() < most) {
    const size_t before = text.size();
    text.resize(std::min(most, std::max(before * 2, kBeginning)));
    LOCKSTEP_TRY_ASSIGN(const size_t got,
                        source.Read(std::span(reinterpret_cast<uint8_t*>(text.data()) + before,
                                              text.size() - before)));
    const bool end = got < text.size() - before;
    text.resize(before + got);
    if (end) break;
  }
  return text;
}

bool IsRegular(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace

Result<TableText> TableText::OpenFile(const std::string& path, const DialectOptions& options) {
  TableText table;
  table.name_ = table.path_ = path;
  if (!IsRegular(path)) {
    LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<ByteSource> source, lockstep::OpenFile(path));
    LOCKSTEP_TRY_ASSIGN(std::string text, ReadUpTo(*source, kLargestPipe + 1));
    if (text.size() > kLargestPipe) {
      return Status::Invalid(path +
                             ": more than 8 GiB come from what is no regular file; write "
                             "them to a file first");
    }
    table.read_ = std::make_shared<const std::string>(std::move(text));
    table.text_ = *table.read_;
    table.path_.clear();
  }
  LOCKSTEP_TRY(table.Find(options));
  return table;
}

Result<TableText> TableText::OpenText(std::string_view text, const std::string& name,
                                      const DialectOptions& options) {
  TableText table;
  table.name_ = name;
  table.text_ = text;
  LOCKSTEP_TRY(table.Find(options));
  return table;
}

Result<std::unique_ptr<ByteSource>> TableText::Open() const {
  std::unique_ptr<ByteSource> source;
  if (path_.empty()) {
    source = lockstep::OpenText(text_);
  } else {
    LOCKSTEP_TRY_ASSIGN(source, lockstep::OpenFile(path_));
  }
  return Decoded(std::move(source), encoding_, name_);
}

Status TableText::Find(const DialectOptions& options) {
  for (size_t most = kBeginning;; most *= 4) {
    encoding_ = {};
    LOCKSTEP_TRY_ASSIGN(std::unique_ptr<ByteSource> source, Open());
    LOCKSTEP_TRY_ASSIGN(const std::string raw, ReadUpTo(*source, most));
    const bool whole = raw.size() < most;
    LOCKSTEP_TRY(MayBeTable(raw, name_));
    encoding_ = FindEncoding(raw, whole);
    LOCKSTEP_TRY_ASSIGN(source, Open());
    LOCKSTEP_TRY_ASSIGN(const std::string text, ReadUpTo(*source, most));
    // Wide tables have long rows.
    const bool enough = whole || most >= kLongestRow ||
                        std::count(text.begin(), text.end(), '\n') >= 20 ||
                        std::count(text.begin(), text.end(), '\r') >= 20;
    if (!enough) continue;
    LOCKSTEP_TRY_ASSIGN(found_, FindDialect(text, whole, name_, options));
    return Status::Ok();
  }
}

std::string TableText::NameOf(int64_t column) const {
  std::string text = "column " + std::to_string(column + 1);
  if (column >= 0 && column < static_cast<int64_t>(names().size()))
    text += " (" + ShownText(names()[static_cast<size_t>(column)]) + ")";
  return text;
}

Status TableText::ForEachRow(const MakeVisitor& make, const TakeVisitor& take, int,
                             const Progress& progress) const {
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<ByteSource> source, Open());
  {
    std::vector<uint8_t> front(found_.rows_begin);
    LOCKSTEP_TRY(source->Read(front).status());
  }
  const auto columns = static_cast<size_t>(found_.columns);
  RowScanner scanner(found_.dialect, /*keep_blank=*/columns == 1);
  std::string part;
  int64_t line = found_.rows_line, done = 0;
  for (bool end = false; !end;) {
    const size_t kept = part.size();
    part.resize(kept + kPart);
    LOCKSTEP_TRY_ASSIGN(
        const size_t got,
        source->Read(std::span(reinterpret_cast<uint8_t*>(part.data()) + kept, kPart)));
    end = got < kPart;
    part.resize(kept + got);
    done += static_cast<int64_t>(got);
    int64_t lines = 0;
    const size_t rows = end ? part.size() : WholeRows(part, found_.dialect, lines);
    if (rows == 0 && !end) {
      if (part.size() <= kLongestRow) continue;
      return Status::Corrupt(name_ + ": line " + std::to_string(line) +
                             ": the row is longer than " + std::to_string(kLongestRow) +
                             " bytes; is a quote missing? (data.quote)");
    }
    const std::unique_ptr<RowVisitor> visitor = make();
    LOCKSTEP_TRY(scanner.Start(std::string_view(part).substr(0, rows), line).At(name_));
    for (;;) {
      Result<bool> more = scanner.Next();
      LOCKSTEP_TRY(more.status().At(name_));
      if (!*more) break;
      std::span<const std::string_view> cells = scanner.cells();
      if (found_.dialect.open_end && cells.size() == columns + 1 && cells.back().empty())
        cells = cells.first(columns);
      if (cells.size() != columns) {
        return Status::Corrupt(name_ + ": line " + std::to_string(scanner.line()) + ": " +
                               std::to_string(cells.size()) + " cells, but the first row has " +
                               std::to_string(columns) + "; every row needs the same number");
      }
      LOCKSTEP_TRY(visitor->Visit({.line = scanner.line(), .cells = cells}));
    }
    LOCKSTEP_TRY(take(*visitor));
    line += lines;
    part.erase(0, rows);
    if (progress && source->size() > 0) {
      progress(static_cast<double>(done) / static_cast<double>(source->size()));
    }
  }
  return Status::Ok();
}

}  // namespace lockstep
