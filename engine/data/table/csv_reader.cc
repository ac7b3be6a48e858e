#include "engine/data/table/csv_reader.h"

#include <algorithm>
#include <span>
#include <utility>

namespace lockstep {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 16;

}  // namespace

CsvReader::CsvReader(std::unique_ptr<ByteSource> source, std::string name, char delimiter,
                     int64_t max_bytes)
    : source_(std::move(source)),
      name_(std::move(name)),
      delimiter_(static_cast<unsigned char>(delimiter)),
      max_bytes_(max_bytes),
      buffer_(kBufferBytes) {}

Result<bool> CsvReader::NextRow() {
  for (;;) {
    row_.clear();
    ends_.clear();
    quoted_ = false;
    row_line_ = line_;
    if (Peek() == kEnd) {
      if (!status_.ok()) return status_;
      return false;
    }
    for (FieldEnd ends = FieldEnd::kField; ends == FieldEnd::kField;) {
      LOCKSTEP_TRY_ASSIGN(ends, ReadField());
    }
    const bool blank = ends_.size() == 1 && !quoted_ && field(0).empty();
    if (!blank) return true;
  }
}

std::string_view CsvReader::field(size_t i) const {
  const size_t begin = i == 0 ? 0 : ends_[i - 1];
  std::string_view text(row_.data() + begin, ends_[i] - begin);
  while (!text.empty() && IsSpace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && IsSpace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

bool CsvReader::FillBuffer() {
  if (!status_.ok()) return false;
  const bool first = bytes_ == 0;
  Result<size_t> got = source_->Read(std::span(buffer_));
  if (!got.ok()) {
    status_ = got.status();
    return false;
  }
  next_ = 0;
  filled_ = *got;
  bytes_ += static_cast<int64_t>(filled_);
  if (bytes_ > max_bytes_) {
    status_ = Fail("the text is larger than the limit of " + std::to_string(max_bytes_) +
                   " bytes; raise the limit if that is meant");
    return false;
  }
  constexpr uint8_t kByteOrderMark[] = {0xEF, 0xBB, 0xBF};
  if (first && filled_ >= 3 && std::equal(kByteOrderMark, kByteOrderMark + 3, buffer_.begin())) {
    next_ = 3;
  }
  return next_ < filled_;
}

Result<CsvReader::FieldEnd> CsvReader::ReadField() {
  if (ends_.size() == kMostFields) {
    return Fail("the row has more than " + std::to_string(kMostFields) + " fields");
  }
  SkipSpaces();
  if (Peek() == '"') LOCKSTEP_TRY(ReadQuoted());
  for (;;) {
    const int byte = Peek();
    if (byte == delimiter_ || byte == '\n' || byte == '\r' || byte == kEnd) {
      if (!status_.ok()) return status_;
      ends_.push_back(row_.size());
      if (byte == delimiter_) {
        Skip();
        return FieldEnd::kField;
      }
      if (byte != kEnd) SkipLineEnd();
      return FieldEnd::kRow;
    }
    LOCKSTEP_TRY(PutRun());
  }
}

// Takes over all bytes up to one that ends the field, or the buffer.
Status CsvReader::PutRun() {
  const uint8_t* const begin = buffer_.data() + next_;
  const uint8_t* const end = buffer_.data() + filled_;
  const uint8_t* stop = begin;
  while (stop < end && *stop != delimiter_ && *stop != '\n' && *stop != '\r' && *stop != 0) ++stop;
  if (stop == begin)
    return AppendByte(0);  // the only byte that neither belongs to a field nor ends it
  const auto length = static_cast<size_t>(stop - begin);
  const size_t field_begin = ends_.empty() ? 0 : ends_.back();
  if (row_.size() - field_begin + length > kLongestField) return FailTooLong();
  row_.append(reinterpret_cast<const char*>(begin), length);
  next_ += length;
  return Status::Ok();
}

Status CsvReader::FailTooLong() const {
  return Fail("column " + std::to_string(ends_.size() + 1) + ": the field is longer than " +
              std::to_string(kLongestField) + " bytes; is a quote missing?");
}

Status CsvReader::ReadQuoted() {
  const int64_t opened = line_;
  quoted_ = true;
  Skip();
  for (;;) {
    const int byte = Peek();
    if (byte == kEnd) {
      if (!status_.ok()) return status_;
      return Status::Corrupt(name_ + ": line " + std::to_string(opened) + ", column " +
                             std::to_string(ends_.size() + 1) +
                             ": a quote opens and is not closed before the end of the file");
    }
    if (byte == '\n' || byte == '\r') {
      LOCKSTEP_TRY(AppendByte('\n'));
      SkipLineEnd();
      continue;
    }
    Skip();
    if (byte == '"') {
      if (Peek() != '"') break;
      Skip();
    }
    LOCKSTEP_TRY(AppendByte(byte));
  }
  SkipSpaces();
  const int byte = Peek();
  if (byte == delimiter_ || byte == '\n' || byte == '\r' || byte == kEnd) return status_;
  return Fail("column " + std::to_string(ends_.size() + 1) +
              ": text follows a closing quote; write a quote within quotes twice");
}

Status CsvReader::AppendByte(int byte) {
  if (byte == 0) {
    return Fail("a NUL byte; this is not a text file in ASCII or UTF-8 (UTF-16 must be converted)");
  }
  const size_t begin = ends_.empty() ? 0 : ends_.back();
  if (row_.size() - begin == kLongestField) return FailTooLong();
  row_ += static_cast<char>(byte);
  return Status::Ok();
}

void CsvReader::SkipSpaces() {
  while (IsSpace(Peek())) Skip();
}

void CsvReader::SkipLineEnd() {
  const bool carriage_return = Peek() == '\r';
  Skip();
  if (carriage_return && Peek() == '\n') Skip();
  ++line_;
}

Status CsvReader::Fail(const std::string& what) const {
  return Status::Corrupt(name_ + ": line " + std::to_string(line_) + ": " + what);
}

}  // namespace lockstep
