#include "engine/data/table/describe_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/engine/data/table/parsed_tables.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = TableColumn::Kind;
using Role = TableColumn::Role;
using Missing = TableOptions::Missing;

// "x,y" with `cell(i)` for x, and a label of two values.
std::string Rows(int count, const std::function<std::string(int)>& cell,
                 const std::string& header = "x,y\n") {
  std::string text = header;
  for (int i = 0; i < count; ++i) text += cell(i) + (i % 3 == 0 ? ",p\n" : ",q\n");
  return text;
}
// The column "x", beside "k", a column of numbers that is always fit to learn from.
TableColumn XOf(int count, const std::function<std::string(int)>& cell, TableOptions options = {},
                std::string* remarks = nullptr) {
  options.dialect.header = true;
  const Table table = Parsed(
      Rows(
          count, [&](int i) { return std::to_string(i * i % 7) + "," + cell(i); }, "k,x,y\n"),
      options);
  if (remarks != nullptr) *remarks = RemarksOf(table);
  return table.description.columns[1];
}
std::string ErrorOfX(int count, const std::function<std::string(int)>& cell,
                     TableOptions options = {}) {
  options.dialect.header = true;
  return ErrorOf(
      Rows(
          count, [&](int i) { return std::to_string(i * i % 7) + "," + cell(i); }, "k,x,y\n"),
      options);
}
std::string Of(const std::vector<std::string>& words, int i) {
  return words[static_cast<size_t>(i) % words.size()];
}
TableOptions Typed(const std::string& type) { return {.types = {{"x", type}}}; }

TEST(DescribeTable, KindsAreFoundByTheCells) {
  EXPECT_EQ(XOf(30, [](int i) { return std::to_string(i % 4); }).kind, Kind::kNumber);
  EXPECT_EQ(XOf(30, [](int i) { return std::to_string(i) + ".5"; }).kind, Kind::kNumber);
  EXPECT_EQ(XOf(30, [](int i) { return Of({"yes", "no"}, i); }).kind, Kind::kYesNo);
  EXPECT_EQ(XOf(30, [](int i) { return Of({"red", "green", "blue"}, i); }).kind, Kind::kCategory);
  EXPECT_EQ(XOf(28, [](int i) { return "2020-02-" + std::to_string(10 + i % 18); }).kind,
            Kind::kDate);
}

TEST(DescribeTable, TheUserSaysWhatAColumnHolds) {
  const auto digits = [](int i) { return std::to_string(i % 4); };
  const TableColumn codes = XOf(30, digits, Typed("category"));
  EXPECT_EQ(codes.kind, Kind::kCategory);
  EXPECT_THAT(codes.categories, ElementsAre("0", "1", "2", "3"));
  EXPECT_EQ(XOf(30, digits, Typed("left out")).role, Role::kLeftOut);
  EXPECT_EQ(XOf(
                30,
                [](int i) {
                  return Of({"y", "n"}, i);
                },
                Typed("category"))
                .kind,
            Kind::kCategory);
  // What would be left out is kept.
  const auto different = [](int i) { return "name" + std::to_string(i); };
  EXPECT_EQ(XOf(40, different).role, Role::kLeftOut);
  EXPECT_EQ(XOf(40, different, Typed("category")).role, Role::kFeature);
  EXPECT_THAT(ErrorOfX(30, digits, Typed("colour")),
              AllOf(HasSubstr("\"colour\" is no type"), HasSubstr("category")));
  EXPECT_THAT(ErrorOfX(
                  30,
                  [](int i) {
                    return Of({"red", "blue"}, i);
                  },
                  Typed("number")),
              AllOf(HasSubstr("line 2, column 2 (\"x\"): \"red\" is not a number"),
                    HasSubstr("data.types = [\"x=category\"]")));
  EXPECT_THAT(ErrorOfX(
                  30,
                  [](int i) {
                    return Of({"red", "blue"}, i);
                  },
                  Typed("yes/no")),
              AllOf(HasSubstr("line 2, column 2 (\"x\"): \"red\" is not yes or no"),
                    HasSubstr("data.types = [\"x=category\"]")));
  EXPECT_THAT(ErrorOfX(
                  30,
                  [](int i) {
                    return Of({"2020-01-01", "soon"}, i);
                  },
                  Typed("date")),
              AllOf(HasSubstr("line 3, column 2 (\"x\"): \"soon\""), HasSubstr("is no date")));
  EXPECT_THAT(ErrorOfX(30, digits, {.types = {{"z", "number"}}}), HasSubstr("\"z\""));
}

