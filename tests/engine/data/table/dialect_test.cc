#include "engine/data/table/dialect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/data/table/row_scanner.h"
#include "engine/data/table/table_text.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/data/table/all_rows.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Names = std::vector<std::string>;

// n rows of two numbers with fractions and a class.
std::string Rows(int n, const std::string& delimiter = ",") {
  std::string text;
  for (int i = 0; i < n; ++i) {
    text += std::to_string(i % 7) + ".5" + delimiter + std::to_string(i % 5 + 3) + ".25" +
            delimiter + (i % 2 == 0 ? "p" : "q") + "\n";
  }
  return text;
}

TEST(DialectTest, DelimitersAreFoundByConsistency) {
  for (const std::string delimiter : {",", ";", "\t", "|", " ", "   "}) {
    const TableText table = Opened("a" + delimiter + "b" + delimiter + "c\n" + Rows(9, delimiter));
    EXPECT_EQ(table.dialect().delimiter, delimiter[0]);
    EXPECT_THAT(table.names(), ElementsAre("a", "b", "c")) << delimiter;
    EXPECT_EQ(AllRows(table).size(), 9u);
    EXPECT_THAT(table.remarks(), IsEmpty());
  }
  // Another delimiter within the cells.
  EXPECT_EQ(Opened("town\tn\nOslo, Norway\t1\nBern, Swiss\t2\n").dialect().delimiter, '\t');
  EXPECT_EQ(Opened("id,note\n1,one; two\n2,three; four\n").dialect().delimiter, ',');
  EXPECT_EQ(Opened("when,n\n2020-01-01 10:00,5\n2020-01-02 11:00,6\n").dialect().delimiter, ',');
  // One column.
  EXPECT_EQ(Opened("text\nhello world\ngood morning\n").columns(), 1);
  EXPECT_EQ(Opened("1\n2\n3\n").columns(), 1);
  // Told.
  EXPECT_EQ(Opened("a,b;c,d\n1,2;3,4\n", {.delimiter = ';'}).columns(), 2);
  EXPECT_EQ(Opened("a,b;c,d\n1,2;3,4\n", {.delimiter = ','}).columns(), 3);
}

TEST(DialectTest, RunsOfBlanksAlsoAtBothEnds) {
  const TableText table = Opened("  1.288   12.899 1 \n  0.031\t7.956   0\n 1 2 1\n");
  EXPECT_EQ(table.dialect().delimiter, ' ');
  EXPECT_FALSE(table.dialect().header);
  EXPECT_THAT(AllRows(table), ElementsAre(Names{"1.288", "12.899", "1"},
                                          Names{"0.031", "7.956", "0"}, Names{"1", "2", "1"}));
}

TEST(DialectTest, ADelimiterBehindTheLastColumn) {
  for (const std::string text : {"a,b,\n1,2,\n3,4,\n", "a,b\n1,2,\n3,4,\n", "a,b,\n1,2\n3,4\n"}) {
    const TableText table = Opened(text);
    EXPECT_TRUE(table.dialect().open_end);
    EXPECT_THAT(table.names(), ElementsAre("a", "b"));
    EXPECT_THAT(AllRows(table), ElementsAre(Names{"1", "2"}, Names{"3", "4"})) << text;
  }
  // A last column that has a name is one, though it is empty.
  EXPECT_EQ(Opened("a,b,c\n1,2,\n3,4,\n").columns(), 3);
  // So is one with a value anywhere.
  EXPECT_THAT(ErrorOf("a,b\n1,2,\n3,4,\n5,6,7\n"), "(no error)");  // row names
}

TEST(DialectTest, RowNamesAsRWritesThem) {
  const TableText table = Opened("\"age\" \"sex\"\n\"1\" 30 \"f\"\n\"2\" 41 \"m\"\n");
  EXPECT_TRUE(table.dialect().row_names);
  EXPECT_THAT(table.names(), ElementsAre("", "age", "sex"));
  EXPECT_EQ(AllRows(table).size(), 2u);
  EXPECT_THAT(table.remarks(), Contains(HasSubstr("row names")));
}

