#include "engine/data/table/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/table/row_scanner.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/data/table/parsed_tables.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Missing = TableOptions::Missing;

TEST(TableTest, ReadsHeaderFeaturesAndSortedLabels) {
  const Samples samples =
      Plain(Parsed("age,weight,kind\n30,70.5,dog\n-4e1,+.25,cat\n5.,1E-3,dog\n7,1,ape\n",
                   {.task = Task::kClasses}));
  EXPECT_THAT(samples.x, ElementsAre(30, 70.5f, -40, 0.25f, 5, 0.001f, 7, 1));
  EXPECT_THAT(samples.classes, ElementsAre(2, 1, 2, 0));
  EXPECT_THAT(samples.info.class_names, ElementsAre("ape", "cat", "dog"));
  EXPECT_THAT(samples.info.feature_names, ElementsAre("age", "weight"));
  EXPECT_EQ(samples.info.classes, 3);
}

TEST(TableTest, LineEndsBlankLinesMarksBlanksAndQuotesDoNotMatter) {
  const std::vector<float> want = {1, 2, 3, 4};
  for (const std::string text : {
           "a,b,y\n1,2,p\n3,4,q\n",
           "a,b,y\n1,2,p\n3,4,q",
           "a,b,y\r\n1,2,p\r\n3,4,q\r\n",
           "a,b,y\r1,2,p\r3,4,q\r",
           "\xEF\xBB\xBF"
           "a,b,y\n1,2,p\n3,4,q\n",
           "\n\na,b,y\n\n1,2,p\n  \t\n3,4,q\n\n\n",
           " a , b , y \n 1 ,2\t,  p\n3, 4,q  \n",
           "\"a\",\"b\",\"y\"\n\"1\",2,\"p\"\n3, \"4\" ,q\n",
       }) {
    SCOPED_TRACE(testing::PrintToString(text));
    const Samples samples = Plain(Parsed(text));
    EXPECT_EQ(samples.x, want);
    EXPECT_THAT(samples.info.feature_names, ElementsAre("a", "b"));
    EXPECT_THAT(samples.info.class_names, ElementsAre("p", "q"));
  }
}

TEST(TableTest, QuotedCellsMayHoldDelimitersQuotesAndLineEnds) {
  const Samples samples = Plain(Parsed("\"a,\"\"b\"\"\nc\",y\n1,\"p,\"\"\"\n2,\"q\r\nr\"\n"));
  EXPECT_THAT(samples.info.feature_names, ElementsAre("a,\"b\" c"));
  EXPECT_THAT(samples.info.class_names, ElementsAre("p,\"", "q\nr"));
}

TEST(TableTest, OtherDelimitersTabsAmongThem) {
  EXPECT_THAT(Plain(Parsed("1;2;a\n3;4;b\n1;1;a\n")).x, ElementsAre(1, 2, 3, 4, 1, 1));
  EXPECT_THAT(Plain(Parsed("1 2 a\n3 4  b\n1 1 a\n", {.dialect = {.delimiter = ' '}})).x,
              ElementsAre(1, 2, 3, 4, 1, 1));
  // An empty cell between two tabs stays a cell.
  const Table table = Parsed("1\t\ta\n3\t4\tb\n1\t4\ta\n", {.on_missing = Missing::kMean});
  EXPECT_TRUE(std::isnan(table.rows->at(0, 1).number));
  EXPECT_EQ(table.rows->at(1, 1).number, 4);
}

TEST(TableTest, AHeaderIsFoundOrDenied) {
  const auto rows = [](const std::string& text, const TableOptions& options = {}) {
    return Parsed(text, options).rows->size();
  };
  EXPECT_EQ(rows("1,2,a\n3,4,b\n1,1,a\n"), 3);
  EXPECT_EQ(rows("u,v,a\n3,4,b\n5,6,c\n"), 2);
  EXPECT_EQ(rows("0,1,2\n3,4,b\n5,6,c\n", {.dialect = {.header = true}}), 2);
  EXPECT_THAT(ErrorOf("u,2,a\n3,4,b\n5,6,c\n", {.dialect = {.header = false}}),
              AllOf(HasSubstr("\"u\" is not a number"), HasSubstr("line 1, column 1")));
  // A label or an ignored identifier that is a text says nothing about the row.
  EXPECT_EQ(rows("id7,1,a\nid8,2,b\nid9,1,a\n", {.ignored = {int64_t{0}}}), 3);
  EXPECT_EQ(rows("?,5,a\n2,6,b\n2,5,a\n", {.on_missing = Missing::kMean}), 3);
}

