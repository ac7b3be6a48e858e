// A file cut into parts of a few megabytes at the ends of rows, so that several threads can scan
// them.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_PART_READER_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_PART_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/byte_source.h"
#include "engine/data/table/dialect.h"

namespace lockstep::inline v0_1 {

// Whole rows, in memory that the part keeps when it is filled again.
struct Part {
  std::string_view rows{};
  int64_t line = 0;    // in which they begin, from 1
  double share = 0.0;  // of the file that lies in front of their end; 0: not known
  std::vector<char> memory{};
};

// Where it cuts depends on the text alone. Thread-compatible.
class PartReader {
 public:
  // `source` gives UTF-8 or Latin-1, without a byte order mark.
  // `name` stands for the file in messages.
  static Result<PartReader> Open(std::unique_ptr<ByteSource> source, const FoundDialect& found,
                                 const std::string& name);

  // The next part; false at the end. Errors: the source's, a row that is too long.
  Result<bool> Next(Part& part);

 private:
  PartReader(std::unique_ptr<ByteSource> source, const FoundDialect& found, std::string name)
      : source_(std::move(source)),
        dialect_(found.dialect),
        name_(std::move(name)),
        line_(found.rows_line) {}

  std::unique_ptr<ByteSource> source_;
  Dialect dialect_;
  std::string name_;
  int64_t line_;            // of the next part
  std::vector<char> rest_;  // the beginning of the next part
  bool ended_ = false;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_PART_READER_H_