TEST(DialectTest, NumbersInTheFormOfTheCountry) {
  const auto form = [](const std::string& text) { return Opened(text).dialect().number; };
  EXPECT_EQ(form("a;b\n1,5;yes\n0,25;no\n"), (NumberForm{',', '\0'}));
  EXPECT_EQ(form("a;b\n1.234,56;yes\n0,25;no\n"), (NumberForm{',', '.'}));
  EXPECT_EQ(form("a,b\n\"1,234.56\",yes\n0.25,no\n"), (NumberForm{'.', ','}));
  EXPECT_EQ(form("a;b\n1 234,5;yes\n0,25;no\n"), (NumberForm{',', ' '}));
  EXPECT_EQ(form("a,b\n1'234.5,yes\n0.25,no\n"), (NumberForm{'.', '\''}));
  EXPECT_EQ(form("a,b\n1.5,yes\n0.25,no\n"), NumberForm{});
  // Texts with digits in them decide nothing.
  EXPECT_EQ(form("a;b\n1.5;Main Street 5,2\n0.25;Square 1,7\n"), NumberForm{});
  // What may be both is said.
  const TableText either = Opened("a;b\n1,234;x\n5,678;y\n");
  EXPECT_EQ(either.dialect().number, (NumberForm{',', '\0'}));
  EXPECT_THAT(either.remarks(),
              Contains(AllOf(HasSubstr("\"1,234\""), HasSubstr("data.thousands"))));
  const TableText quoted = Opened("a,b\n\"1,234\",x\n\"5,678\",y\n");
  EXPECT_EQ(quoted.dialect().number, (NumberForm{'.', ','}));
  EXPECT_THAT(quoted.remarks(), Contains(AllOf(HasSubstr("\"1,234\""), HasSubstr("data.decimal"))));
  // Told.
  EXPECT_EQ(Opened("a;b\n1,234;x\n", {.thousands = ','}).dialect().number, (NumberForm{'.', ','}));
  EXPECT_EQ(Opened("a;b\n1.234;x\n", {.decimal = ','}).dialect().number, (NumberForm{',', '.'}));
}

TEST(DialectTest, AHeaderIsWhatDoesNotFitTheColumns) {
  const auto has_header = [](const std::string& text) { return Opened(text).dialect().header; };
  EXPECT_TRUE(has_header("a,b,c\n" + Rows(5)));
  EXPECT_FALSE(has_header(Rows(5)));
  EXPECT_TRUE(has_header("region,2019,2020\n0,1.5,2.5\n1,3.5,4.5\n"));
  EXPECT_TRUE(has_header("when,2020-01-01,2020-02-01\nx,1.5,2.5\ny,3.5,4.5\n"));
  EXPECT_TRUE(has_header("day,n\n2020-01-01,x\n2020-01-02,x\n"));
  // Times of the day are names, unless there are such below.
  EXPECT_TRUE(has_header("day,08:00,20:00\nMon,open,5\nTue,shut,7\n"));
  EXPECT_TRUE(has_header("site,08:00\nA,5\nB,6\n"));
  EXPECT_FALSE(has_header("08:00,5\n09:30,6\n10:45,5\n"));
  EXPECT_FALSE(has_header("A11,6,x\nA12,48,y\nA11,12,x\n"));
  EXPECT_FALSE(has_header("P1,6\nP2,48\nP3,12\n"));               // ids
  EXPECT_FALSE(has_header("x,1.5,2.5\n3,4.5,5.5\n4,5.5,6.5\n"));  // a wrong cell
  EXPECT_TRUE(has_header("?,b,c\n" + Rows(5)));
  EXPECT_TRUE(has_header("x,y\n"));
  EXPECT_FALSE(has_header("1,y\n"));
  EXPECT_TRUE(Opened("1,2\n3,4\n", {.header = true}).dialect().header);
  EXPECT_FALSE(Opened("a,b\n3,4\n", {.header = false}).dialect().header);
  EXPECT_TRUE(Opened("5,2020\n3,4\n7,9\n", {.names = {"2020"}}).dialect().header);
}