TEST(TableTest, ColumnsAreFoundByNameAndByNumberFromBothEnds) {
  const std::string text = "id,y,u,v\n7,p,1,2\n8,q,3,4\n";
  for (const CsvColumn& label : {CsvColumn("y"), CsvColumn(int64_t{1}), CsvColumn(int64_t{-3})}) {
    for (const CsvColumn& id : {CsvColumn("id"), CsvColumn(int64_t{0}), CsvColumn(int64_t{-4})}) {
      const Samples samples = Plain(Parsed(text, {.target = label, .ignored = {id}}));
      EXPECT_THAT(samples.x, ElementsAre(1, 2, 3, 4));
      EXPECT_THAT(samples.targets, ElementsAre(0, 1));
    }
  }
  // A place from the end is no name, whatever columns are called.
  const Table lags = Parsed("-2,-1,0,y\n1,2,3,p\n2,3,5,q\n", {.dialect = {.header = true}});
  EXPECT_EQ(lags.description.columns[static_cast<size_t>(lags.description.target())].name, "y");
  EXPECT_THAT(ErrorOf(text, {.target = "z"}),
              AllOf(HasSubstr("no label column \"z\""), HasSubstr("\"id\", \"y\", \"u\", \"v\"")));
  EXPECT_THAT(ErrorOf(text, {.target = int64_t{4}}), HasSubstr("label column 4 does not exist"));
  EXPECT_THAT(ErrorOf(text, {.target = int64_t{-5}}), HasSubstr("label column -5 does not exist"));
  EXPECT_THAT(ErrorOf(text, {.target = int64_t{INT64_MIN}}), HasSubstr("does not exist"));
  EXPECT_THAT(ErrorOf(text, {.target = "y", .ignored = {"y"}}), HasSubstr("at once"));
  EXPECT_THAT(ErrorOf("1,2,p\n3,4,q\n", {.dialect = {.header = false}, .target = "y"}),
              HasSubstr("has no header"));
  EXPECT_THAT(ErrorOf("1,2\n3,4\n", {.dialect = {.delimiter = ';'}}),
              AllOf(HasSubstr("no column is left"), HasSubstr("data.delimiter")));
}

TEST(TableTest, MissingNumbersAreRefusedFilledToldOrDropped) {
  const std::string text = "u,v,y\n1,10,p\nNA,20,q\n3,?,p\n5,40,q\n";
  EXPECT_THAT(ErrorOf(text), AllOf(HasSubstr("t.csv: line 3, column 1 (\"u\"): \"NA\""),
                                   HasSubstr("missing value"), HasSubstr("data.missing")));

  const Table dropped = Parsed(text, {.on_missing = Missing::kDropRow});
  EXPECT_THAT(Plain(dropped).x, ElementsAre(1, 10, 5, 40));
  EXPECT_EQ(dropped.dropped_rows, 2);
  EXPECT_THAT(RemarksOf(dropped), HasSubstr("2 rows with missing values"));

  const Table filled = Parsed(text, {.on_missing = Missing::kMean});
  EXPECT_TRUE(std::isnan(filled.rows->at(1, 0).number));
  const Samples plain = SamplesOf(filled, Scaled(filled, {0, 1}, false));
  EXPECT_THAT(plain.x, ElementsAre(1, 10, 1, 20, 3, 15, 5, 40));

  const Table told = Parsed(text, {.on_missing = Missing::kIndicate});
  EXPECT_THAT(SamplesOf(told, Scaled(told, {0, 1}, false)).x,
              ElementsAre(1, 0, 10, 0, 1, 1, 20, 0, 3, 0, 15, 1, 5, 0, 40, 0));
}

TEST(TableTest, AMissingTargetIsAnErrorUnlessRowsAreDropped) {
  const std::string text = "u,y\n1,p\n2,\n5,q\n";
  EXPECT_THAT(ErrorOf(text, {.on_missing = Missing::kMean}),
              AllOf(HasSubstr("line 3, column 2 (\"y\")"), HasSubstr("missing target"),
                    HasSubstr("data.missing = \"drop\"")));
  EXPECT_EQ(Parsed(text, {.on_missing = Missing::kDropRow}).rows->size(), 2);
}

