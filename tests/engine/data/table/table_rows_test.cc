#include "engine/data/table/table_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/io/mapped_file.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using Kind = TableColumn::Kind;
using Role = TableColumn::Role;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

TableColumn Category(size_t count) {
  return {.kind = Kind::kCategory, .categories = std::vector<std::string>(count, "c")};
}

TEST(TableRows, WidestCellsStandFirst) {
  const RecordLayout layout = RecordLayout::Of({.columns = {Category(3),
                                                            {},
                                                            {.exact = true},
                                                            {.role = Role::kLeftOut},
                                                            {.kind = Kind::kDate},
                                                            Category(300),
                                                            {.kind = Kind::kYesNo},
                                                            Category(70000),
                                                            {.role = Role::kTarget}}});
  EXPECT_THAT(layout.types, ElementsAre(CellType::kU8, CellType::kF32, CellType::kF64,
                                        CellType::kNone, CellType::kF64, CellType::kU16,
                                        CellType::kF32, CellType::kU32, CellType::kF32));
  EXPECT_EQ(layout.bytes, 1 + 4 + 8 + 8 + 2 + 4 + 4 + 4);
  std::vector<bool> taken(static_cast<size_t>(layout.bytes));
  for (size_t i = 0; i < layout.types.size(); ++i) {
    const int64_t bytes = BytesOf(layout.types[i]);
    if (bytes == 0) continue;
    EXPECT_EQ(layout.offsets[i] % bytes, 0) << "aligned";
    for (int64_t b = 0; b < bytes; ++b) {
      const auto place = static_cast<size_t>(layout.offsets[i] + b);
      EXPECT_FALSE(taken[place]) << "a byte of two cells";
      taken[place] = true;
    }
  }
}

// Each number of categories has room for the code of a missing and of an unseen one.
TEST(TableRows, CodesSurviveAtTheLimitsOfTheirTypes) {
  struct Case {
    size_t count;
    CellType type;
  };
  for (const Case& one : {Case{1, CellType::kU8},
                          {253, CellType::kU8},
                          {254, CellType::kU8},
                          {255, CellType::kU16},
                          {256, CellType::kU16},
                          {257, CellType::kU16},
                          {65533, CellType::kU16},
                          {65534, CellType::kU16},
                          {65535, CellType::kU32},
                          {65536, CellType::kU32},
                          {65537, CellType::kU32}}) {
    SCOPED_TRACE(one.count);
    const RecordLayout layout = RecordLayout::Of({.columns = {Category(one.count)}});
    EXPECT_EQ(layout.types[0], one.type);
    std::vector<std::byte> record(static_cast<size_t>(layout.bytes));
    const auto last = static_cast<int64_t>(one.count) - 1;
    for (const int64_t code : {int64_t{0}, last / 2, last, kMissingCode, kUnseenCode}) {
      layout.Put(0, {.code = code}, record.data());
      EXPECT_EQ(layout.Get(0, record.data()).code, code);
      EXPECT_TRUE(std::isnan(layout.Get(0, record.data()).number));
    }
  }
}

TEST(TableRows, NumbersSurviveAsTheirTypesHoldThem) {
  const RecordLayout layout = RecordLayout::Of({.columns = {{}, {.exact = true}}});
  std::vector<std::byte> record(static_cast<size_t>(layout.bytes));
  for (const double value : {0.0, -1.5, 1700000001.0, 1e-40, 3.4e38, kNone}) {
    layout.Put(0, {.number = value}, record.data());
    layout.Put(1, {.number = value}, record.data());
    const double single = layout.Get(0, record.data()).number;
    const double exact = layout.Get(1, record.data()).number;
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(single) && std::isnan(exact));
    } else {
      EXPECT_EQ(single, static_cast<double>(static_cast<float>(value)));
      EXPECT_EQ(exact, value);
    }
  }
}

TEST(TableRows, RowsAreRecordsOneBehindTheOther) {
  const RecordLayout layout = RecordLayout::Of({.columns = {Category(5), {.exact = true}, {}}});
  Random random(2, StreamOf("rows"));
  std::vector<std::byte> records;
  std::vector<int64_t> codes;
  std::vector<double> numbers;
  for (int row = 0; row < 31; ++row) {
    records.resize(records.size() + static_cast<size_t>(layout.bytes));
    std::byte* const record = records.data() + static_cast<int64_t>(row) * layout.bytes;
    codes.push_back(static_cast<int64_t>(random.Below(5)));
    numbers.push_back(static_cast<double>(random.Below(1000000)) / 3.0);
    layout.Put(0, {.code = codes.back()}, record);
    layout.Put(1, {.number = numbers.back()}, record);
    layout.Put(2, {.number = row / 2.0}, record);
  }
  const TemporaryFolder folder;
  std::ofstream(folder / "rows") << "head"
                                 << std::string(reinterpret_cast<const char*>(records.data()),
                                                records.size());
  const TableRows owned(layout, records),
      mapped(layout, MappedFile::Open(folder / "rows").value(), 4, records.size());
  for (const TableRows* rows : {&owned, &mapped}) {
    ASSERT_EQ(rows->size(), 31);
    for (int64_t row = 0; row < 31; ++row) {
      EXPECT_EQ(rows->at(row, 0).code, codes[static_cast<size_t>(row)]);
      EXPECT_EQ(rows->at(row, 1).number, numbers[static_cast<size_t>(row)]);
      EXPECT_EQ(rows->at(row, 2).number, static_cast<double>(row) / 2.0);
    }
  }
}

// Where rows lie in a file the system is asked for them, up to the last byte and no further.
TEST(TableRows, FetchingChangesNothing) {
  const TemporaryFolder folder;
  const RecordLayout layout = RecordLayout::Of({.columns = {{}, {}, Category(3)}});
  constexpr int64_t kRows = 40000;
  std::vector<std::byte> records(static_cast<size_t>(kRows * layout.bytes));
  for (int64_t row = 0; row < kRows; ++row)
    layout.Put(0, {.number = static_cast<double>(row)}, records.data() + row * layout.bytes);
  std::ofstream(folder / "rows") << std::string(reinterpret_cast<const char*>(records.data()),
                                                records.size());
  const TableRows mapped(layout, MappedFile::Open(folder / "rows", /*jumps=*/true).value(), 0,
                         records.size()),
      held(layout, records);
  for (const std::vector<int64_t>& rows :
       {std::vector<int64_t>{}, {0}, {kRows - 1}, {kRows - 1, 0, 17, 20000}}) {
    mapped.Fetch(rows);
    held.Fetch(rows);
    for (const int64_t row : rows) {
      EXPECT_EQ(mapped.at(row, 0).number, held.at(row, 0).number);
      EXPECT_EQ(layout.Get(0, mapped.record_of_jump(row)).number, static_cast<double>(row));
      EXPECT_EQ(held.record_of_jump(row), held.record(row));
    }
  }
}

}  // namespace
}  // namespace lockstep
