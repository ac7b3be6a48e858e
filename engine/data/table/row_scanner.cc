#include "engine/data/table/row_scanner.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/data/table/text_encoding.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

// The bytes of `word` that are zero have their highest bit set; the lowest of them is exact.
constexpr uint64_t kOnes = 0x0101010101010101u;
uint64_t ZeroBytes(uint64_t word) { return (word - kOnes) & ~word & (kOnes << 7); }

}  // namespace

int64_t CountLineEnds(std::string_view text) {
  int64_t lines = 0;
  size_t at = 0;
  for (uint64_t word = 0; text.size() - at >= sizeof(word); at += sizeof(word)) {
    std::memcpy(&word, text.data() + at, sizeof(word));
    word ^= kOnes * '\n';
    // All zero bytes exactly, unlike ZeroBytes.
    constexpr uint64_t kLow = kOnes * 0x7F;
    const uint64_t ends = ~(((word & kLow) + kLow) | word | kLow) >> 7;  // 1 in each such byte
    lines += static_cast<int64_t>(ends * kOnes >> 56);                   // their sum
  }
  for (; at < text.size(); ++at) lines += text[at] == '\n' ? 1 : 0;
  for (at = text.find('\r'); at != std::string_view::npos; at = text.find('\r', at + 1)) {
    if (at + 1 == text.size() || text[at + 1] != '\n') ++lines;
  }
  return lines;
}

RowScanner::RowScanner(const Dialect& dialect, bool keep_blank)
    : delimiter_(dialect.delimiter),
      quote_(dialect.quote),
      comment_(dialect.comment),
      blanks_(dialect.delimiter == ' '),
      latin1_(dialect.encoding == Dialect::Encoding::kLatin1),
      keep_blank_(keep_blank) {}

Status RowScanner::Fail(int64_t line, const std::string& what) const {
  return Status::Corrupt("line " + std::to_string(line) + what);
}

Status RowScanner::Start(std::string_view text, int64_t line) {
  at_ = text.data();
  end_ = at_ + text.size();
  line_ = row_line_ = line;
  cells_.clear();
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return Fail(line + CountLineEnds(text.substr(0, nul)),
                ": a NUL byte; this is not a text file in UTF-8, UTF-16 or Latin-1");
  }
  if (latin1_) return Status::Ok();
  const size_t wrong = FirstNotUtf8(text);
  if (wrong == text.size()) return Status::Ok();
  return Fail(line + CountLineEnds(text.substr(0, wrong)),
              ": the text is not UTF-8; save the file as UTF-8, or say data.encoding = "
              "\"latin1\" if all of it is Latin-1 (Windows-1252)");
}

void RowScanner::SkipBlanks() {
  while (at_ < end_ && (blanks_ ? *at_ == ' ' || *at_ == '\t' : IsBlank(*at_))) ++at_;
}

void RowScanner::SkipLineEnd() {
  const bool carriage_return = *at_ == '\r';
  ++at_;
  if (carriage_return && at_ < end_ && *at_ == '\n') ++at_;
  ++line_;
}

// Of a cell without quotes.
const char* RowScanner::FindEnd(const char* from) const {
  const uint64_t delimiters = kOnes * static_cast<unsigned char>(delimiter_);
  while (end_ - from >= 8) {
    uint64_t word = 0;
    std::memcpy(&word, from, 8);
    uint64_t found = ZeroBytes(word ^ delimiters) | ZeroBytes(word ^ kOnes * '\n') |
                     ZeroBytes(word ^ kOnes * '\r');
    if (blanks_) found |= ZeroBytes(word ^ kOnes * '\t');
    if (found != 0) {
      static_assert(std::endian::native == std::endian::little);
      return from + std::countr_zero(found) / 8;
    }
    from += 8;
  }
  while (from < end_ && *from != delimiter_ && !IsLineEnd(*from) && !(blanks_ && *from == '\t')) {
    ++from;
  }
  return from;
}

Status RowScanner::Add(std::string_view cell) {
  const auto is_blank = [this](char c) { return blanks_ ? c == ' ' : IsBlank(c); };
  while (!cell.empty() && is_blank(cell.back())) cell.remove_suffix(1);
  while (!cell.empty() && is_blank(cell.front())) cell.remove_prefix(1);
  if (cell.size() > kLongestCell) {
    return Fail(row_line_, ", column " + std::to_string(cells_.size() + 1) +
                               ": the cell is longer than " + std::to_string(kLongestCell) +
                               " bytes; is a quote missing? (data.quote)");
  }
  if (cells_.size() == kMostCells) {
    return Fail(row_line_, ": the row has more than " + std::to_string(kMostCells) + " cells");
  }
  if (latin1_ && std::any_of(cell.begin(), cell.end(), [](char c) { return (c & 0x80) != 0; })) {
    cell = made_.emplace_back(FromLatin1(cell));
  }
  cells_.push_back(cell);
  return Status::Ok();
}