TEST(TableTest, TheUserSaysWhatIsMissingBesideTheUsual) {
  const Table table =
      Parsed("1,a\n-999,b\nNA,b\n1,a\n", {.more_missing = {"-999"}, .on_missing = Missing::kMean});
  EXPECT_TRUE(std::isnan(table.rows->at(1, 0).number));
  EXPECT_TRUE(std::isnan(table.rows->at(2, 0).number));
}

TEST(TableTest, NumericLabelsAreSortedAsNumbers) {
  const Samples samples = Plain(Parsed("1,10\n2,9\n5,-1\n4,10\n", {.task = Task::kClasses}));
  EXPECT_THAT(samples.info.class_names, ElementsAre("-1", "9", "10"));
  EXPECT_THAT(samples.classes, ElementsAre(2, 1, 0, 2));
}

TEST(TableTest, ABinaryTaskHasANamedPositiveClass) {
  const std::string text = "1,M\n2,B\n5,M\n";
  const Samples last = Plain(Parsed(text, {.task = Task::kBinary}));
  EXPECT_THAT(last.info.class_names, ElementsAre("B", "M"));
  EXPECT_THAT(last.targets, ElementsAre(1, 0, 1));
  EXPECT_EQ(last.info.target_shape, Shape{1});
  EXPECT_EQ(last.info.classes, 0);
  const Samples named = Plain(Parsed(text, {.task = Task::kBinary, .positive = "B"}));
  EXPECT_THAT(named.targets, ElementsAre(0, 1, 0));
  EXPECT_THAT(named.info.class_names, ElementsAre("M", "B"));
  EXPECT_THAT(ErrorOf(text, {.task = Task::kBinary, .positive = "X"}), HasSubstr("\"X\""));
  EXPECT_THAT(ErrorOf("1,a\n2,b\n5,c\n", {.task = Task::kBinary}), HasSubstr("the file has 3"));
  EXPECT_THAT(ErrorOf(text, {.task = Task::kClasses, .positive = "M"}),
              HasSubstr("binary tasks only"));
}

TEST(TableTest, ARegressionTellsItsTargetInItsOwnUnit) {
  const Table table = Parsed("1,2.5\n2,-1e3\n5,7\n", {.task = Task::kRegression});
  const Samples samples = Plain(table);
  const std::vector<double> want = {2.5, -1000, 7};
  for (size_t i = 0; i < want.size(); ++i) {
    const double own = samples.targets[i] * samples.info.target_scale + samples.info.target_offset;
    // One rounding to float of a number of the size of one deviation.
    EXPECT_TRUE(std::abs(own - want[i]) <= 0x1p-23 * 1000) << own;
  }
  EXPECT_THAT(ErrorOf("1,2\n2,x\n1,4\n", {.task = Task::kRegression}),
              HasSubstr("line 2, column 2: \"x\" is not a number"));
}

TEST(TableTest, NumbersAreRoundedOnceAndRangesAreKept) {
  const Samples samples =
      Plain(Parsed("3.4028234663852886e38,a\n1e-400,b\n0.1,a\n-0,a\n1e-46,a\n0e999,a\n"
                   "0.00000000000000000000000000000000000000000001e-999999999999,b\n",
                   {.types = {{int64_t{0}, "number"}}}));
  EXPECT_THAT(samples.x, ElementsAre(3.4028234663852886e38f, 0.0f, 0.1f, 0.0f, 0.0f, 0.0f, 0.0f));
  for (const std::string cell : {"3.5e38", "1e999", "-1e99999999999999999999",
                                 "10000000000000000000000000000000000000000e0", "0.001e400"}) {
    EXPECT_THAT(ErrorOf("1,a\n2,b\n" + cell + ",b\n"), HasSubstr("too large")) << cell;
  }
  for (const std::string cell : {"inf", "-infinity", "+inf"}) {
    EXPECT_THAT(ErrorOf("1,a\n2,b\n" + cell + ",b\n"),
                AllOf(HasSubstr("not a finite number"), HasSubstr("data.missing_texts")))
        << cell;
  }
  for (const std::string cell : {"1 2", "0x10", "1e", "--1", "+-1", "++1", "1.2.3", "e5", "+", "-",
                                 "12abc", "1e+", "1_000"}) {
    EXPECT_THAT(
        ErrorOf("1,a\n2,a\n3,b\n" + cell + ",b\n"),
        AllOf(HasSubstr("line 4"), HasSubstr("is not a number"), HasSubstr("data.missing_texts")))
        << cell;
  }
}

