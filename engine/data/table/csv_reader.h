// Comma-separated text cut into rows of fields (RFC 4180), without giving them a meaning.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_CSV_READER_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_CSV_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/byte_source.h"

namespace lockstep {

// Thread-compatible.
class CsvReader {
 public:
  static constexpr size_t kLongestField = size_t{1} << 16;
  static constexpr size_t kMostFields = size_t{1} << 20;

  // `name` stands for the file in messages. REQUIRES: delimiter is not a quote or a line end.
  CsvReader(std::unique_ptr<ByteSource> source, std::string name, char delimiter,
            int64_t max_bytes);

  // Reads the next row that is not blank; false at the end. Errors: a NUL byte, a quote that is not
  // closed or has text after it, limits exceeded, or the source's.
  Result<bool> NextRow();

  size_t fields() const { return ends_.size(); }
  // Spaces and tabs around it removed, quotes undone. Valid until NextRow.
  std::string_view field(size_t i) const;
  // The line the row begins in, from 1.
  int64_t line() const { return row_line_; }

 private:
  static constexpr int kEnd = -1;

  // The next byte, or kEnd; a failure also ends, and leaves its status in status_.
  int Peek() {
    if (next_ == filled_ && !FillBuffer()) return kEnd;
    return buffer_[next_];
  }
  void Skip() { ++next_; }
  bool FillBuffer();

  // One field and what ends it.
  enum class FieldEnd { kField, kRow };
  Result<FieldEnd> ReadField();
  Status ReadQuoted();
  Status PutRun();
  Status AppendByte(int byte);
  Status FailTooLong() const;
  void SkipSpaces();
  void SkipLineEnd();
  bool IsSpace(int byte) const { return (byte == ' ' || byte == '\t') && byte != delimiter_; }
  Status Fail(const std::string& what) const;

  std::unique_ptr<ByteSource> source_;
  std::string name_;
  int delimiter_;
  int64_t max_bytes_;
  int64_t bytes_ = 0;

  std::vector<uint8_t> buffer_;
  size_t next_ = 0, filled_ = 0;
  Status status_;

  int64_t line_ = 1;
  int64_t row_line_ = 1;
  std::string row_;           // the fields one after another
  std::vector<size_t> ends_;  // of the fields within row_
  bool quoted_ = false;       // a field of the row is in quotes
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_CSV_READER_H_