// The cell that does not fit is named, not another.
TEST(DescribeTable, ErrorsOfTypesNameTheCellThatDoesNotFit) {
  EXPECT_THAT(ErrorOfX(
                  30, [](int i) { return i == 4 ? "soon" : "2020-01-02"; }, Typed("date")),
              AllOf(HasSubstr("line 6"), HasSubstr("\"soon\"")));
  EXPECT_THAT(ErrorOfX(
                  30, [](int i) { return i == 4 ? "maybe" : "yes"; }, Typed("yes/no")),
              AllOf(HasSubstr("line 6"), HasSubstr("\"maybe\"")));
  EXPECT_THAT(ErrorOfX(
                  30, [](int i) { return i == 4 ? "17" : "yes"; }, Typed("yes/no")),
              AllOf(HasSubstr("line 6"), HasSubstr("\"17\"")));
}

TEST(DescribeTable, YesAndNoAreTheWordsOfTheTable) {
  const TableColumn column = XOf(30, [](int i) { return Of({"Nein", "Ja"}, i); });
  EXPECT_EQ(column.kind, Kind::kYesNo);
  EXPECT_THAT(column.categories, ElementsAre("Nein", "Ja"));
  // One word alone tells nothing, and is no error.
  EXPECT_EQ(XOf(30, [](int) { return "yes"; }).kind, Kind::kYesNo);
}

TEST(DescribeTable, CategoriesAreInOrderAndManyAreEmbedded) {
  const auto codes = [](int count) {
    return XOf(200, [count](int i) { return "c" + std::to_string(i % count); });
  };
  EXPECT_EQ(codes(32).width, 0);
  EXPECT_EQ(codes(32).categories.size(), 32u);
  EXPECT_EQ(codes(32).categories[0], "c0");
  EXPECT_EQ(codes(32).categories[2], "c10");
  const TableColumn many = codes(33);
  // fastai's rule: 1.6 * 33^0.56 = 11.34.
  EXPECT_EQ(many.width, 11);
  EXPECT_EQ(XOf(200, [](int i) { return "c" + std::to_string(i % 33); }, {.one_hot = 40}).width, 0);
  EXPECT_GT(XOf(200, [](int i) { return "c" + std::to_string(i % 3); }, {.one_hot = 0}).width, 0);
  // A missing one is one more.
  const auto lacking = [](int i) { return i % 33 == 32 ? "NA" : "c" + std::to_string(i % 33); };
  EXPECT_GT(XOf(200, lacking).width, 0);
}

TEST(DescribeTable, IdentifiersAreLeftOutAndSaid) {
  std::string remarks;
  const auto check = [&](const std::string& text, const std::string& why) {
    const Table table = Parsed(text, {.dialect = {.header = true}});
    EXPECT_EQ(table.description.columns[0].role, Role::kLeftOut) << text.substr(0, 40);
    EXPECT_THAT(RemarksOf(table), AllOf(HasSubstr("column 1"), HasSubstr("is left out: " + why),
                                        HasSubstr("data.types = ["), HasSubstr("keeps it")));
  };
  const auto two = [](int i) { return "," + std::to_string(i * i % 11); };
  const auto code = [](int i) { return std::to_string(i * 7919 % 1009); };
  check(Rows(
            30, [&](int i) { return std::to_string(i + 1) + two(i); }, "n,x,y\n"),
        "it counts");
  check(Rows(
            30, [&](int i) { return code(i) + two(i); }, "patient_id,x,y\n"),
        "all its values");
  check(Rows(
            30, [&](int i) { return code(i) + two(i); }, ",x,y\n"),
        "it has no name");
  check(Rows(
            30, [&](int i) { return "p" + code(i) + two(i); }, "who,x,y\n"),
        "all its texts");
  check(Rows(
            30, [&](int i) { return "NA" + two(i); }, "who,x,y\n"),
        "every value is missing");
  check(Rows(
            200, [&](int i) { return "n" + std::to_string(i % 150) + two(i); }, "who,x,y\n"),
        "it holds 150 different texts in 200 rows");
  // R's row names: the header has one name less.
  check(Rows(
            30, [&](int i) { return "r" + code(i) + two(i); }, "x,y\n"),
        "it names the rows");
}

