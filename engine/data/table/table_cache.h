// Binary copies of tables: the records as they were stored, with the description, in one file that
// is mapped, so that text is read once and several processes share one copy in memory.
//
//   "LKSTABLE", version            8 bytes each; what follows begins at byte 64
//   records                        of RecordLayout::bytes each
//   what the records mean          key, description (JSON), counts, remarks, a hash of the records
//   its place, size and hash, "LKSTABLE"   8 bytes each
//
// Numbers are little endian.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_CACHE_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/data/table/table.h"
#include "engine/io/file.h"
#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {

// The copy of one table. Movable; thread-compatible. Processes (ranks of one run, for instance) may
// use the same copy at once: one writes it, the others wait until it is there.
class TableCache {
 public:
  // Of the file at `path`, beside it or in options.cache_folder. Looks for a copy that was made of
  // the same file (its size and time of change) with the same options; where there is none, or a
  // damaged one, it becomes the writer of a new one. Waits for another process that writes it.
  // Errors: `path` cannot be read.
  static Result<TableCache> Open(const std::string& path, const TableOptions& options);

  // The table, mapped, where the copy is there. Its remarks say so.
  std::optional<Table> Take() { return std::move(table_); }
  // Whether records are to be written; else the table can have no copy, which remark() explains.
  bool writes() const { return file_.has_value(); }
  // What the user should be told of the copy; empty: nothing.
  const std::string& remark() const { return remark_; }

  // REQUIRES: writes(). Errors carry the copy's path.
  Status Append(std::span<const std::byte> records);
  // Behind the last record: `table` has everything but the rows, which it gets, mapped.
  Status Finish(const RecordLayout& layout, Table& table);

 private:
  TableCache() = default;
  Result<Table> Map(const std::string& at) const;

  std::string path_, copy_path_;
  std::string key_;     // the options that change what is read
  std::string source_;  // the file's size and time of change
  std::optional<Table> table_;
  std::optional<AtomicFile> file_;
  std::string remark_;
  Hasher hasher_;
  uint64_t bytes_ = 0;  // of records
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_CACHE_H_