TEST(TableTest, ErrorsNamePlaceAndText) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("t.csv: the file is empty"));
  EXPECT_THAT(ErrorOf("\n \n\r\n"), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("\xEF\xBB\xBF"), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("a,b,y\n"), HasSubstr("only a header"));
  EXPECT_THAT(ErrorOf("1,2,a\n3,b\n1,2,a\n"), HasSubstr("line 2: 2 cells, but the table has 3"));
  EXPECT_THAT(ErrorOf("1,2,a\n\n3,4,5,b\n1,2,b\n3,4,a\n"), HasSubstr("line 3: 4 cells"));
  EXPECT_THAT(ErrorOf("1,2,a\n3,4,a\n"), HasSubstr("the same label \"a\""));
  EXPECT_THAT(ErrorOf("\"x\ny\",b\n1,p\n2,p\nz,q\n"),
              HasSubstr("line 5, column 1 (\"x y\"): \"z\""));
  EXPECT_THAT(ErrorOf("1,a\n\"2,b\n"), HasSubstr("line 2, column 1: a quote opens"));
  EXPECT_THAT(ErrorOf("1,a\n\"2\"x,b\n"), HasSubstr("line 2, column 1: text follows"));
  EXPECT_THAT(ErrorOf(std::string("1,a\n2\0,b\n", 9)), HasSubstr("line 2: a NUL byte"));
  EXPECT_THAT(ErrorOf("1,a\n", {.dialect = {.delimiter = '"'}}), HasSubstr("data.delimiter"));
  EXPECT_THAT(ErrorOf("u,y\nNA,a\nNA,b\n",
                      {.types = {{int64_t{0}, "number"}}, .on_missing = Missing::kDropRow}),
              HasSubstr("all 2 rows have missing values"));
  // No message has a line end of its own or runs on.
  const std::string long_cell(300, 'x');
  const std::string message = ErrorOf("1,a\n2,b\n\"" + long_cell + "\n\",b\n");
  EXPECT_LT(message.size(), 400u);
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(TableTest, LimitsHold) {
  const std::string huge(RowScanner::kLongestCell + 1, '1');
  EXPECT_THAT(ErrorOf("1,a\n" + huge + ",b\n"), HasSubstr("longer than"));
  EXPECT_THAT(ErrorOf("1,a\n\"" + huge + "\",b\n"), HasSubstr("is a quote missing?"));
  EXPECT_THAT(ErrorOf(std::string(RowScanner::kMostCells + 10, ',')), HasSubstr("more than"));
  std::string labels;
  for (int i = 0; i <= 65536; ++i)
    labels += std::to_string(i % 7) + ",label" + std::to_string(i) + "\n";
  EXPECT_THAT(ErrorOf(labels),
              AllOf(HasSubstr("too many different values to be classes"), HasSubstr("data.label")));
}

TEST(TableTest, FilesMayBeCompressed) {
  const TemporaryFolder folder;
  const std::string text = "u,y\n1,p\n2,q\n";
  Spill(folder / "plain.csv", text);
  SpillGzip(folder / "packed.csv.gz", text);
  SpillGzip(folder / "packed.csv", text);
  for (const char* name : {"plain.csv", "packed.csv.gz", "packed.csv"}) {
    const auto table = ReadTable(folder / name, {});
    ASSERT_TRUE(table.ok()) << table.status().message();
    EXPECT_EQ(table->rows->size(), 2);
    EXPECT_EQ(table->content, Parsed(text).content);
  }
}

TEST(TableTest, FilesThatCannotBeReadSayWhy) {
  const TemporaryFolder folder;
  const auto error = [](const std::string& path) { return ReadTable(path, {}).status(); };
  EXPECT_EQ(error(folder / "none.csv").code(), Code::kNotFound);
  EXPECT_THAT(error(folder / "none.csv").message(), HasSubstr(folder / "none.csv"));
  EXPECT_THAT(error(folder.path()).message(), HasSubstr("is a folder"));
  Spill(folder / "empty.csv", "");
  EXPECT_THAT(error(folder / "empty.csv").message(), HasSubstr("is empty"));

  std::string rows;
  for (int i = 0; i < 1000; ++i) rows += std::to_string(i * i) + "," + std::to_string(i % 3) + "\n";
  SpillGzip(folder / "whole.gz", rows);
  const std::string whole = Slurp(folder / "whole.gz");
  Spill(folder / "half.gz", whole.substr(0, whole.size() / 2));
  EXPECT_THAT(error(folder / "half.gz").message(), HasSubstr("ends early"));
  std::string damaged = whole;
  damaged[whole.size() / 2] = static_cast<char>(damaged[whole.size() / 2] ^ 0x55);
  Spill(folder / "damaged.gz", damaged);
  EXPECT_FALSE(error(folder / "damaged.gz").ok());
}

