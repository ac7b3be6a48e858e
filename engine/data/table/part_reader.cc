#include "engine/data/table/part_reader.h"

#include <algorithm>
#include <span>

#include "engine/data/table/row_scanner.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kPart = size_t{1} << 21;        // bytes read at once, at least
constexpr size_t kLongestRow = size_t{1} << 28;  // bytes

}  // namespace

Result<PartReader> PartReader::Open(std::unique_ptr<ByteSource> source, const FoundDialect& found,
                                    const std::string& name) {
  std::vector<uint8_t> front(found.rows_begin);
  LOCKSTEP_TRY(source->Read(front).status());
  return PartReader(std::move(source), found, name);
}

Result<bool> PartReader::Next(Part& part) {
  if (ended_) return false;
  size_t size = rest_.size();
  if (part.memory.size() < size + kPart) part.memory.resize(size + kPart);
  std::copy(rest_.begin(), rest_.end(), part.memory.begin());
  rest_.clear();
  size_t rows = 0;
  int64_t lines = 0;
  while (rows == 0 && !ended_) {
    if (size > kLongestRow) {
      return Status::Corrupt(name_ + ": line " + std::to_string(line_) +
                             ": the row is longer than " + std::to_string(kLongestRow) +
                             " bytes; is a quote missing? (data.quote)");
    }
    // Of a row that does not end, as much again: it is looked at anew from its beginning.
    const size_t piece = std::max(kPart, size);
    if (part.memory.size() < size + piece) part.memory.resize(size + piece);
    LOCKSTEP_TRY_ASSIGN(
        const size_t got,
        source_->Read(std::span(reinterpret_cast<uint8_t*>(part.memory.data()) + size, piece)));
    size += got;
    ended_ = got < piece;
    const std::string_view text(part.memory.data(), size);
    rows = ended_ ? size : WholeRows(text, dialect_, lines);
  }
  const char* const begin = part.memory.data();
  rest_.assign(begin + rows, begin + size);
  part.rows = std::string_view(begin, rows);
  part.line = line_;
  part.share = source_->share();
  line_ += lines;
  return rows > 0;
}

}  // namespace lockstep
