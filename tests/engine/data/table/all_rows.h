// A table's text, all at once.
#ifndef LOCKSTEP_TESTS_ENGINE_DATA_TABLE_ALL_ROWS_H_
#define LOCKSTEP_TESTS_ENGINE_DATA_TABLE_ALL_ROWS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/table/table_text.h"

namespace lockstep::inline v0_1 {

class Collector final : public RowVisitor {
 public:
  Status Visit(const TableRow& row) override {
    rows.emplace_back(row.cells.begin(), row.cells.end());
    lines.push_back(row.line);
    return Status::Ok();
  }
  std::vector<std::vector<std::string>> rows;
  std::vector<int64_t> lines;
};

inline Status Collect(const TableText& table, int threads, Collector& all) {
  return table.ForEachRow([] { return std::make_unique<Collector>(); },
                          [&](RowVisitor& visitor) {
                            auto& part = static_cast<Collector&>(visitor);
                            all.rows.insert(all.rows.end(), part.rows.begin(), part.rows.end());
                            all.lines.insert(all.lines.end(), part.lines.begin(), part.lines.end());
                            return Status::Ok();
                          },
                          threads);
}

inline TableText Opened(const std::string& text, const DialectOptions& options = {}) {
  // Whoever opens a text borrows it.
  static std::vector<std::unique_ptr<const std::string>> texts;
  texts.push_back(std::make_unique<const std::string>(text));
  auto table = TableText::OpenText(*texts.back(), "t.csv", options);
  EXPECT_TRUE(table.ok()) << table.status().message() << "\n" << text.substr(0, 200);
  return std::move(table).value();
}

inline std::vector<std::vector<std::string>> AllRows(const TableText& table) {
  Collector all;
  const Status status = Collect(table, 1, all);
  EXPECT_TRUE(status.ok()) << status.message();
  return all.rows;
}

inline std::vector<int64_t> AllLines(const TableText& table) {
  Collector all;
  const Status status = Collect(table, 1, all);
  EXPECT_TRUE(status.ok()) << status.message();
  return all.lines;
}

// What goes wrong while `text` is opened or read.
inline std::string ErrorOf(const std::string& text, const DialectOptions& options = {}) {
  const auto table = TableText::OpenText(text, "t.csv", options);
  if (!table.ok()) return table.status().message();
  Collector all;
  const Status status = Collect(*table, 1, all);
  return status.ok() ? "(no error)" : status.message();
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_DATA_TABLE_ALL_ROWS_H_