// Whatever the bytes, the reader ends with a table or one line of text.
TEST(TableTest, DamagedTextNeverCrashes) {
  const std::string good =
      "id,\"a \"\"b\"\"\",c,y\r\n1,2.5,-3e2,\"p\"\r\n2,NA,4,q\n\n3,?,+7.25e-3,\"p\"\n4,1,2,q";
  const TableDescription description = Parsed(good, {.on_missing = Missing::kMean}).description;
  Random random(3, StreamOf("damage"));
  for (int i = 0; i < 3000; ++i) {
    TableOptions options{.on_missing = static_cast<Missing>(random.Below(4))};
    if (const uint64_t task = random.Below(4); task < 3) options.task = static_cast<Task>(task);
    const std::string text = Damaged(good, random);
    EXPECT_EQ(ErrorOf(text, options).find('\n'), std::string::npos);
    EXPECT_EQ(ErrorFor(text, description, {.target = i % 2 == 0}).find('\n'), std::string::npos);
  }
  for (size_t length = 0; length <= good.size(); ++length) (void)ErrorOf(good.substr(0, length));
  for (int i = 0; i < 2000; ++i) {
    std::string noise(random.Below(64), ' ');
    for (char& c : noise) c = "0123456789.,,,\"\"\r\n\n eE+-ax"[random.Below(25)];
    (void)ErrorOf(noise);
  }
}

// What is written with quotes and read back is the same.
TEST(TableTest, AnyTextSurvivesQuoting) {
  Random random(4, StreamOf("text"));
  for (int i = 0; i < 300; ++i) {
    std::string label = "x";
    const uint64_t length = random.Below(20);
    for (uint64_t c = 0; c < length; ++c) label += ",\"\n ;ab'"[random.Below(8)];
    label += 'x';
    std::string quoted = "\"";
    for (const char c : label) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    const Table table = Parsed("1," + quoted + "\"\n2,a\n", {.dialect = {.delimiter = ','}});
    EXPECT_THAT(table.description.columns[1].categories, ElementsAre("a", label));
  }
}

// The facts that shared/data/wdbc/README.md states.
TEST(TableTest, BreastCancerDataIsAsDescribed) {
  LOCKSTEP_NEEDS_REAL_FILE("wdbc/wdbc.data");
  const auto loaded =
      ReadTable(RealFile("wdbc/wdbc.data"), {.target = int64_t{1}, .positive = "M"});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->description.task, Task::kBinary);
  EXPECT_THAT(RemarksOf(*loaded), HasSubstr("identifier"));
  const Samples samples = Plain(*loaded);
  EXPECT_EQ(loaded->rows->size(), 569);
  EXPECT_EQ(samples.info.x_shape, Shape{30});
  EXPECT_EQ(std::count(samples.targets.begin(), samples.targets.end(), 1.0f), 212);
  const std::vector<float>& x = samples.x;
  struct Fact {
    size_t column;
    float low, high;
    double average, unit;  // the average is given to this many
  };
  for (const Fact& fact : {Fact{0, 6.981f, 28.11f, 14.127, 1e-3},
                           {3, 143.5f, 2501, 654.89, 1e-2},
                           {9, 0.04996f, 0.09744f, 0.062798, 1e-6},
                           {19, 0.0008948f, 0.02984f, 0.0037949, 1e-7},
                           {23, 185.2f, 4254, 880.58, 1e-2},
                           {29, 0.05504f, 0.2075f, 0.083946, 1e-6}}) {
    SCOPED_TRACE(fact.column);
    std::vector<float> column;
    for (size_t i = fact.column; i < x.size(); i += 30) column.push_back(x[i]);
    EXPECT_EQ(*std::min_element(column.begin(), column.end()), fact.low);
    EXPECT_EQ(*std::max_element(column.begin(), column.end()), fact.high);
    EXPECT_NEAR(std::accumulate(column.begin(), column.end(), 0.0) / 569, fact.average,
                0.51 * fact.unit);
  }
}

}  // namespace
}  // namespace lockstep
