#include "engine/data/table/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/table/csv_reader.h"
#include "engine/data/table/standardize.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> Features(const CsvData& data) {
  std::vector<float> x;
  for (int64_t i = 0; i < data.dataset->size(); ++i) {
    const auto row = data.dataset->StoredX(i).span<float>();
    x.insert(x.end(), row.begin(), row.end());
  }
  return x;
}

std::vector<int32_t> Classes(const CsvData& data) { return ClassLabels(*data.dataset).value(); }

CsvData Parsed(std::string_view text, const CsvOptions& options = {}) {
  auto data = ParseCsv(text, "t.csv", options);
  EXPECT_TRUE(data.ok()) << data.status().message();
  return std::move(data).value();
}

std::string ErrorOf(std::string_view text, const CsvOptions& options = {}) {
  const auto data = ParseCsv(text, "t.csv", options);
  return data.ok() ? "(no error)" : data.status().message();
}

TEST(CsvTest, ReadsHeaderFeaturesAndSortedLabels) {
  const CsvData data = Parsed("age,weight,kind\n30,70.5,dog\n-4e1,+.25,cat\n5.,1E-3,dog\n");
  EXPECT_THAT(Features(data), ElementsAre(30, 70.5f, -40, 0.25f, 5, 0.001f));
  EXPECT_THAT(Classes(data), ElementsAre(1, 0, 1));
  EXPECT_THAT(data.dataset->info().class_names, ElementsAre("cat", "dog"));
  EXPECT_THAT(data.dataset->info().feature_names, ElementsAre("age", "weight"));
  EXPECT_EQ(data.dataset->info().classes, 2);
  EXPECT_FALSE(data.dataset->info().has_missing);
}

TEST(CsvTest, LineEndsBlankLinesMarksSpacesAndQuotesDoNotMatter) {
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
    const CsvData data = Parsed(text);
    EXPECT_EQ(Features(data), want);
    EXPECT_THAT(data.dataset->info().feature_names, ElementsAre("a", "b"));
    EXPECT_THAT(data.dataset->info().class_names, ElementsAre("p", "q"));
  }
}

TEST(CsvTest, QuotedFieldsMayHoldDelimitersQuotesAndLineEnds) {
  const CsvData data = Parsed("\"a,\"\"b\"\"\nc\",y\n1,\"p,\"\"\"\n2,\"q\r\nr\"\n");
  EXPECT_THAT(data.dataset->info().feature_names, ElementsAre("a,\"b\"\nc"));
  EXPECT_THAT(data.dataset->info().class_names, ElementsAre("p,\"", "q\nr"));
}

TEST(CsvTest, OtherDelimitersTabsAmongThem) {
  EXPECT_THAT(Features(Parsed("1;2;a\n3;4;b\n", {.delimiter = ';'})), ElementsAre(1, 2, 3, 4));
  // An empty field between two tabs stays a field.
  const CsvData data =
      Parsed("1\t\ta\n3\t4\tb\n", {.delimiter = '\t', .on_missing = CsvOptions::Missing::kMean});
  EXPECT_EQ(data.missing_cells, 1);
}

TEST(CsvTest, AHeaderIsFoundOrDenied) {
  using Header = CsvOptions::Header;
  EXPECT_EQ(Parsed("1,2,a\n3,4,b\n").dataset->size(), 2);
  EXPECT_EQ(Parsed("u,v,a\n3,4,b\n5,6,c\n").dataset->size(), 2);
  EXPECT_EQ(Parsed("0,1,2\n3,4,b\n5,6,c\n", {.header = Header::kYes}).dataset->size(), 2);
  EXPECT_THAT(ErrorOf("u,v,a\n3,4,b\n", {.header = Header::kNo}),
              HasSubstr("\"u\" is not a number"));
  // A label or an ignored identifier that is a text says nothing about the row.
  EXPECT_EQ(Parsed("id7,1,a\nid8,2,b\n", {.ignored = {int64_t{0}}}).dataset->size(), 2);
  // One that is a number neither, as in the first row of a table written with row numbers.
  EXPECT_EQ(Parsed("0,u,y\n1,5,a\n2,6,b\n", {.ignored = {int64_t{0}}}).dataset->size(), 2);
  EXPECT_EQ(Parsed("?,5,a\n2,6,b\n", {.on_missing = CsvOptions::Missing::kMean}).dataset->size(),
            2);
}

