// The cells of a table in little memory: each row a record of fixed length, in memory or in a file
// that is mapped. What stands in a record is what the table holds, not what a network takes: scales
// can change without reading the text again.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_ROWS_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/table/table_features.h"
#include "engine/io/mapped_file.h"

namespace lockstep::inline v0_1 {

// How a column's cells are stored. Codes: the category's number; then the one for missing, then the
// one for unseen.
enum class CellType : uint8_t { kNone, kF32, kF64, kU8, kU16, kU32 };
int64_t BytesOf(CellType type);

struct RecordLayout {
  std::vector<CellType> types{};      // by column; kNone: it is not stored
  std::vector<int64_t> offsets{};     // of each, in the record
  std::vector<int64_t> categories{};  // of each, how many; the code for missing is that
  int64_t bytes = 0;                  // of a record

  static RecordLayout Of(const TableDescription& description);
  void Put(int64_t column, CellValue value, std::byte* record) const;
  CellValue Get(int64_t column, const std::byte* record) const;
};

// Thread-safety: immutable.
class TableRows {
 public:
  // Takes `records`; or keeps `file` alive, where `records` begin at `offset`.
  TableRows(RecordLayout layout, std::vector<std::byte> records);
  TableRows(RecordLayout layout, std::shared_ptr<const MappedFile> file, size_t offset,
            size_t bytes);
  TableRows(const TableRows&) = delete;
  TableRows& operator=(const TableRows&) = delete;

  int64_t size() const { return size_; }
  const RecordLayout& layout() const { return layout_; }
  std::span<const std::byte> bytes() const { return records_; }
  const std::byte* record(int64_t row) const { return records_.data() + row * layout_.bytes; }
  // The same, for rows in no order (MappedFile::bytes_for_jumps).
  const std::byte* record_of_jump(int64_t row) const { return jumps_ + row * layout_.bytes; }
  CellValue at(int64_t row, int64_t column) const { return layout_.Get(column, record(row)); }
  // These rows will be looked at: of a mapping their parts of the file begin to be read. Some 5 ns a
  // row.
  void Fetch(std::span<const int64_t> rows) const;

 private:
  RecordLayout layout_;
  std::vector<std::byte> owned_;
  std::shared_ptr<const MappedFile> file_;  // null: owned
  std::span<const std::byte> records_;
  const std::byte* jumps_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_ROWS_H_