TEST(DialectTest, AHeaderThatCountsTheColumnsAsPandasWritesIt) {
  const TableText table = Opened("0,1,2\n" + Rows(5));
  EXPECT_THAT(table.names(), ElementsAre("0", "1", "2"));
  EXPECT_THAT(table.remarks(), Contains(HasSubstr("data.header")));
  EXPECT_EQ(Opened(",0,1,2\n0,1.5,2.5,3.5\n1,4.5,5.5,6.5\n").names(), (Names{"", "0", "1", "2"}));
  EXPECT_TRUE(Opened("0,1,2,3\n5,5,6,0\n4,4,4,1\n5,3,2,1\n").dialect().header);
  EXPECT_TRUE(Opened("2019,2020\n1.5,2.5\n3.5,4.5\n").dialect().header);
  // Permutations are data.
  EXPECT_FALSE(Opened("0,1,2,3\n1,2,3,4\n3,2,1,0\n").dialect().header);
  EXPECT_FALSE(Opened("0,1\n1,0\n1,1\n0,0\n").dialect().header);
  EXPECT_FALSE(Opened("1,2,3\n2,2,4\n4,1,1\n").dialect().header);
}

TEST(DialectTest, AFirstRowThatCouldBeDataByChanceIsData) {
  // Outside the range of one or two rows is nothing: the third row of three is with chance 2/3.
  for (const std::string text : {"1,2\n5,7\n", "7,8\n1,2\n2,1\n", "2019,2020\n15,25\n35,45\n"}) {
    const TableText table = Opened(text);
    EXPECT_FALSE(table.dialect().header) << text;
    EXPECT_THAT(table.remarks(), Contains(HasSubstr("data.header = true"))) << text;
  }
  std::string years = "2019,2020\n";
  for (int i = 0; i < 8; ++i) years += std::to_string(15 + i) + "," + std::to_string(40 - i) + "\n";
  EXPECT_TRUE(Opened(years).dialect().header);  // (2 / 9)^2 < 0.05
  // Answers above answers.
  EXPECT_FALSE(Opened("yes,a\nno,b\nno,c\n").dialect().header);
  EXPECT_TRUE(Opened("ill,a\nno,b\nno,c\n").dialect().header);
}

TEST(DialectTest, WhereDoubtIsDataOnlyAClearHeaderIsOne) {
  const auto has_header = [](const std::string& text, const Names& names = {}) {
    return Opened(text, {.doubt_is_data = true, .names = names}).dialect().header;
  };
  EXPECT_TRUE(has_header("a,b\n1,2\n"));
  EXPECT_TRUE(has_header("a,2019\n1,2\n", {"a", "2019"}));
  EXPECT_FALSE(has_header("a,2019\n1,2\n", {"a", "b"}));
  EXPECT_FALSE(has_header("0,1,2,3\n0.5,1.5,2.5,3.5\n"));
  EXPECT_FALSE(has_header("Oslo,red\nBern,blue\n"));
  EXPECT_FALSE(has_header("# 0 1 2\n0.5 1.5 2.5\n3.5 4.5 5.5\n"));
}

