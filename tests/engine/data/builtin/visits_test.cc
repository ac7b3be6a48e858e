#include "engine/data/builtin/visits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "engine/data/table/table.h"

namespace lockstep::inline v0_1 {
namespace {

std::string TextOf(const VisitsData& data) {
  std::string text = data.header + "\n";
  for (const std::string& row : data.rows) text += row + "\n";
  return text;
}

TEST(VisitsTest, IsAFunctionOfSeedAndRow) {
  const VisitsData few = MakeVisits({.seed = 3, .size = 50}).value();
  const VisitsData many = MakeVisits({.seed = 3, .size = 80}).value();
  ASSERT_EQ(few.rows.size(), 50u);
  EXPECT_TRUE(std::equal(few.rows.begin(), few.rows.end(), many.rows.begin()));
  EXPECT_NE(few.rows, MakeVisits({.seed = 4, .size = 50}).value().rows);
  for (const int64_t size : {int64_t{0}, int64_t{-1}, int64_t{1} << 40})
    EXPECT_FALSE(MakeVisits({.size = size}).ok()) << size;
}

TEST(VisitsTest, HoldsWhatHospitalsHave) {
  const VisitsData data = MakeVisits({.size = 4000}).value();
  TableOptions options;
  options.group = "patient";
  options.on_missing = TableOptions::Missing::kMean;
  const Table table = ParseTable(TextOf(data), "visits.csv", options).value();
  std::map<std::string, TableColumn> columns;
  for (const TableColumn& column : table.description.columns) columns[column.name] = column;
  EXPECT_EQ(columns["visit"].kind, TableColumn::Kind::kDate);
  for (const char* name : {"site", "sex", "smoker", "ward", "medication"})
    EXPECT_EQ(columns[name].kind, TableColumn::Kind::kCategory) << name;
  for (const char* name : {"bmi", "systolic", "crp", "hba1c"}) {
    EXPECT_EQ(columns[name].kind, TableColumn::Kind::kNumber) << name;
    EXPECT_TRUE(columns[name].has_missing) << name;
  }
  EXPECT_EQ(table.description.task, Task::kBinary);
  const RowGroups patients = GroupsOf(table, 0).value();
  EXPECT_LT(patients.names.size(), 2000u);
  EXPECT_GT(patients.names.size(), 1000u);
}

TEST(VisitsTest, OutcomesComeAsOftenAsTheirProbabilitiesSay) {
  const VisitsData data = MakeVisits({.size = 20000}).value();
  double expected = 0.0, variance = 0.0, drawn = 0.0;
  for (size_t i = 0; i < data.rows.size(); ++i) {
    const double p = data.probability[i];
    expected += p;
    variance += p * (1.0 - p);
    drawn += data.rows[i].ends_with(",yes") ? 1.0 : 0.0;
  }
  EXPECT_TRUE((drawn - expected) * (drawn - expected) <= 25.0 * variance);  // five deviations
}

}  // namespace
}  // namespace lockstep