TEST(CsvTest, ColumnsAreFoundByNameAndByNumberFromBothEnds) {
  const std::string text = "id,y,u,v\n7,p,1,2\n8,q,3,4\n";
  for (const CsvColumn& label : {CsvColumn("y"), CsvColumn(int64_t{1}), CsvColumn(int64_t{-3})}) {
    for (const CsvColumn& id : {CsvColumn("id"), CsvColumn(int64_t{0}), CsvColumn(int64_t{-4})}) {
      const CsvData data = Parsed(text, {.label = label, .ignored = {id}});
      EXPECT_THAT(Features(data), ElementsAre(1, 2, 3, 4));
      EXPECT_THAT(Classes(data), ElementsAre(0, 1));
    }
  }
  EXPECT_THAT(ErrorOf(text, {.label = "z"}),
              AllOf(HasSubstr("no label column \"z\""), HasSubstr("\"id\", \"y\", \"u\", \"v\"")));
  EXPECT_THAT(ErrorOf(text, {.label = int64_t{4}}), HasSubstr("label column 4 does not exist"));
  EXPECT_THAT(ErrorOf(text, {.label = int64_t{-5}}), HasSubstr("label column -5 does not exist"));
  EXPECT_THAT(ErrorOf(text, {.label = int64_t{INT64_MIN}}), HasSubstr("does not exist"));
  EXPECT_THAT(ErrorOf(text, {.label = "y", .ignored = {"y"}}), HasSubstr("cannot be ignored"));
  EXPECT_THAT(ErrorOf("u,u,y\n1,2,p\n", {.ignored = {"u"}}), HasSubstr("more than one column"));
  EXPECT_THAT(ErrorOf("1,2,p\n", {.header = CsvOptions::Header::kNo, .label = "y"}),
              HasSubstr("has no header"));
  EXPECT_THAT(ErrorOf("1;2\n3;4\n"), HasSubstr("no feature is left"));
}

TEST(CsvTest, MissingValuesAreRefusedFilledOrDropped) {
  using Missing = CsvOptions::Missing;
  const std::string text = "u,v,y\n1,10,p\nNA,20,q\n3,?,p\n5,40,q\n";
  EXPECT_THAT(ErrorOf(text), AllOf(HasSubstr("t.csv: line 3, column 1 (\"u\"): \"NA\""),
                                   HasSubstr("missing value")));

  const CsvData dropped = Parsed(text, {.on_missing = Missing::kDropRow});
  EXPECT_THAT(Features(dropped), ElementsAre(1, 10, 5, 40));
  EXPECT_EQ(dropped.dropped_rows, 2);
  EXPECT_FALSE(dropped.dataset->info().has_missing);

  const CsvData filled = Parsed(text, {.on_missing = Missing::kMean});
  EXPECT_EQ(filled.missing_cells, 2);
  EXPECT_TRUE(filled.dataset->info().has_missing);
  EXPECT_TRUE(std::isnan(Features(filled)[2]));
  const std::vector<int64_t> train = {0, 1};
  const auto standardizer = Standardizer::Measure(*filled.dataset, train).value();
  EXPECT_THAT(standardizer.mean(), ElementsAre(1, 15));
}

TEST(CsvTest, AMissingLabelIsAnErrorUnlessRowsAreDropped) {
  const std::string text = "u,y\n1,p\n2,\n3,q\n";
  EXPECT_THAT(ErrorOf(text, {.on_missing = CsvOptions::Missing::kMean}),
              HasSubstr("line 3, column 2 (\"y\"): the label is missing"));
  EXPECT_EQ(Parsed(text, {.on_missing = CsvOptions::Missing::kDropRow}).dataset->size(), 2);
}

TEST(CsvTest, TheUserSaysWhatIsMissing) {
  const CsvData data =
      Parsed("1,a\n-999,b\n", {.missing = {"-999"}, .on_missing = CsvOptions::Missing::kMean});
  EXPECT_EQ(data.missing_cells, 1);
  EXPECT_THAT(ErrorOf("1,a\nnan,b\n", {.missing = {}}), HasSubstr("not a finite number"));
}

TEST(CsvTest, NumericLabelsAreSortedAsNumbers) {
  const CsvData data = Parsed("1,10\n2,9\n3,-1\n4,10\n");
  EXPECT_THAT(data.dataset->info().class_names, ElementsAre("-1", "9", "10"));
  EXPECT_THAT(Classes(data), ElementsAre(2, 1, 0, 2));
}

