// The text of a table. The first two bytes choose what the user says of it. What is accepted is
// described, stored, and read again for its own description: with the same cells.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/data/table/table.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

namespace {

class Counting final : public RowVisitor {
 public:
  Counting(const TableText& text, int64_t& rows) : text_(text), rows_(rows) {}
  Status Visit(const TableRow& row) override {
    Require(static_cast<int64_t>(row.cells.size()) == text_.columns());
    Require(row.line > line_);
    line_ = row.line;
    ++rows_;
    return Status::Ok();
  }

 private:
  const TableText& text_;
  int64_t& rows_;
  int64_t line_ = 0;
};

void RequireOneLine(const std::string& message) {
  Require(message.size() < 4000);
  Require(message.find('\n') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  TableOptions options;
  if (data[0] & 1) options.dialect.header = (data[0] & 2) != 0;
  if (data[0] & 4) options.dialect.delimiter = ";, |"[data[0] >> 3 & 3];
  if (data[0] & 32) options.dialect.quote = (data[0] & 64) != 0 ? '\'' : '\0';
  if (data[0] & 128) options.dialect.decimal = ',';
  options.on_missing = static_cast<TableOptions::Missing>(data[1] & 3);
  if (data[1] & 4) options.target = int64_t{0};
  if (data[1] & 8) options.target.reset();
  if (data[1] & 16) options.task = static_cast<Task>((data[1] >> 5) % 3);
  if (data[1] & 128) options.one_hot = 2;

  const Result<TableText> text = TableText::OpenText(bytes, "fuzz.csv", options.dialect);
  if (!text.ok()) {
    RequireOneLine(text.status().message());
    return 0;
  }
  for (const std::string& remark : text->remarks()) RequireOneLine(remark);
  Require(text->names().empty() || static_cast<int64_t>(text->names().size()) == text->columns());
  int64_t rows = 0;
  const Status status = text->ForEachRow([&] { return std::make_unique<Counting>(*text, rows); },
                                         [](RowVisitor&) { return Status::Ok(); });
  RequireOneLine(status.message());

  const Result<Table> table = ParseTable(bytes, "fuzz.csv", options);
  if (!table.ok()) {
    RequireOneLine(table.status().message());
    return 0;
  }
  Require(table->rows->size() > 0);
  for (const std::string& remark : table->remarks) RequireOneLine(remark);
  const Result<TableDescription> again = TableDescriptionFrom(ToJson(table->description));
  Require(again.ok());
  Require(*again == table->description);
  const Result<Table> same = ParseTableFor(
      bytes, "fuzz.csv", table->description,
      {.target = true, .drop = options.on_missing == TableOptions::Missing::kDropRow});
  if (!same.ok()) RequireOneLine(same.status().message());
  return 0;
}