TEST(DescribeTable, WhatOnlyLooksLikeAnIdentifierIsKept) {
  const auto first = [](const std::string& text) {
    return Parsed(text, {.dialect = {.header = true}}).description.columns[0].role;
  };
  const auto two = [](int i) { return "," + std::to_string(i * i % 11); };
  // Measured values that all differ, and whole numbers that occur again.
  EXPECT_EQ(
      first(Rows(
          30, [&](int i) { return std::to_string(i * 37 % 31) + ".25" + two(i); }, "size,x,y\n")),
      Role::kFeature);
  EXPECT_EQ(first(Rows(
                30, [&](int i) { return std::to_string(i % 20) + two(i); }, "age,x,y\n")),
            Role::kFeature);
  // One not in front, of another name.
  EXPECT_EQ(XOf(30, [](int i) { return std::to_string(i * 7919 % 1009); }).role, Role::kFeature);
}

TEST(DescribeTable, OneTextAmongNumbersIsAnErrorThatNamesBothWaysOut) {
  EXPECT_THAT(ErrorOfX(30, [](int i) { return i == 9 ? "unknown" : std::to_string(i % 5); }),
              AllOf(HasSubstr("line 11, column 2 (\"x\"): \"unknown\" is not a number"),
                    HasSubstr("29 of the 30"), HasSubstr("data.missing_texts = [\"unknown\"]"),
                    HasSubstr("data.types = [\"x=category\"]")));
  EXPECT_EQ(XOf(30, [](int i) { return i == 9 ? "unknown" : std::to_string(i % 5); },
                {.more_missing = {"unknown"}, .on_missing = Missing::kMean})
                .kind,
            Kind::kNumber);
}

TEST(DescribeTable, MissingValuesAreDealtWithAsAsked) {
  const auto numbers = [](int i) { return i % 10 == 3 ? "" : std::to_string(i % 5); };
  EXPECT_THAT(ErrorOfX(30, numbers),
              AllOf(HasSubstr("line 5, column 2 (\"x\")"), HasSubstr("one of 3 in this column"),
                    HasSubstr("data.missing = \"mean\"")));
  const TableColumn mean = XOf(30, numbers, {.on_missing = Missing::kMean});
  EXPECT_TRUE(mean.has_missing);
  EXPECT_FALSE(mean.indicate);
  EXPECT_TRUE(XOf(30, numbers, {.on_missing = Missing::kIndicate}).indicate);
  EXPECT_FALSE(XOf(30, numbers, {.on_missing = Missing::kDropRow}).has_missing);
  const auto whole = [](int i) { return std::to_string(i % 5); };
  EXPECT_FALSE(XOf(30, whole, {.on_missing = Missing::kIndicate}).indicate);
  // A missing category is one more, whatever is said of numbers.
  const auto words = [](int i) { return i % 10 == 3 ? "?" : Of({"red", "blue"}, i); };
  EXPECT_TRUE(XOf(30, words).has_missing);
  // A third answer of yes and no is a category, unless it is to be filled.
  const auto answers = [](int i) { return i % 10 == 3 ? "" : Of({"yes", "no"}, i); };
  EXPECT_EQ(XOf(30, answers).kind, Kind::kCategory);
  EXPECT_EQ(XOf(30, answers, {.on_missing = Missing::kMean}).kind, Kind::kYesNo);
}

TEST(DescribeTable, ConstantColumnsAreNoError) {
  EXPECT_EQ(XOf(30, [](int) { return "7"; }).role, Role::kFeature);
  EXPECT_THAT(XOf(30, [](int) { return "red"; }).categories, ElementsAre("red"));
}