TEST(CsvTest, ABinaryTaskHasANamedPositiveClass) {
  const std::string text = "1,M\n2,B\n3,M\n";
  const CsvData last = Parsed(text, {.task = Task::kBinary});
  EXPECT_THAT(last.dataset->info().class_names, ElementsAre("B", "M"));
  EXPECT_THAT(Classes(last), ElementsAre(1, 0, 1));
  EXPECT_EQ(last.dataset->info().target_shape, Shape{1});
  EXPECT_EQ(last.dataset->info().classes, 0);
  const CsvData named = Parsed(text, {.task = Task::kBinary, .positive = "B"});
  EXPECT_THAT(Classes(named), ElementsAre(0, 1, 0));
  EXPECT_THAT(named.dataset->info().class_names, ElementsAre("M", "B"));
  EXPECT_THAT(ErrorOf(text, {.task = Task::kBinary, .positive = "X"}), HasSubstr("\"X\""));
  EXPECT_THAT(ErrorOf("1,a\n2,b\n3,c\n", {.task = Task::kBinary}), HasSubstr("the file has 3"));
  EXPECT_THAT(ErrorOf(text, {.positive = "M"}), HasSubstr("binary tasks only"));
}

TEST(CsvTest, ARegressionKeepsItsTarget) {
  const CsvData data = Parsed("1,2.5\n2,-1e3\n", {.task = Task::kRegression});
  EXPECT_THAT(data.dataset->StoredTarget(0).span<float>(), ElementsAre(2.5f));
  EXPECT_THAT(data.dataset->StoredTarget(1).span<float>(), ElementsAre(-1000.0f));
  EXPECT_THAT(ErrorOf("1,2\n2,x\n", {.task = Task::kRegression}),
              HasSubstr("line 2, column 2: \"x\" is not a number"));
}

TEST(CsvTest, NumbersAreRoundedOnceAndRangesAreKept) {
  const CsvData data = Parsed(
      "3.4028234663852886e38,a\n1e-400,b\n0.1,a\n-0,a\n1e-46,a\n0e999,a\n"
      "0.00000000000000000000000000000000000000000001e-999999999999,b\n");
  EXPECT_THAT(Features(data),
              ElementsAre(3.4028234663852886e38f, 0.0f, 0.1f, 0.0f, 0.0f, 0.0f, 0.0f));
  for (const std::string cell : {"3.5e38", "1e999", "-1e99999999999999999999",
                                 "10000000000000000000000000000000000000000e0", "0.001e400"}) {
    EXPECT_THAT(ErrorOf("1,a\n" + cell + ",b\n"), HasSubstr("too large")) << cell;
  }
  for (const std::string cell : {"inf", "-infinity", "+inf"}) {
    EXPECT_THAT(ErrorOf("1,a\n" + cell + ",b\n"), HasSubstr("not a finite number")) << cell;
  }
  for (const std::string cell : {"1 2", "0x10", "1e", "--1", "+-1", "++1", "1.2.3", "e5", ".", "+",
                                 "-", "12abc", "1e+", "1_000",
                                 "\xC2\xA0"
                                 "1"}) {
    EXPECT_THAT(ErrorOf("1,a\n" + cell + ",b\n"), HasSubstr("is not a number")) << cell;
  }
}

TEST(CsvTest, ErrorsNamePlaceAndText) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("t.csv: the file is empty"));
  EXPECT_THAT(ErrorOf("\n \n\r\n"), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("\xEF\xBB\xBF"), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("a,b,y\n"), HasSubstr("only a header"));
  EXPECT_THAT(ErrorOf("1,2,a\n3,b\n"), HasSubstr("line 2: 2 fields, but the first row has 3"));
  EXPECT_THAT(ErrorOf("1,2,a\n\n3,4,5,b\n"), HasSubstr("line 3: 4 fields"));
  EXPECT_THAT(ErrorOf("1,2,a\n3,4,a\n"), HasSubstr("the same label \"a\""));
  EXPECT_THAT(ErrorOf("\"x\ny\",b\n1,p\nz,q\n"), HasSubstr("line 4, column 1 (\"x.y\"): \"z\""));
  EXPECT_THAT(ErrorOf("1,a\n\"2,b\n"), HasSubstr("line 2, column 1: a quote opens"));
  EXPECT_THAT(ErrorOf("1,a\n\"2\"x,b\n"), HasSubstr("line 2: column 1: text follows"));
  EXPECT_THAT(ErrorOf(std::string("1,a\n2\0,b\n", 9)), HasSubstr("line 2: a NUL byte"));
  EXPECT_THAT(ErrorOf(std::string("1\0,\0a\0\n\0", 8)), HasSubstr("UTF-16"));
  EXPECT_THAT(ErrorOf("1,a\n", {.delimiter = '"'}), HasSubstr("delimiter"));
  EXPECT_THAT(ErrorOf("NA,a\n", {.on_missing = CsvOptions::Missing::kDropRow}),
              HasSubstr("all 1 rows have missing values"));
  // No message has a line end of its own or runs on.
  const std::string long_cell(300, 'x');
  const std::string message = ErrorOf("1,a\n\"" + long_cell + "\n\",b\n");
  EXPECT_LT(message.size(), 200u);
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(CsvTest, LimitsHold) {
  const std::string huge(CsvReader::kLongestField + 1, '1');
  EXPECT_THAT(ErrorOf("1,a\n" + huge + ",b\n"), HasSubstr("longer than"));
  EXPECT_THAT(ErrorOf("1,a\n\"" + huge + "\",b\n"), HasSubstr("is a quote missing?"));
  EXPECT_THAT(ErrorOf(std::string(CsvReader::kMostFields + 10, ',')), HasSubstr("more than"));
  EXPECT_THAT(ErrorOf("1,a\n2,b\n", {.max_bytes = 7}), HasSubstr("limit of 7 bytes"));
  EXPECT_EQ(Parsed("1,a\n2,b\n", {.max_bytes = 8}).dataset->size(), 2);
  std::string labels;
  for (int i = 0; i <= 65536; ++i) labels += "1,label" + std::to_string(i) + "\n";
  EXPECT_THAT(ErrorOf(labels), HasSubstr("line 65537, column 2: more than 65536 different labels"));
}

