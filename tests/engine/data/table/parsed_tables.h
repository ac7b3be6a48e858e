// Tables from text, and what became of them.
#ifndef LOCKSTEP_TESTS_ENGINE_DATA_TABLE_PARSED_TABLES_H_
#define LOCKSTEP_TESTS_ENGINE_DATA_TABLE_PARSED_TABLES_H_

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/data/table/table.h"

namespace lockstep::inline v0_1 {

inline Table Parsed(std::string_view text, const TableOptions& options = {}) {
  Result<Table> table = ParseTable(text, "t.csv", options);
  if (!table.ok()) throw std::runtime_error(table.status().message());  // fails the test
  return std::move(table).value();
}

inline std::string ErrorOf(std::string_view text, const TableOptions& options = {}) {
  const Result<Table> table = ParseTable(text, "t.csv", options);
  return table.ok() ? "(no error)" : table.status().message();
}

inline std::string ErrorFor(std::string_view text, const TableDescription& description,
                            const TableNeeds& needs = {}) {
  const Result<Table> table = ParseTableFor(text, "o.csv", description, needs);
  return table.ok() ? "(no error)" : table.status().message();
}

// All remarks, a line each.
inline std::string RemarksOf(const Table& table) {
  std::string text;
  for (const std::string& remark : table.remarks) text += remark + "\n";
  return text;
}

inline std::vector<int64_t> AllRows(const Table& table) { return AllIndices(table.rows->size()); }

// The description with the scales of the rows `train`.
inline TableDescription Scaled(const Table& table, const std::vector<int64_t>& train,
                               bool standardize = true) {
  TableDescription description = table.description;
  const Status status = SetScales(table, train, standardize, description);
  EXPECT_TRUE(status.ok()) << status.message();
  return description;
}

struct Samples {
  DatasetInfo info;
  std::vector<float> x;  // (rows, features)
  std::vector<float> targets;
  std::vector<int32_t> classes;
  std::vector<float> row(int64_t i) const {
    const auto width = static_cast<std::ptrdiff_t>(info.x_shape.size());
    return {x.begin() + i * width, x.begin() + (i + 1) * width};
  }
};
inline Samples SamplesOf(const Table& table, const TableDescription& description) {
  const auto dataset =
      TableSamples(table, std::make_shared<const TableDescription>(description)).value();
  Samples samples{.info = dataset->info(), .x = {}, .targets = {}, .classes = {}};
  const std::vector<int64_t> all = AllIndices(dataset->size());
  samples.x.resize(all.size() * static_cast<size_t>(samples.info.x_shape.size()));
  const bool classes = samples.info.task == Task::kClasses;
  samples.classes.resize(classes ? all.size() : 0);
  samples.targets.resize(classes ? 0 : all.size());
  const Shape shape = dataset->TargetShape(dataset->size());
  const Tensor target =
      classes ? Tensor(samples.classes.data(), shape) : Tensor(samples.targets.data(), shape);
  const Status status =
      dataset->Gather(all, Tensor(samples.x.data(), dataset->XShape(dataset->size())), target);
  EXPECT_TRUE(status.ok()) << status.message();
  return samples;
}
// As they stand: not standardised.
inline Samples Plain(const Table& table) {
  return SamplesOf(table, Scaled(table, AllRows(table), /*standardize=*/false));
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_DATA_TABLE_PARSED_TABLES_H_