TEST(DescribeTable, DatesAreOfOneForm) {
  const auto form = [](const std::string& first, const std::string& second,
                       const TableOptions& options = {}) {
    return XOf(
               30,
               [&](int i) {
                 return Of({first, second}, i);
               },
               options)
        .date;
  };
  EXPECT_EQ(form("2020-04-03", "2020-12-30"), DateForm::kYearMonthDay);
  EXPECT_EQ(form("30.4.2020", "1.12.2020"), DateForm::kDayMonthYear);
  EXPECT_EQ(form("04/30/2020", "12/01/2020"), DateForm::kMonthDayYear);
  std::string remarks;
  const TableColumn either = XOf(
      30,
      [](int i) {
        return Of({"03/04/2020", "01/02/2020"}, i);
      },
      {}, &remarks);
  EXPECT_EQ(either.date, DateForm::kDayMonthYear);
  EXPECT_THAT(remarks, HasSubstr("data.types = [\"x=date, month first\"]"));
  EXPECT_EQ(form("03/04/2020", "01/02/2020", Typed("date, month first")), DateForm::kMonthDayYear);
  EXPECT_EQ(form("03/04/2020", "01/02/2020", Typed("date, day first")), DateForm::kDayMonthYear);
  EXPECT_THAT(ErrorOfX(
                  30,
                  [](int i) {
                    return Of({"30/04/2020", "01/02/2020"}, i);
                  },
                  Typed("date, month first")),
              AllOf(HasSubstr("\"30/04/2020\""), HasSubstr("month")));
  EXPECT_TRUE(XOf(30, [](int i) {
                return Of({"2020-04-03 12:30", "2020-12-30 01:00"}, i);
              }).has_time);
}

TEST(DescribeTable, TimesOfTheDayAreDatesOfNoDay) {
  const auto time = [](int i) {
    return std::to_string(i * 7 % 24) + ":" + std::to_string(10 + i % 50);
  };
  const TableColumn column = XOf(30, time);
  EXPECT_EQ(column.kind, Kind::kDate);
  EXPECT_EQ(column.role, Role::kFeature);
  EXPECT_EQ(column.date, DateForm::kTimeOfDay);
  EXPECT_TRUE(column.has_time);
  std::string remark;
  XOf(30, time, {}, &remark);
  EXPECT_THAT(remark, HasSubstr("is read as times of the day; if they are something else"));
  EXPECT_EQ(XOf(30, time, Typed("date")).date, DateForm::kTimeOfDay);
  EXPECT_THAT(ErrorOfX(30, time, Typed("date, day first")), HasSubstr("is no date"));
  std::string remarks;
  XOf(30, time, {.time = CsvColumn(std::string("x"))}, &remarks);
  EXPECT_THAT(remarks, HasSubstr("time of the day alone"));
  // Beside a moment it is none.
  EXPECT_THAT(ErrorOfX(
                  30, [&](int i) { return i == 9 ? "2020-01-02" : time(i); }, Typed("date")),
              HasSubstr("\"2020-01-02\" is no date"));
}