TEST(DialectTest, LinesInFrontOfATableAreLeftOut) {
  const std::string table = "name,age,weight\nAnna,30,60.5\nBob,41,80.25\n";
  for (const std::string preamble :
       {"Exported by Lab 3.1 on 2020-04-03\n", "Exported\n\nOn 3 May\n\n", "\"One, two\"\n\n"}) {
    const TableText read = Opened(preamble + table);
    EXPECT_THAT(read.names(), ElementsAre("name", "age", "weight")) << preamble;
    EXPECT_THAT(AllRows(read),
                ElementsAre(Names{"Anna", "30", "60.5"}, Names{"Bob", "41", "80.25"}));
    const int64_t lines = CountLineEnds(preamble);
    EXPECT_EQ(AllLines(read), (std::vector<int64_t>{lines + 2, lines + 3}));
    EXPECT_THAT(read.remarks(), Contains(HasSubstr("in front of rows that all have 3")))
        << preamble;
  }
  // Without a header, and with a decimal comma.
  const TableText bare = Opened("Messung 1\n1,5;2,5;x\n3,5;4,5;y\n");
  EXPECT_EQ(AllLines(bare), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(bare.dialect().number.decimal, ',');
  // In front of two columns it could be R's header, unless names follow.
  EXPECT_TRUE(Opened("x\na,1\nb,2\n").dialect().row_names);
  EXPECT_THAT(Opened("Exported\nname,age\na,1\nb,2\n").names(), ElementsAre("name", "age"));
  // Another width anywhere, or a line of several cells: an error that says the line.
  EXPECT_THAT(ErrorOf("Exported\n" + table + "Carl,50\n"),
              AllOf(HasSubstr("line 1"), HasSubstr("in front of the table")));
  EXPECT_THAT(ErrorOf("Exported, on 3 May\n" + table),
              AllOf(HasSubstr("line 1"), HasSubstr("2 cells"), HasSubstr("in front of the table")));
  // A name that is asked for is none of a preamble.
  EXPECT_THAT(ErrorOf("text\na, b, c\nd, e, f\n", {.names = {"text"}}), HasSubstr("line 1"));
}

TEST(DialectTest, ATableOfCategoriesKeepsItsFirstRow) {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    text += std::string(i % 3 == 0 ? "left" : "right") + "," + (i % 4 < 2 ? "up" : "low") + "," +
            (i % 5 == 0 ? "sick" : "well") + "\n";
  }
  EXPECT_FALSE(Opened(text).dialect().header);
  EXPECT_EQ(AllRows(Opened(text)).size(), 40u);
  EXPECT_TRUE(Opened("side,place,state\n" + text).dialect().header);
  EXPECT_THAT(Opened("side,place,state\n" + text).remarks(), IsEmpty());
  for (const char* file : {"tables/breast-cancer.csv", "tables/german.csv",
                           "tables/auto_imports.csv", "tables/horse-colic.csv"}) {
    LOCKSTEP_NEEDS_REAL_FILE(file);
    const auto table = TableText::OpenFile(RealFile(file), {});
    ASSERT_TRUE(table.ok()) << table.status().message();
    EXPECT_FALSE(table->dialect().header) << file;
  }
}

TEST(DialectTest, ApostrophesQuoteWhereCellsSaySo) {
  const TableText table =
      Opened("'40-49','no','left, up'\n'50-59','yes','right'\n'40-49','no','right'\n");
  EXPECT_EQ(table.dialect().quote, '\'');
  EXPECT_THAT(AllRows(table)[0], ElementsAre("40-49", "no", "left, up"));
  EXPECT_EQ(Opened("a,b\n'tis,5\nit's,6\ndogs',7\nx',8\n").dialect().quote, '"');
  EXPECT_THAT(AllRows(Opened("a,b\n'x',5\n", {.quote = '"'}))[0], ElementsAre("'x'", "5"));
  EXPECT_THAT(AllRows(Opened("a,b\n\"x,5\n", {.quote = '\0'}))[0], ElementsAre("\"x", "5"));
}

TEST(DialectTest, ASepLineCommentsAndAHeaderInAComment) {
  const TableText sep = Opened("sep=;\na;b\n1,5;x\n2,5;y\n");
  EXPECT_THAT(sep.names(), ElementsAre("a", "b"));
  EXPECT_EQ(AllLines(sep), (std::vector<int64_t>{3, 4}));
  EXPECT_THAT(Opened("\"sep=|\"\na|b\n1|x\n").names(), ElementsAre("a", "b"));

  const TableText front = Opened("# made by a program, once\n\n% and another\n#\na,b\n1,x\n2,y\n");
  EXPECT_EQ(front.dialect().comment, '#');
  const TableText comments = Opened("# made by a program, once\n#\na,b\n1,x\n# within\n2,y\n");
  EXPECT_THAT(comments.names(), ElementsAre("a", "b"));
  EXPECT_EQ(AllLines(comments), (std::vector<int64_t>{4, 6}));
  EXPECT_THAT(comments.remarks(), Contains(HasSubstr("data.comment")));

  const TableText saved = Opened("# x y label\n1.5 2.5 0\n3.5 4.5 1\n");
  EXPECT_THAT(saved.names(), ElementsAre("x", "y", "label"));
  EXPECT_EQ(AllRows(saved).size(), 2u);
  // A sign in front of every row is none of a comment.
  EXPECT_EQ(AllRows(Opened("#ff0000,1\n#00ff00,2\n")).size(), 2u);
  // Told.
  EXPECT_EQ(AllRows(Opened("a,b\n!x\n1,2\n", {.comment = '!'})).size(), 1u);
}

