#include "tools/command/show_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tools/command/column_facts.h"

namespace lockstep::inline v0_1::tools {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Table Parsed(const std::string& text, TableOptions options = {}) {
  options.on_missing = TableOptions::Missing::kMean;
  auto table = ParseTable(text, "patients.csv", options);
  EXPECT_TRUE(table.ok()) << table.status().message();
  return std::move(table).value();
}

// Patients: a column of each kind, and columns that should not be learned from.
std::string Patients() {
  std::string text =
      "age,town,smoker,seen,constant,nearly,code,leak,result,a name far too long to be shown in "
      "full,outcome\n";
  const char* towns[] = {"Oslo", "Bern", "Lima"};
  for (int i = 0; i < 120; ++i) {
    const bool sick = i % 3 == 0;
    text += i == 7 ? "NA," : std::to_string(20 + i * 7 % 60) + ".5,";
    text += std::string(towns[i % 4 == 3 ? 0 : i % 3]) + "," + (i % 5 < 2 ? "yes" : "no") + ",";
    text += "2020-01-" + std::to_string(10 + i % 20) + ",1," + (i == 50 ? "1" : "0") + ",";
    text += std::to_string(1000 + i * 37 % 120) + "," + (sick ? "treated" : "sent home") + ",";
    text += std::to_string(sick ? 100 + i : i % 50) + ".25," + std::to_string(i * i % 17) + ",";
    text += sick ? "sick\n" : "well\n";
  }
  return text;
}

const ColumnFacts& Fact(const Table& table, const std::vector<ColumnFacts>& facts,
                        const std::string& name) {
  for (size_t i = 0; i < facts.size(); ++i) {
    if (table.description.columns[i].name == name) return facts[i];
  }
  ADD_FAILURE() << name;
  return facts[0];
}

TEST(ColumnFactsTest, FiguresOfEachKind) {
  const Table table = Parsed("x,w,b,y\n1.5,a,yes,0.25\n-2.5,b,no,1.5\nNA,b,no,3.5\n4,b,yes,1.5\n");
  const std::vector<ColumnFacts> facts = FactsOf(table);
  const ColumnFacts& x = Fact(table, facts, "x");
  EXPECT_EQ(x.rows, 4);
  EXPECT_EQ(x.missing, 1);
  EXPECT_EQ(x.least, -2.5);
  EXPECT_EQ(x.most, 4.0);
  EXPECT_DOUBLE_EQ(x.mean, 1.0);
  EXPECT_DOUBLE_EQ(x.sd, std::sqrt((0.25 + 12.25 + 9.0) / 3.0));
  EXPECT_TRUE(x.all_differ);
  EXPECT_FALSE(x.all_whole);
  const ColumnFacts& w = Fact(table, facts, "w");
  using Counts = std::vector<std::pair<std::string, int64_t>>;
  EXPECT_EQ(w.counts, (Counts{{"b", 3}, {"a", 1}}));
  EXPECT_DOUBLE_EQ(w.most_common, 0.75);
  EXPECT_EQ(Fact(table, facts, "b").counts, (Counts{{"no", 2}, {"yes", 2}}));
}

TEST(ColumnFactsTest, StrangeColumnsArePointedOut) {
  const Table table = Parsed(Patients());
  const std::vector<ColumnFacts> facts = FactsOf(table);
  EXPECT_THAT(Fact(table, facts, "constant").suspicion, HasSubstr("one value alone"));
  EXPECT_THAT(Fact(table, facts, "nearly").suspicion, HasSubstr("99.2 %"));
  EXPECT_THAT(Fact(table, facts, "code").suspicion, HasSubstr("identifier"));
  EXPECT_THAT(Fact(table, facts, "leak").suspicion, HasSubstr("tells the target"));
  EXPECT_THAT(Fact(table, facts, "result").suspicion, HasSubstr("AUC 1.0000"));
  for (const char* name : {"age", "town", "smoker", "seen", "outcome"})
    EXPECT_THAT(Fact(table, facts, name).suspicion, IsEmpty()) << name;

  std::string text = "a,count,copy,half,y\n";
  for (int i = 0; i < 40; ++i) {
    text += std::to_string(i * 7 % 13) + "," + std::to_string(5 + i) + "," +
            std::to_string(3 * (i * i % 31) + 1) + ".0," + (i % 3 == 0 ? "2" : "") + "," +
            std::to_string(i * i % 31) + ".5\n";
  }
  const Table regression = Parsed(text);
  const std::vector<ColumnFacts> its = FactsOf(regression);
  EXPECT_THAT(Fact(regression, its, "count").suspicion, HasSubstr("counts the rows"));
  EXPECT_THAT(Fact(regression, its, "copy").suspicion, HasSubstr("copy of the target"));
  EXPECT_THAT(Fact(regression, its, "half").suspicion, HasSubstr("one value alone, or none"));
  EXPECT_THAT(Fact(regression, its, "a").suspicion, IsEmpty());
}

TEST(ColumnFactsTest, NumbersThatMayStandForMissingOnesArePointedOut) {
  const auto suspicion = [](const std::string& filler, int range, int every) {
    std::string text = "a,y\n";
    for (int i = 0; i < 60; ++i) {
      text += (i % every == 0 ? filler : std::to_string(i * 7 % range)) +
              (i % 3 == 0 ? ",p\n" : ",q\n");
    }
    const Table table = Parsed(text);
    return Fact(table, FactsOf(table), "a").suspicion;
  };
  EXPECT_THAT(suspicion("-999", 50, 7),
              AllOf(HasSubstr("-999 in 9 rows"), HasSubstr("data.missing_texts = [\"-999\"]")));
  for (const std::string filler : {"-9", "99", "999", "9999999", "-88", "8888"}) {
    EXPECT_THAT(suspicion(filler, 5, 7),
                AllOf(HasSubstr("is " + filler + " in"), HasSubstr("[\"" + filler + "\"]")));
  }
  // It hides nothing else.
  EXPECT_THAT(suspicion("999", 2, 3),
              AllOf(HasSubstr("999 in 20 rows"), HasSubstr("; it tells the target")));
  EXPECT_THAT(suspicion("-999", 50, 60), IsEmpty());  // once
  EXPECT_THAT(suspicion("99", 60, 7), IsEmpty());     // no farther than the others
  EXPECT_THAT(suspicion("-1000", 50, 7), IsEmpty());  // may be an amount
}

TEST(ShowTableTest, APageSaysWhatWasUnderstoodWithinTheWidth) {
  const std::string page = ShowTable(Parsed(Patients()), 80);
  EXPECT_THAT(page, HasSubstr("patients.csv: 120 rows, 11 columns\n"));
  EXPECT_THAT(page, HasSubstr("commas between columns, a header"));
  EXPECT_THAT(page, HasSubstr("outcome, binary: \"well\" 80 (66.7 %), \"sick\" 40 (33.3 %)"));
  EXPECT_THAT(page, AllOf(HasSubstr("age"), HasSubstr("20.5 to 79.5, mean")));
  EXPECT_THAT(page, HasSubstr("3: \"Oslo\" 60, \"Bern\" 30"));
  EXPECT_THAT(page, HasSubstr("\"no\" 72, \"yes\" 48"));
  EXPECT_THAT(page, HasSubstr("2020-01-10 to 2020-01-29"));
  EXPECT_THAT(page, HasSubstr("a name far to..."));
  EXPECT_THAT(page, HasSubstr("look at constant: it has one value alone"));
  for (const int width : {80, 100}) {
    std::istringstream lines(ShowTable(Parsed(Patients()), width));
    for (std::string line; std::getline(lines, line);)
      EXPECT_LE(line.size(), static_cast<size_t>(width)) << line;
  }
}

TEST(ShowTableTest, DialectsNamesAndClassesAsPeopleHaveThem) {
  std::string text;
  for (int i = 0; i < 60; ++i) {
    text += std::to_string(i % 7) + ",5;'K\xC3\xB6ln " + std::to_string(i % 3) + "';" +
            std::to_string(i % 12) + "\n";
  }
  TableOptions options;
  options.task = Task::kClasses;
  const std::string page = ShowTable(Parsed(text, options), 80);
  EXPECT_THAT(page, AllOf(HasSubstr("semicolons between columns, no header"),
                          HasSubstr("texts in ''"), HasSubstr("decimal commas")));
  EXPECT_THAT(page,
              AllOf(HasSubstr("12 classes: "), HasSubstr("\"0\" 5 (8.3 %)"), HasSubstr(", ...")));
  EXPECT_THAT(page, HasSubstr("3: \"K\xC3\xB6ln 0\" 20, "));
  EXPECT_THAT(page, HasSubstr("column 1"));
}

}  // namespace
}  // namespace lockstep::tools