TEST(DescribeTable, WhatLooksLikeSomethingElseIsSaid) {
  std::string remarks;
  const auto said = [&](const std::vector<std::string>& cells, TableOptions options = {}) {
    XOf(
        60, [&](int i) { return Of(cells, i); }, options, &remarks);
    return remarks;
  };
  EXPECT_THAT(said({"01234", "99999", "00501"}),
              AllOf(HasSubstr("\"x\") is read as numbers, though \"01234\""),
                    HasSubstr("data.types = [\"x=category\"]")));
  for (const char* plain : {"0", "0.5", "10", "-1"})
    EXPECT_THAT(said({"3", plain}), Not(HasSubstr("as codes are"))) << plain;
  for (const char* padded : {"00.50", "0012.5"})
    EXPECT_THAT(said({"3", padded}), Not(HasSubstr("as codes are"))) << padded;
  EXPECT_THAT(said({"01234", "9"}, Typed("number")), Not(HasSubstr("as codes are")));

  using Texts = std::vector<std::string>;
  for (const Texts& wrapped : {Texts{"$5", "\"$1,003\""},
                               {"40 %", "5%"},
                               {"40.5 %", "\"40,5 %\""},
                               {"<0.1", "<5"},
                               {"50 kg", "7kg"},
                               {"€ 5", "€1"}}) {
    EXPECT_THAT(said(wrapped), HasSubstr("\"x\") is read as words; without")) << wrapped[0];
    EXPECT_THAT(said({wrapped[0], "word"}), Not(HasSubstr("without what"))) << wrapped[0];
  }
  for (const Texts& other : {Texts{"A12", "A13"},
                             {"40-49", "50-59"},
                             {"1.2.3.4", "1.2.3.5"},
                             {"1A", "1B"},
                             {"<50", ">=50"},
                             {"5 mg", "1 g"},
                             {"1+", "2+"},
                             {"(3.5)", "(2.5)"},
                             {"#1", "#2"}})
    EXPECT_THAT(said(other), Not(HasSubstr("without what"))) << other[0];
  const auto amount = [](int i) { return "$" + std::to_string(1000 + i); };
  XOf(60, amount, {}, &remarks);
  EXPECT_THAT(remarks,
              AllOf(HasSubstr("is left out: all its texts differ; data.types = [\"x=category\"]"),
                    HasSubstr("keeps it; without what stands around")));
  EXPECT_THAT(ErrorOfX(60, [](int i) { return i % 9 == 4 ? "<0.1" : "0." + std::to_string(i); }),
              AllOf(HasSubstr("\"<0.1\" is not a number"), HasSubstr("take it away in the file")));

  EXPECT_THAT(said({"Oslo", "Bern", "oslo"}), HasSubstr("\"Oslo\" and \"oslo\" differ in capital"));
  EXPECT_THAT(said({"Oslo", "Bern", "Oslo "}), Not(HasSubstr("differ in capital")));
  std::string target = "k,y\n";
  for (int i = 0; i < 30; ++i)
    target += std::to_string(i % 7) + "," + Of({"Yes", "no", "yes"}, i) + "\n";
  std::string price = "k,y\n";
  for (int i = 0; i < 60; ++i) price += std::to_string(i % 7) + ",$" + std::to_string(i % 9) + "\n";
  EXPECT_THAT(RemarksOf(Parsed(price)), HasSubstr("(\"y\") is read as words; without what"));
  EXPECT_THAT(RemarksOf(Parsed(target)),
              HasSubstr("(\"y\"): \"Yes\" and \"yes\" differ in capital"));
}

TEST(DescribeTable, WhereNoColumnIsLeftTheFirstReasonIsTold) {
  EXPECT_THAT(ErrorOf(Rows(
                  40, [](int i) { return std::to_string(i) + " kg"; }, "weight,y\n")),
              AllOf(HasSubstr("no column is left to learn from beside the target: column 1 "
                              "(\"weight\") is left out: all its texts differ"),
                    HasSubstr("\"0 kg\" would be numbers")));
  EXPECT_THAT(ErrorOf("y\n1\n2\n1\n"), HasSubstr("there is no other"));
  std::string dated = "when,y\n";
  for (int i = 0; i < 30; ++i) dated += Of({"03/04/2020,1\n", "01/02/2020,2\n"}, i);
  EXPECT_THAT(ErrorOf(dated, {.time = CsvColumn(int64_t{0})}), HasSubstr("there is no other"));
}

TEST(DescribeTable, NumbersThatAFloatWouldBlurAreStoredAsDoubles) {
  // Seconds since 1970, minutes apart: a float has steps of 128.
  EXPECT_TRUE(XOf(30, [](int i) { return std::to_string(1700000000 + 61 * (i % 13)); }).exact);
  EXPECT_FALSE(XOf(30, [](int i) { return std::to_string(1000 + 61 * (i % 13)); }).exact);
  EXPECT_FALSE(XOf(30, [](int i) { return std::to_string(i % 13) + ".5"; }).exact);
  EXPECT_THAT(ErrorOfX(30, [](int i) { return i == 3 ? "1e39" : "1"; }),
              AllOf(HasSubstr("column 2 (\"x\")"), HasSubstr("too large")));
}

