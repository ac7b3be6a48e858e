// `lockstep predict --explain`: what each column contributes, for people and as CSV; and the
// intervals that the loss of quantiles gives.
#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/tools/patients.h"
#include "tests/tools/program.h"

namespace lockstep::inline v0_1::tools {
namespace {

using ::testing::HasSubstr;

using Row = std::map<std::string, std::string>;

// Of CSV without quotes.
std::vector<Row> Parsed(const std::string& text) {
  std::vector<Row> rows;
  std::vector<std::string> names;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> cells;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
    if (names.empty()) {
      names = cells;
      continue;
    }
    Row row;
    for (size_t i = 0; i < cells.size(); ++i) row[names[i]] = cells[i];
    rows.push_back(row);
  }
  return rows;
}

class ExplainTest : public Program {
 protected:
  void Train(const std::string& target, const std::string& more = "", int towns = 4) {
    Write("patients.csv", Patients({.rows = 240, .target = target, .towns = towns}));
    Write("new.csv",
          Patients({.rows = 23, .target = "", .towns = towns, .strange = true, .seed = 2}));
    const Ran ran = Run("train " LOCKSTEP_SOURCE_DIR
                        "/models/recipes/table.toml data.path=patients.csv "
                        "data.missing=mean "
                        "train.epochs=5 model.hidden=[16] output.folder=run output.report=false " +
                        more);
    ASSERT_EQ(ran.code, 0) << ran.out;
  }
  std::vector<Row> Rows(const std::string& arguments) {
    const Ran ran = Run("predict run new.csv " + arguments + " -o out.csv");
    EXPECT_EQ(ran.code, 0) << ran.out;
    return Parsed(Read("out.csv"));
  }
};

TEST_F(ExplainTest, ContributionsAddUpToWhatIsTold) {
  for (const std::string target : {"ill", "stage", "cost"}) {
    Train(target);
    const std::vector<Row> plain = Rows(""), why = Rows("--explain all");
    ASSERT_EQ(plain.size(), 23u);
    ASSERT_EQ(why.size(), 23u);
    for (size_t i = 0; i < why.size(); ++i) {
      double sum = 0.0;
      int columns = 0;
      for (const auto& [name, cell] : why[i]) {
        if (!name.starts_with("by ")) continue;
        sum += std::stod(cell);
        ++columns;
      }
      EXPECT_EQ(columns, 5);
      const double told = std::stod(why[i].at("told")), usual = std::stod(why[i].at("usual"));
      EXPECT_NEAR(sum, told - usual, 1e-9 * (1.0 + std::abs(told)));
      for (const auto& [name, cell] : plain[i]) EXPECT_EQ(why[i].at(name), cell) << name;
      if (target == "ill") {
        EXPECT_NEAR(1.0 / (1.0 + std::exp(-told)), std::stod(plain[i].at("probability of yes")),
                    1e-6);
      } else if (target == "cost") {
        EXPECT_NEAR(told, std::stod(plain[i].at("value")), 1e-6 * std::abs(told));
      }
    }
    fs::remove_all(folder_ / "run");
  }
}

TEST_F(ExplainTest, OneRowIsATableForPeople) {
  Train("ill");
  const Ran ran = Run("predict run new.csv --explain 2");
  EXPECT_EQ(ran.code, 0) << ran.out;
  for (const char* part : {"row 2: class ", "probability of yes", "log-odds of yes", "as usual",
                           "column", "contribution", "age", "town", "smoker", "seen", "2020-"})
    EXPECT_THAT(ran.out, HasSubstr(part));
  EXPECT_EQ(Run("predict run new.csv --explain 2").out, ran.out);
  EXPECT_EQ(Parsed((Rows("--explain 2"), Read("out.csv"))).size(), 1u);
}

TEST_F(ExplainTest, SaysWhatItCannotExplain) {
  Train("ill");
  ExpectFails("predict run patients.csv --explain 241", "from 1 to 240, or all; not \"241\"");
  ExpectFails("predict run patients.csv --explain none", "not \"none\"");
  ExpectFails("predict run patients.csv other.csv --explain 1", "one table at a time");
  ExpectFails("predict run patients.csv --explain 1 --top 2", "without --top");
  ASSERT_EQ(Run("train " + kClinical + " data.size=300 train.epochs=1 output.folder=other").code,
            0);
  ASSERT_EQ(Run("data clinical --size 3 -o c.csv").code, 0);
  ExpectFails("predict other c.csv --explain 1", "--explain is for models of a table");
}

TEST_F(ExplainTest, QuantilesGiveAValueAndItsInterval) {
  Train("cost", "loss.kind=quantile train.epochs=60");
  const std::vector<Row> rows = Rows("");
  ASSERT_EQ(rows.size(), 23u);
  for (const Row& row : rows) {
    const double low = std::stod(row.at("low")), high = std::stod(row.at("high"));
    const double value = std::stod(row.at("value"));
    EXPECT_LE(low, value);
    EXPECT_LE(value, high);
    EXPECT_GT(value, 1000.0);  // in its own unit, which is thousands
  }
  const Ran eval = Run("eval run");
  EXPECT_EQ(eval.code, 0) << eval.out;
  EXPECT_THAT(eval.out, HasSubstr("% within the interval"));
  const double coverage = Summary("run")["test"]["coverage"];
  EXPECT_GT(coverage, 0.5);
  EXPECT_LE(coverage, 1.0);
  EXPECT_THAT(Run("predict run new.csv --explain 1").out, HasSubstr("low"));

  ExpectFails("train " LOCKSTEP_SOURCE_DIR
              "/models/recipes/table.toml data.path=patients.csv "
              "data.missing=mean loss.kind=quantile loss.quantiles=[0.1,0.9] output.folder=no",
              "for instance [0.05, 0.5, 0.95]");
  EXPECT_FALSE(fs::exists(folder_ / "no"));
}

}  // namespace
}  // namespace lockstep::tools