TEST(DialectTest, NamesAreMadeDistinct) {
  const TableText table = Opened("age,age,x,age,\n1,2,3,4,5\n6,7,8,9,1\n");
  EXPECT_THAT(table.names(), ElementsAre("age", "age.1", "x", "age.2", ""));
  EXPECT_THAT(table.remarks(), Contains(HasSubstr("\"age.1\"")));
  EXPECT_THAT(Opened("\"blood\r\npressure\",b\n1,2\n").names(), ElementsAre("blood pressure", "b"));
  EXPECT_THAT(Opened("a,a,a.1\n1,2,3\n4,5,6\n").names(), ElementsAre("a", "a.2", "a.1"));
}

// An archive whose first file has this name.
std::string Zip(const std::string& name) {
  std::string bytes = "PK\x03\x04" + std::string(26, '\0') + name;
  bytes[26] = static_cast<char>(name.size());
  return bytes;
}

TEST(DialectTest, FilesOfOtherKindsAreCalledByTheirNames) {
  using namespace std::string_literals;  // NOLINT: bytes that are 0
  const std::pair<std::string, const char*> kinds[] = {
      {"\x93NUMPY\x01\0v\0"s + std::string(60, '\0'), "NPY"},
      {Zip("x.npy"), "NPZ"},
      {Zip("[Content_Types].xml"), "XLSX"},
      {Zip("mimetype"), "ODS"},
      {Zip("data.csv"), "ZIP"},
      {"PAR1\x15\0\x15"s, "Parquet"},
      {"ARROW1\0\0"s, "Arrow"},
      {"\x89HDF\r\n\x1A\n\0\0"s, "HDF5"},
      {"SQLite format 3\0"s, "SQLite"},
      {"%PDF-1.4\n", "PDF"},
      {"BZh91AY&SY", "bzip2"},
      {"\xFD"
       "7zXZ\0\0"s,
       "xz"},
      {"\x28\xB5\x2F\xFD\x24", "zstd"},
      {"X\n\0\0\0\x03\0\x04"s, "RDS"},
      {"RDX3\nX\n", "RData"},
      {"<stata_dta><header>", "Stata"},
      {"s\x02\x01\0"s + std::string(60, '\0'), "Stata"},
      {"$FL2@(#) SPSS DATA FILE", "SPSS"},
      {std::string(12, '\0') + "\xC2\xEA\x81\x60\xB3\x14\x11\xCF", "SAS"},
      {"<!DOCTYPE html>\n<html>", "web page"},
      {" {\"a\": 1}", "JSON"},
      {"[\n {\"a\": 1}]", "JSON"},
      {"<?xml version=\"1.0\"?>", "XML"},
  };
  for (const auto& [bytes, kind] : kinds) {
    EXPECT_THAT(ErrorOf(bytes), AllOf(HasSubstr("t.csv"), HasSubstr(kind), HasSubstr("CSV")))
        << kind;
  }
  EXPECT_THAT(ErrorOf("% a comment\n@RELATION iris\n@attribute x real\n@data\n5.1\n"),
              AllOf(HasSubstr("ARFF"), HasSubstr("@data")));
}

TEST(DialectTest, SettingsThatCannotBe) {
  EXPECT_THAT(ErrorOf("a,b\n", {.delimiter = '"'}), HasSubstr("data.delimiter"));
  EXPECT_THAT(ErrorOf("a,b\n", {.delimiter = '\n'}), HasSubstr("data.delimiter"));
  EXPECT_THAT(ErrorOf("a,b\n", {.decimal = 'x'}), HasSubstr("data.decimal"));
  EXPECT_THAT(ErrorOf("a,b\n", {.decimal = ',', .thousands = ','}), HasSubstr("data.thousands"));
  EXPECT_THAT(ErrorOf("a,b\n", {.delimiter = ',', .decimal = ','}), HasSubstr("data.decimal"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf("\n\n"), HasSubstr("empty"));
}

}  // namespace
}  // namespace lockstep