TEST(DescribeTable, TheTaskIsToldByTheTarget) {
  const auto task = [](const std::function<std::string(int)>& target, std::string* remarks) {
    std::string text = "x,y\n";
    for (int i = 0; i < 60; ++i) text += std::to_string(i * i % 7) + "," + target(i) + "\n";
    const Table table = Parsed(text);
    *remarks = RemarksOf(table);
    return table.description.task;
  };
  std::string said;
  EXPECT_EQ(task([](int i) { return Of({"ill", "well"}, i); }, &said), Task::kBinary);
  EXPECT_THAT(said, HasSubstr("data.task = \"binary\""));
  EXPECT_EQ(task([](int i) { return std::to_string(1 + i % 2); }, &said), Task::kBinary);
  EXPECT_EQ(task([](int i) { return Of({"a", "b", "c"}, i); }, &said), Task::kClasses);
  EXPECT_THAT(said, AllOf(HasSubstr("data.task = \"classes\""), Not(HasSubstr("regression"))));
  EXPECT_EQ(task([](int i) { return std::to_string(i % 5); }, &said), Task::kClasses);
  EXPECT_THAT(said, HasSubstr("data.task = \"regression\""));
  EXPECT_EQ(task([](int i) { return std::to_string(i * 3); }, &said), Task::kRegression);
  EXPECT_EQ(task([](int i) { return std::to_string(i % 5) + ".5"; }, &said), Task::kRegression);
}

TEST(DescribeTable, TargetsAreWhatTheTaskSays) {
  const std::string digits = "x,y\n1,0\n2,1\n9,2\n4,2\n";
  EXPECT_EQ(Parsed(digits, {.task = Task::kRegression}).description.columns[1].kind, Kind::kNumber);
  EXPECT_THAT(Parsed(digits, {.task = Task::kClasses}).description.columns[1].categories,
              ElementsAre("0", "1", "2"));
  // Classes may be numbers and texts, words for yes and no, dates, or beyond a float.
  for (const std::string y : {"1,2,x", "1,2,inf", "yes,no,yes", "2020-01-01,2020-01-02,2020-01-01",
                              "1e300,2e300,1e300", "1,2,1e999"}) {
    std::string text = "x,y\n";
    for (size_t at = 0; at < y.size();) {
      const size_t end = std::min(y.find(',', at), y.size());
      text += std::to_string(at) + "," + y.substr(at, end - at) + "\n";
      at = end + 1;
    }
    EXPECT_EQ(ErrorOf(text, {.task = Task::kClasses}), "(no error)") << y;
  }
  EXPECT_THAT(ErrorOf("x,y\n1,2\n2,2\n5,NA\n", {.task = Task::kRegression}),
              AllOf(HasSubstr("line 4"), HasSubstr("missing target")));
  EXPECT_THAT(ErrorOf("x,y\n1,NA\n2,NA\n", {}), HasSubstr("no row has a value of the target"));
}

TEST(DescribeTable, OneColumnHasOneRole) {
  const std::string text = "k,w,g,t,y\n1,1,a,1,p\n2,1,a,2,q\n5,2,b,3,p\n";
  const Table table = Parsed(text, {.weight = "w", .group = "g", .time = "t"});
  const auto role = [&](size_t i) { return table.description.columns[i].role; };
  EXPECT_EQ(role(1), Role::kWeight);
  EXPECT_EQ(role(2), Role::kGroup);
  EXPECT_EQ(role(3), Role::kTime);
  EXPECT_EQ(role(4), Role::kTarget);
  EXPECT_THAT(ErrorOf(text, {.weight = "y"}),
              AllOf(HasSubstr("column 5 (\"y\")"), HasSubstr("target"), HasSubstr("weight")));
  EXPECT_THAT(ErrorOf(text, {.weight = "w", .group = "w"}), HasSubstr("at once"));
  EXPECT_THAT(ErrorOf(text, {.group = "g", .ignored = {"g"}}), HasSubstr("at once"));
  EXPECT_EQ(Parsed(text, {.ignored = {"w", int64_t{1}}}).description.columns[1].role,
            Role::kLeftOut);
  EXPECT_THAT(ErrorOf(text, {.types = {{"y", "left out"}}}), HasSubstr("at once"));
  EXPECT_THAT(ErrorOf("w,x,y\n-1,1,p\n1,2,q\n", {.weight = "w"}), HasSubstr("negative weight"));
}

TEST(DescribeTable, NothingLeftToLearnFromIsAnError) {
  EXPECT_THAT(ErrorOf("id,y\n1,p\n2,q\n3,p\n4,q\n"),
              AllOf(HasSubstr("no column is left"), HasSubstr("data.types")));
}

}  // namespace
}  // namespace lockstep
