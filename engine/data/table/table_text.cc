#include "engine/data/table/table_text.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "engine/data/table/file_kind.h"
#include "engine/data/table/part_reader.h"
#include "engine/data/table/row_scanner.h"
#include "engine/data/waiting_threads.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kBeginning = size_t{1} << 20;      // bytes that the dialect is found by
constexpr size_t kLongestHeader = size_t{1} << 28;  // likewise, where rows are long
constexpr size_t kAsciiLookedAt = size_t{1} << 26;  // before text is taken for UTF-8
constexpr int64_t kLargestPipe = int64_t{8} << 30;

// Appends up to `most` bytes.
Status ReadMore(ByteSource& source, size_t most, std::string& text) {
  const size_t before = text.size();
  text.resize(before + most);
  LOCKSTEP_TRY_ASSIGN(
      const size_t got,
      source.Read(std::span(reinterpret_cast<uint8_t*>(text.data()) + before, most)));
  text.resize(before + got);
  return Status::Ok();
}

bool IsRegular(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// Gives the rows of a part to `visitor`.
Status Scan(const Part& part, const FoundDialect& found, const std::string& name,
            RowVisitor& visitor) {
  const auto columns = static_cast<size_t>(found.columns);
  RowScanner scanner(found.dialect, /*keep_blank=*/columns == 1);
  LOCKSTEP_TRY(scanner.Start(part.rows, part.line).At(name));
  for (;;) {
    const Result<bool> more = scanner.Next();
    LOCKSTEP_TRY(more.status().At(name));
    if (!*more) return Status::Ok();
    std::span<const std::string_view> cells = scanner.cells();
    if (found.dialect.open_end && cells.size() == columns + 1 && cells.back().empty())
      cells = cells.first(columns);
    if (cells.size() != columns) {
      return Status::Corrupt(
          name + ": line " + std::to_string(scanner.line()) + ": " + std::to_string(cells.size()) +
          " cell" + (cells.size() == 1 ? "" : "s") + ", but the table has " +
          std::to_string(columns) + " columns; every row needs the same number (a cell with " +
          ShownText(std::string(1, found.dialect.delimiter)) +
          " in it must be quoted; lines in front of the table must go, or be comments: "
          "data.comment)");
    }
    LOCKSTEP_TRY(visitor.Visit({.line = scanner.line(), .cells = cells}));
  }
}

// The encoding of a text that begins with `text` and goes on with what `source` gives: where all of
// that is ASCII, what comes first beyond it decides.
Result<FoundEncoding> FindEncodingOf(std::string text, ByteSource& source) {
  bool whole = false;  // `text` is the end of the file
  for (size_t seen = 0;;) {
    const bool ascii = FirstNotAscii(text) == text.size();
    seen += text.size();
    if (!ascii || seen >= kAsciiLookedAt) return FindEncoding(text, whole);
    text.clear();
    LOCKSTEP_TRY(ReadMore(source, kBeginning, text));
    if (text.empty()) return FoundEncoding{};
    whole = text.size() < kBeginning;
  }
}

}  // namespace

Result<TableText> TableText::OpenFile(const std::string& path, const DialectOptions& options) {
  TableText table;
  table.name_ = path;
  if (IsRegular(path)) {
    table.path_ = path;
  } else {  // what it gives is there but once; or it is not there at all
    LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<ByteSource> source, lockstep::OpenFile(path));
    std::string text;
    size_t before = 0;
    do {
      before = text.size();
      LOCKSTEP_TRY(ReadMore(*source, std::max(kBeginning, text.size()), text));
      if (text.size() > kLargestPipe) {
        return Status::Invalid(path +
                               ": gives more than 8 GiB and is no regular file; write it to "
                               "one first");
      }
    } while (text.size() > before);
    table.read_ = std::make_shared<const std::string>(std::move(text));
    table.text_ = *table.read_;
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
    std::string text;
    LOCKSTEP_TRY(ReadMore(*source, most, text));
    LOCKSTEP_TRY(MayBeTable(text, name_));
    const bool whole = text.size() < most;
    encoding_ = FindEncoding(text, whole);
    const bool decoded = encoding_.mark > 0 || encoding_.encoding == TextEncoding::kUtf16Little ||
                         encoding_.encoding == TextEncoding::kUtf16Big;
    if (decoded) {
      LOCKSTEP_TRY_ASSIGN(source, Open());
      text.clear();
      LOCKSTEP_TRY(ReadMore(*source, most, text));
    }
    // Wide tables have long rows.
    const bool enough = whole || most >= kLongestHeader ||
                        std::count(text.begin(), text.end(), '\n') >= 20 ||
                        std::count(text.begin(), text.end(), '\r') >= 20;
    if (!enough) continue;
    DialectOptions with_encoding = options;
    if (decoded) with_encoding.encoding = Dialect::Encoding::kUtf8;
    if (!decoded && !whole && !options.encoding) {
      LOCKSTEP_TRY_ASSIGN(encoding_, FindEncodingOf(text, *source));
    }
    const bool latin1 = encoding_.encoding == TextEncoding::kLatin1 && !options.encoding;
    if (latin1) with_encoding.encoding = Dialect::Encoding::kLatin1;
    LOCKSTEP_TRY_ASSIGN(found_, FindDialect(text, whole, name_, with_encoding));
    if (latin1) found_.remarks.emplace_back(kReadAsLatin1);
    return Status::Ok();
  }
}

std::string TableText::NameOf(int64_t column) const {
  std::string text = "column " + std::to_string(column + 1);
  if (column >= 0 && column < static_cast<int64_t>(names().size()))
    text += " (" + ShownText(names()[static_cast<size_t>(column)]) + ")";
  return text;
}

std::string TableText::PlaceOf(int64_t line, int64_t column) const {
  return name_ + ": line " + std::to_string(line) + ", " + NameOf(column);
}

Status TableText::ForEachRow(const MakeVisitor& make, const TakeVisitor& take, int threads,
                             const Progress& progress) const {
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<ByteSource> source, Open());
  constexpr int64_t kWorthThreads = int64_t{1} << 23;  // bytes
  if (source->size() >= 0 && source->size() < kWorthThreads) threads = 1;
  LOCKSTEP_TRY_ASSIGN(PartReader reader, PartReader::Open(std::move(source), found_, name_));
  struct Item {
    Part part{};
    Status status{};
    std::unique_ptr<RowVisitor> visitor{};
  };
  bool failed = false;  // while reading
  const auto read = [&](Item& item) {
    if (failed) return false;
    const Result<bool> more = reader.Next(item.part);
    item.status = more.status();
    failed = !more.ok();
    return failed || *more;
  };
  const auto work = [&](Item& item) {
    if (!item.status.ok()) return;
    item.visitor = make();
    item.status = Scan(item.part, found_, name_, *item.visitor);
  };
  Status status;
  const auto take_item = [&](Item& item) {
    status = item.status;
    if (status.ok()) status = take(*item.visitor);
    item.visitor.reset();
    if (status.ok() && progress) progress(item.part.share);
    return status.ok();
  };
  if (threads > 1) {
    ForEachInOrder<Item>(threads, read, work, take_item);
    return status;
  }
  for (Item item; read(item);) {
    work(item);
    if (!take_item(item)) break;
  }
  return status;
}

}  // namespace lockstep
