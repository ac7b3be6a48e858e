#include "engine/data/table/table_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace lockstep::inline v0_1 {
namespace {

template <class T>
T Read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void Write(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

CellType CodeTypeOf(int64_t categories) {
  const int64_t most = categories + 1;  // the code for an unseen one
  if (most <= std::numeric_limits<uint8_t>::max()) return CellType::kU8;
  if (most <= std::numeric_limits<uint16_t>::max()) return CellType::kU16;
  return CellType::kU32;
}

}  // namespace

int64_t BytesOf(CellType type) {
  switch (type) {
    case CellType::kNone:
      return 0;
    case CellType::kU8:
      return 1;
    case CellType::kU16:
      return 2;
    case CellType::kF32:
    case CellType::kU32:
      return 4;
    case CellType::kF64:
      break;
  }
  return 8;
}

// The widest cells stand first, so that each is aligned where records are.
RecordLayout RecordLayout::Of(const TableDescription& description) {
  const size_t columns = description.columns.size();
  RecordLayout layout{.types = std::vector<CellType>(columns, CellType::kNone),
                      .offsets = std::vector<int64_t>(columns),
                      .categories = std::vector<int64_t>(columns)};
  for (size_t i = 0; i < columns; ++i) {
    const TableColumn& column = description.columns[i];
    if (column.role == TableColumn::Role::kLeftOut) continue;
    layout.categories[i] = static_cast<int64_t>(column.categories.size());
    switch (column.kind) {
      case TableColumn::Kind::kCategory:
        layout.types[i] = CodeTypeOf(layout.categories[i]);
        break;
      case TableColumn::Kind::kDate:
        layout.types[i] = CellType::kF64;
        break;
      case TableColumn::Kind::kNumber:
      case TableColumn::Kind::kYesNo:
        layout.types[i] = column.exact ? CellType::kF64 : CellType::kF32;
        break;
    }
  }
  for (const int64_t bytes : {8, 4, 2, 1}) {
    for (size_t i = 0; i < columns; ++i) {
      if (BytesOf(layout.types[i]) != bytes) continue;
      layout.offsets[i] = layout.bytes;
      layout.bytes += bytes;
    }
  }
  return layout;
}

void RecordLayout::Put(int64_t column, CellValue value, std::byte* record) const {
  const auto i = static_cast<size_t>(column);
  std::byte* const to = record + offsets[i];
  const int64_t code = value.code == kMissingCode  ? categories[i]
                       : value.code == kUnseenCode ? categories[i] + 1
                                                   : value.code;
  switch (types[i]) {
    case CellType::kNone:
      break;
    case CellType::kF32:
      Write(to, static_cast<float>(value.number));
      break;
    case CellType::kF64:
      Write(to, value.number);
      break;
    case CellType::kU8:
      Write(to, static_cast<uint8_t>(code));
      break;
    case CellType::kU16:
      Write(to, static_cast<uint16_t>(code));
      break;
    case CellType::kU32:
      Write(to, static_cast<uint32_t>(code));
      break;
  }
}

CellValue RecordLayout::Get(int64_t column, const std::byte* record) const {
  const auto i = static_cast<size_t>(column);
  const std::byte* const from = record + offsets[i];
  int64_t code = 0;
  switch (types[i]) {
    case CellType::kNone:
      return {};
    case CellType::kF32:
      return {.number = Read<float>(from)};
    case CellType::kF64:
      return {.number = Read<double>(from)};
    case CellType::kU8:
      code = Read<uint8_t>(from);
      break;
    case CellType::kU16:
      code = Read<uint16_t>(from);
      break;
    case CellType::kU32:
      code = Read<uint32_t>(from);
      break;
  }
  if (code >= categories[i]) code = code == categories[i] ? kMissingCode : kUnseenCode;
  return {.number = std::numeric_limits<double>::quiet_NaN(), .code = code};
}

TableRows::TableRows(RecordLayout layout, std::vector<std::byte> records)
    : layout_(std::move(layout)),
      owned_(std::move(records)),
      records_(owned_),
      jumps_(owned_.data()) {
  size_ = layout_.bytes == 0 ? 0 : static_cast<int64_t>(records_.size()) / layout_.bytes;
}

TableRows::TableRows(RecordLayout layout, std::shared_ptr<const MappedFile> file, size_t offset,
                     size_t bytes)
    : layout_(std::move(layout)),
      file_(std::move(file)),
      records_(file_->bytes().subspan(offset, bytes)),
      jumps_(file_->bytes_for_jumps().data() + offset) {
  size_ = layout_.bytes == 0 ? 0 : static_cast<int64_t>(records_.size()) / layout_.bytes;
}

void TableRows::Fetch(std::span<const int64_t> rows) const {
  if (file_ == nullptr) return;
  constexpr int64_t kPart = 64 * 1024;
  const auto bytes = static_cast<int64_t>(records_.size());
  std::vector<bool> wanted(static_cast<size_t>(bytes / kPart) + 1);
  for (const int64_t row : rows) {
    const int64_t begin = row * layout_.bytes;
    wanted[static_cast<size_t>(begin / kPart)] = true;
    wanted[static_cast<size_t>((begin + layout_.bytes - 1) / kPart)] = true;
  }
  for (auto from = wanted.begin(); from != wanted.end();) {
    from = std::find(from, wanted.end(), true);
    const auto to = std::find(from, wanted.end(), false);
    const int64_t begin = (from - wanted.begin()) * kPart;
    const int64_t end = std::min(bytes, (to - wanted.begin()) * kPart);
    if (begin < end)
      MappedFile::WillNeed(
          records_.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    from = to;
  }
}

}  // namespace lockstep