TEST(CsvTest, FilesMayBeCompressed) {
  const TemporaryFolder folder;
  const std::string text = "u,y\n1,p\n2,q\n";
  Spill(folder / "plain.csv", text);
  SpillGzip(folder / "packed.csv.gz", text);
  SpillGzip(folder / "packed.csv", text);
  for (const char* name : {"plain.csv", "packed.csv.gz", "packed.csv"}) {
    const auto data = LoadCsv(folder / name);
    ASSERT_TRUE(data.ok()) << data.status().message();
    EXPECT_EQ(data.value().dataset->size(), 2);
  }
}

TEST(CsvTest, FilesThatCannotBeReadSayWhy) {
  const TemporaryFolder folder;
  const auto error = [](const std::string& path) { return LoadCsv(path).status(); };
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

// Whatever the bytes, the reader ends with data or one line of text.
TEST(CsvTest, DamagedTextNeverCrashes) {
  const std::string good =
      "id,\"a \"\"b\"\"\",c,y\r\n1,2.5,-3e2,\"p\"\r\n2,NA,4,q\n\n3,?,+7.25e-3,\"p\"\n4,1,2,q";
  Random random(3, StreamOf("damage"));
  for (int i = 0; i < 5000; ++i) {
    const CsvOptions options{.on_missing = static_cast<CsvOptions::Missing>(random.Below(3)),
                             .task = static_cast<Task>(random.Below(3))};
    const auto data = ParseCsv(Damaged(good, random), "t.csv", options);
    EXPECT_EQ(data.status().message().find('\n'), std::string::npos);
  }
  for (size_t length = 0; length <= good.size(); ++length) {
    (void)ParseCsv(good.substr(0, length), "t.csv");
  }
  for (int i = 0; i < 2000; ++i) {
    std::string noise(random.Below(64), ' ');
    for (char& c : noise) c = "0123456789.,,,\"\"\r\n\n eE+-ax"[random.Below(25)];
    (void)ParseCsv(noise, "t.csv");
  }
}

// What is written with quotes and read back is the same.
TEST(CsvTest, AnyTextSurvivesQuoting) {
  Random random(4, StreamOf("text"));
  for (int i = 0; i < 500; ++i) {
    std::string label = "x";
    const uint64_t length = random.Below(20);
    for (uint64_t c = 0; c < length; ++c) label += ",\"\n ;ab'"[random.Below(8)];
    label += 'x';
    std::string quoted = "\"";
    for (const char c : label) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    const CsvData data = Parsed("1," + quoted + "\"\n2,a\n");
    EXPECT_THAT(data.dataset->info().class_names, ElementsAre("a", label));
  }
}

// The facts that shared/data/wdbc/README.md states.
TEST(CsvTest, BreastCancerDataIsAsDescribed) {
  LOCKSTEP_NEEDS_REAL_FILE("wdbc/wdbc.data");
  const auto loaded = LoadCsv(
      RealFile("wdbc/wdbc.data"),
      {.label = int64_t{1}, .ignored = {int64_t{0}}, .task = Task::kBinary, .positive = "M"});
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const CsvData& data = loaded.value();
  EXPECT_EQ(data.dataset->size(), 569);
  EXPECT_EQ(data.dataset->info().x_shape, Shape{30});
  const std::vector<int32_t> classes = Classes(data);
  EXPECT_EQ(std::count(classes.begin(), classes.end(), 1), 212);
  const std::vector<float> x = Features(data);
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