Status RowScanner::ReadQuoted() {
  const int64_t opened = line_;
  quoted_ = true;
  const char* const begin = ++at_;
  bool changes = false;  // quotes written twice, line ends that become LF
  for (;;) {
    const auto rest = static_cast<size_t>(end_ - at_);
    const auto* const close =
        rest == 0 ? nullptr : static_cast<const char*>(std::memchr(at_, quote_, rest));
    if (close == nullptr) {
      return Fail(opened, ", column " + std::to_string(cells_.size() + 1) +
                              ": a quote opens and is not closed before the end of the file; "
                              "data.quote = \"none\" reads quotes as they are");
    }
    at_ = close + 1;
    if (at_ == end_ || *at_ != quote_) break;
    changes = true;
    ++at_;
  }
  const std::string_view inside(begin, static_cast<size_t>(at_ - 1 - begin));
  if (inside.find_first_of("\r\n") != std::string_view::npos) {
    line_ += CountLineEnds(inside);
    changes = changes || inside.find('\r') != std::string_view::npos;
  }
  SkipBlanks();
  const bool ends = at_ == end_ || IsLineEnd(*at_) || *at_ == delimiter_ ||
                    (blanks_ && (at_[-1] == ' ' || at_[-1] == '\t'));
  if (!ends) {
    return Fail(line_, ", column " + std::to_string(cells_.size() + 1) +
                           ": text follows a closing quote; write a quote within quotes twice, or "
                           "say data.quote = \"none\" to read quotes as they are");
  }
  if (!changes) return Add(inside);
  std::string plain;
  for (size_t i = 0; i < inside.size(); ++i) {
    const char c = inside[i];
    if (c == quote_) ++i;
    if (c == '\r' && i + 1 < inside.size() && inside[i + 1] == '\n') continue;
    plain += c == '\r' ? '\n' : c;
  }
  return Add(made_.emplace_back(std::move(plain)));
}

Result<bool> RowScanner::ReadCell() {
  SkipBlanks();
  if (blanks_ && (at_ == end_ || IsLineEnd(*at_))) {  // behind the last cell
    if (at_ < end_) SkipLineEnd();
    return true;
  }
  if (at_ < end_ && *at_ == quote_ && quote_ != '\0') {
    LOCKSTEP_TRY(ReadQuoted());
  } else {
    const char* const begin = at_;
    at_ = FindEnd(at_);
    LOCKSTEP_TRY(Add(std::string_view(begin, static_cast<size_t>(at_ - begin))));
  }
  if (at_ == end_) return true;
  if (IsLineEnd(*at_)) {
    SkipLineEnd();
    return true;
  }
  if (!blanks_) ++at_;  // the delimiter
  if (at_ == end_ && !blanks_) {
    LOCKSTEP_TRY(Add({}));
    return true;
  }
  return false;
}

Result<bool> RowScanner::Next() {
  while (at_ != end_) {
    cells_.clear();
    made_.clear();
    quoted_ = false;
    row_line_ = line_;
    if (comment_ != '\0') {
      const char* const begin = at_;
      SkipBlanks();
      if (at_ < end_ && *at_ == comment_) {
        while (at_ < end_ && !IsLineEnd(*at_)) ++at_;
        if (at_ < end_) SkipLineEnd();
        continue;
      }
      at_ = begin;
    }
    for (bool ended = false; !ended;) {
      LOCKSTEP_TRY_ASSIGN(ended, ReadCell());
    }
    const bool blank = cells_.empty() || (cells_.size() == 1 && !quoted_ && cells_[0].empty());
    if (blank && !keep_blank_) continue;
    if (cells_.empty()) cells_.emplace_back();
    return true;
  }
  cells_.clear();
  return false;
}

size_t WholeRows(std::string_view text, const Dialect& dialect, int64_t& lines) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto find = [&](const char* from, char c) {
    if (from >= end) return end;
    const void* found = std::memchr(from, c, static_cast<size_t>(end - from));
    return found == nullptr ? end : static_cast<const char*>(found);
  };
  const auto is_line_end = [](char c) { return c == '\n' || c == '\r'; };
  // Whether a quote at `at` opens a cell; no quote is open from `outside` to there.
  const auto opens = [&](const char* at, const char* outside) {
    const char* first = at;
    while (first > outside && (first[-1] == ' ' || first[-1] == '\t')) --first;
    const bool behind_blank = first < at && (dialect.delimiter == ' ' || dialect.delimiter == '\t');
    return first == begin || is_line_end(first[-1]) || first[-1] == dialect.delimiter ||
           (behind_blank && std::find(first, at, dialect.delimiter) < at) ||
           (dialect.delimiter == ' ' && first < at);
  };
  const auto in_comment = [&](const char* at, const char* outside) {
    if (dialect.comment == '\0') return false;
    const char* line = at;
    while (line > outside && !is_line_end(line[-1])) --line;
    while (line < at && (*line == ' ' || *line == '\t')) ++line;
    return *line == dialect.comment;
  };
  const char* rows_end = begin;
  for (const char *outside = begin, *from = begin; outside < end;) {
    const char* const quote = dialect.quote == '\0' ? end : find(from, dialect.quote);
    if (quote < end && !opens(quote, outside)) {
      from = quote + 1;
      continue;
    }
    if (quote < end && in_comment(quote, outside)) {
      from = std::find_if(quote, end, is_line_end);
      continue;
    }
    // CR at the very end of the text may be followed by LF.
    const char* last = quote;
    while (last > outside &&
           !(last[-1] == '\n' || (last[-1] == '\r' && last < end && *last != '\n')))
      --last;
    if (last > outside) rows_end = last;
    outside = quote + 1;
    for (; quote < end; ++outside) {
      outside = find(outside, dialect.quote) + 1;
      if (outside >= end || *outside != dialect.quote) break;
    }
    if (outside >= end) break;  // it is not closed, or its last byte may be the first of two
    from = outside;
  }
  lines = CountLineEnds(text.substr(0, static_cast<size_t>(rows_end - begin)));
  return static_cast<size_t>(rows_end - begin);
}

}  // namespace lockstep
