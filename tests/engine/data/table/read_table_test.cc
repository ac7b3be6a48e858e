// Tables read for a model, and tables in any dialect.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/data/table/parsed_tables.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Missing = TableOptions::Missing;
using Role = TableColumn::Role;

// A table of each kind of column, and the model's description of it.
constexpr char kText[] =
    "id,age,town,smokes,seen,y\n"
    "1,30.5,Oslo,yes,2020-01-31,ill\n"
    "2,41,Rome,no,2021-06-01,well\n"
    "3,57.25,Oslo,no,2020-12-24,ill\n"
    "4,33,Oslo,yes,2019-05-17,well\n";
struct Model {
  Table table;
  TableDescription description;
  Samples samples;
};
Model Trained(std::string_view text = kText, const TableOptions& options = {}) {
  Model model{.table = Parsed(text, options), .description = {}, .samples = {}};
  model.description = Scaled(model.table, AllRows(model.table));
  model.samples = SamplesOf(model.table, model.description);
  return model;
}
Samples ReadFor(const Model& model, std::string_view text, const TableNeeds& needs = {},
                std::string* remarks = nullptr) {
  const auto table = ParseTableFor(text, "o.csv", model.description, needs);
  if (!table.ok()) throw std::runtime_error(table.status().message());  // fails the test
  if (remarks != nullptr) *remarks = RemarksOf(*table);
  return SamplesOf(*table, model.description);
}

TEST(ReadTableFor, TheTrainingTableGivesTheSameSamples) {
  const Model model = Trained();
  const Samples samples = ReadFor(model, kText, {.target = true});
  EXPECT_EQ(samples.x, model.samples.x);
  EXPECT_EQ(samples.targets, model.samples.targets);
  EXPECT_EQ(samples.info.feature_names, model.samples.info.feature_names);
}

TEST(ReadTableFor, ColumnsAreFoundByNameInAnyOrder) {
  const Model model = Trained();
  const Samples samples = ReadFor(model,
                                  "seen,extra,smokes,town,age\n"
                                  "2020-01-31,x,yes,Oslo,30.5\n"
                                  "2021-06-01,y,no,Rome,41\n");
  EXPECT_EQ(samples.row(0), model.samples.row(0));
  EXPECT_EQ(samples.row(1), model.samples.row(1));
  EXPECT_THAT(ErrorFor("seen,smokes,town,aeg\n2020-01-31,yes,Oslo,3\n", model.description),
              AllOf(HasSubstr("o.csv"), HasSubstr("no column \"age\""),
                    HasSubstr("the nearest is \"aeg\"")));
  EXPECT_THAT(ErrorFor("age,town,smokes,seen\n3,Oslo,yes,2020-01-31\n", model.description,
                       {.target = true}),
              HasSubstr("no column \"y\""));
}

TEST(ReadTableFor, AnotherDialectIsReadAsWell) {
  const Model model = Trained();
  for (const char* text :
       {"age;town;smokes;seen\n30,5;Oslo;yes;2020-01-31\n41;Rome;no;2021-06-01\n",
        "age\ttown\tsmokes\tseen\n30.5\tOslo\tyes\t2020-01-31\n"
        "41\t'Rome'\tno\t'2021-06-01'\n",
        "# from the ward\nage,town,smokes,seen,\n30.5,Oslo,yes,2020-01-31,\n"
        "41,Rome,no,2021-06-01,\n"}) {
    const Samples samples = ReadFor(model, text);
    EXPECT_EQ(samples.row(0), model.samples.row(0)) << text;
    EXPECT_EQ(samples.row(1), model.samples.row(1)) << text;
  }
}

// One number of a decimal comma alone cannot be told from thousands by looking.
TEST(ReadTableFor, NumbersAreWrittenAsInTheTableTrainedOn) {
  const std::string text = "a;b;y\n1,125;2;p\n2,5;4;q\n3,75;9;p\n";
  const Model model = Trained(text);
  EXPECT_EQ(model.description.dialect.number.decimal, ',');
  EXPECT_EQ(ReadFor(model, "a;b\n1,125;2\n").row(0), model.samples.row(0));
  EXPECT_EQ(ReadFor(model, "a;b\n2,5;4\n").row(0), model.samples.row(1));
  // And if it has a decimal point after all.
  EXPECT_EQ(ReadFor(model, "a,b\n1.125,2\n2.5,4\n").row(0), model.samples.row(0));
  std::string remarks;
  EXPECT_EQ(ReadFor(model, "a;b\n1.125;2\n2.5;4\n", {}, &remarks).row(1), model.samples.row(1));
  EXPECT_THAT(remarks, HasSubstr("decimal point"));
}

// Three forms: as in training, without the target, the features alone.
TEST(ReadTableFor, WithoutAHeaderColumnsAreFoundByPlace) {
  const Model model = Trained();
  std::string remarks;
  for (const char* text : {"1,30.5,Oslo,yes,2020-01-31,ill\n2,41,Rome,no,2021-06-01,well\n",
                           "1,30.5,Oslo,yes,2020-01-31\n2,41,Rome,no,2021-06-01\n",
                           "30.5,Oslo,yes,2020-01-31\n41,Rome,no,2021-06-01\n"}) {
    const Samples samples = ReadFor(model, text, {}, &remarks);
    EXPECT_EQ(samples.row(0), model.samples.row(0)) << text;
    EXPECT_EQ(samples.row(1), model.samples.row(1)) << text;
    EXPECT_THAT(remarks, HasSubstr("by their places"));
  }
  EXPECT_THAT(ErrorFor("30.5,Oslo,yes\n41,Rome,no\n", model.description),
              AllOf(HasSubstr("it has 3 columns"), HasSubstr("on 6"), HasSubstr("needs 4")));
  // With what is to be compared with, the target is needed: five columns are not six.
  EXPECT_THAT(ErrorFor("1,30.5,Oslo,yes\n1,41,Rome,no\n", model.description, {.target = true}),
              HasSubstr("it has 4 columns"));
  const Model plain = Trained("1,2,p\n2,3,q\n4,7,p\n");
  EXPECT_EQ(ReadFor(plain, "2,3\n").row(0), plain.samples.row(1));
  EXPECT_EQ(ReadFor(plain, "a,b\n2,3\n", {}, &remarks).row(0), plain.samples.row(1));
  EXPECT_THAT(remarks, HasSubstr("by their places"));
}

TEST(ReadTableFor, UnseenCategoriesAreCountedAndNamed) {
  const Model model = Trained();
  const auto table = ParseTableFor(
      "age,town,smokes,seen\n1,Bern,yes,2020-01-31\n2,Oslo,no,2020-01-31\n"
      "3,Bern,no,2020-01-31\n4,Pisa,no,2020-01-31\n",
      "o.csv", model.description, {});
  ASSERT_TRUE(table.ok()) << table.status().message();
  EXPECT_THAT(table->unseen, ElementsAre(0, 0, 3, 0, 0, 0));
  EXPECT_THAT(RemarksOf(*table), AllOf(HasSubstr("(\"town\"): 3 cells"), HasSubstr("\"Bern\""),
                                       HasSubstr("\"Pisa\"")));
  const Samples samples = SamplesOf(*table, model.description);
  // age, Oslo, Rome, ...
  EXPECT_EQ(samples.row(0)[1], 0.0f);
  EXPECT_EQ(samples.row(0)[2], 0.0f);
  EXPECT_EQ(samples.row(1)[1], 1.0f);
}

TEST(ReadTableFor, UnknownClassesAreNamed) {
  const Model model = Trained();
  EXPECT_THAT(ErrorFor("age,town,smokes,seen,y\n1,Oslo,yes,2020-01-31,dead\n", model.description,
                       {.target = true}),
              AllOf(HasSubstr("line 2, column 5 (\"y\"): \"dead\""), HasSubstr("\"ill\""),
                    HasSubstr("\"well\"")));
  // Where nothing is compared, nobody looks.
  EXPECT_EQ(ErrorFor("age,town,smokes,seen,y\n1,Oslo,yes,2020-01-31,dead\n", model.description),
            "(no error)");
}

TEST(ReadTableFor, MissingValuesAreErrorsOnlyWhereTheModelSawNone) {
  const Model model = Trained();
  const std::string lacks = "age,town,smokes,seen\nNA,Oslo,yes,2020-01-31\n3,,yes,2020-01-31\n";
  EXPECT_THAT(ErrorFor(lacks, model.description),
              AllOf(HasSubstr("line 2, column 1 (\"age\"): \"NA\""), HasSubstr("missing value")));
  const Model filled = Trained(kText, {.on_missing = Missing::kMean});
  const Samples samples = ReadFor(filled, lacks);
  EXPECT_EQ(samples.row(0)[0], 0.0f) << "the mean";
  const auto dropped = ParseTableFor(lacks, "o.csv", model.description, {.drop = true});
  EXPECT_THAT(dropped.status().message(), HasSubstr("all 2 rows"));
}

TEST(ReadTableFor, WrongCellsSayWhere) {
  const Model model = Trained();
  const auto error = [&](const std::string& row) {
    return ErrorFor("age,town,smokes,seen\n3,Oslo,yes,2020-01-31\n" + row + "\n",
                    model.description);
  };
  EXPECT_THAT(error("old,Oslo,yes,2020-01-31"),
              AllOf(HasSubstr("line 3, column 1 (\"age\"): \"old\""), HasSubstr("not a number")));
  EXPECT_THAT(error("1e39,Oslo,yes,2020-01-31"), HasSubstr("too large"));
  EXPECT_THAT(error("1,Oslo,perhaps,2020-01-31"), HasSubstr("\"perhaps\" is not yes or no"));
  EXPECT_THAT(error("1,Oslo,yes,31.1.2020"), HasSubstr("\"31.1.2020\" is not a date"));
  EXPECT_THAT(error("1,Oslo,yes"), HasSubstr("line 3"));
  EXPECT_THAT(ErrorFor("age,town,smokes,seen\n", model.description), HasSubstr("only a header"));
  EXPECT_THAT(ErrorFor("", model.description), HasSubstr("the file is empty"));
}

// A yes/no column may be written with other words, and 0 and 1 stand for them.
TEST(ReadTableFor, OtherWordsForYesAndNoAreUnderstood) {
  const Model model = Trained();
  const Samples samples = ReadFor(model,
                                  "age,town,smokes,seen\n30.5,Oslo,TRUE,2020-01-31\n"
                                  "41,Rome,f,2021-06-01\n30.5,Oslo,1,2020-01-31\n");
  EXPECT_EQ(samples.row(0), model.samples.row(0));
  EXPECT_EQ(samples.row(1), model.samples.row(1));
  EXPECT_EQ(samples.row(2), model.samples.row(0));
}

TEST(ReadTableFor, WeightsGroupsAndTimesAreReadWhereTheyAreNeeded) {
  const std::string text = "g,w,u,y\na,1,1,p\nb,2,2,q\na,3,4,p\n";
  const Model model = Trained(text, {.weight = "w", .group = "g"});
  const auto whole =
      ParseTableFor(text, "o.csv", model.description, {.target = true, .others = true});
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  EXPECT_EQ(whole->rows->at(1, 1).number, 2.0);
  EXPECT_TRUE(ParseTableFor("u\n1\n", "o.csv", model.description, {}).ok());
  EXPECT_THAT(ErrorFor("u,y\n1,p\n2,q\n", model.description, {.target = true, .others = true}),
              HasSubstr("no column \"g\""));
}

// Rows that have names in the table trained on, which were kept.
TEST(ReadTableFor, AColumnWithoutANameIsFoundByItsPlace) {
  const std::string text = ",u,y\nr1,1,p\nr2,2,q\nr3,5,p\n";
  const Model model = Trained(text, {.types = {{int64_t{0}, "category"}}});
  EXPECT_EQ(ReadFor(model, text).x, model.samples.x);
  EXPECT_THAT(ErrorFor("y,u\np,1\nq,2\n", model.description), HasSubstr("column 1"));
}

TEST(ReadTable, ADecimalCommaIsNoDelimiter) {
  for (const std::string header : {"", "age;sex;out\n"}) {
    const Table table = Parsed(header + "30,5;m;ill\n41,2;f;well\n41,2;m;ill\n");
    ASSERT_EQ(table.description.columns.size(), 3u) << header;
    EXPECT_EQ(table.rows->at(1, 0).number, static_cast<double>(41.2f));
  }
}

// ---------------------------------------------------------------- any table, in any dialect

struct Cell {
  TableColumn::Kind kind;
  double number;
  std::string text;
};
// A random table, and its text.
class RandomTable {
 public:
  explicit RandomTable(Random& random) : random_(random) {
    rows = 20 + static_cast<int64_t>(random.Below(60));
    const size_t columns = 2 + random.Below(5);
    for (size_t c = 0; c < columns; ++c) kinds.push_back(random.Below(3));
    for (int64_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c) cells.push_back(MakeCell(kinds[c], c));
      cells.push_back({TableColumn::Kind::kCategory, 0.0, r % 2 == 0 ? "first" : "second"});
    }
  }

  std::string Write() {
    const char delimiters[] = {',', ';', '\t', '|'};
    const char delimiter = delimiters[random_.Below(4)];
    const char decimal = delimiter != ',' && random_.Below(2) == 0 ? ',' : '.';
    const std::string end = random_.Below(2) == 0 ? "\n" : "\r\n";
    const bool mark = random_.Below(4) == 0, open = random_.Below(5) == 0;
    const bool quote_all = random_.Below(4) == 0, blanks = random_.Below(4) == 0;
    std::string text = mark ? "\xEF\xBB\xBF" : "";
    if (random_.Below(5) == 0) text += "# a comment" + end;
    for (size_t c = 0; c <= kinds.size(); ++c) {
      text += c == 0 ? "" : std::string(1, delimiter);
      text += c == kinds.size() ? "target" : "name " + std::to_string(c);
    }
    text += (open ? std::string(1, delimiter) : "") + end;
    for (size_t i = 0; i < cells.size(); ++i) {
      const bool last = (i + 1) % (kinds.size() + 1) == 0;
      std::string cell = cells[i].kind == TableColumn::Kind::kNumber
                             ? NumberText(cells[i].number, decimal)
                             : cells[i].text;
      const bool must =
          cell.find_first_of(std::string("\"\r\n,;\t|") + delimiter) != std::string::npos &&
          cells[i].kind != TableColumn::Kind::kNumber;
      if (must || quote_all || cell.find(delimiter) != std::string::npos) {
        std::string quoted = "\"";
        for (const char c : cell) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
        cell = quoted + "\"";
      }
      text += (blanks ? " " : "") + cell + (blanks ? " " : "");
      text += !last ? std::string(1, delimiter) : (open ? std::string(1, delimiter) : "") + end;
    }
    return text;
  }

  int64_t rows = 0;
  std::vector<uint64_t> kinds;
  std::vector<Cell> cells;  // (rows, columns + 1)

 private:
  // Numbers with fractions, categories of which some are in need of quotes, and yes and no.
  Cell MakeCell(uint64_t kind, size_t column) {
    if (kind == 0) {
      const auto number =
          static_cast<double>(static_cast<int64_t>(random_.Below(2000001)) - 1000000);
      return {TableColumn::Kind::kNumber, number / 1000.0, ""};
    }
    if (kind == 1) {
      const std::string texts[] = {"red", "a, b", "say \"hi\"", "x;y", "dark\nblue", "|"};
      return {TableColumn::Kind::kCategory, 0.0, texts[(random_.Below(3) + column) % 6]};
    }
    const bool yes = random_.Below(2) == 0;
    return {TableColumn::Kind::kYesNo, yes ? 1.0 : 0.0, yes ? "yes" : "no"};
  }
  static std::string NumberText(double number, char decimal) {
    char text[64];
    std::snprintf(text, sizeof text, "%.3f", number);
    std::string plain = text;
    std::replace(plain.begin(), plain.end(), '.', decimal);
    return plain;
  }

  Random& random_;
};

TEST(ReadTable, ARandomTableInARandomDialectIsReadBack) {
  Random random(11, StreamOf("tables"));
  for (int round = 0; round < 120; ++round) {
    RandomTable made(random);
    const std::string text = made.Write();
    SCOPED_TRACE(testing::PrintToString(text.substr(0, 400)));
    const auto table = ParseTable(text, "t.csv", {});
    ASSERT_TRUE(table.ok()) << table.status().message();
    const size_t columns = made.kinds.size() + 1;
    ASSERT_EQ(table->description.columns.size(), columns);
    ASSERT_EQ(table->rows->size(), made.rows);
    for (size_t i = 0; i < made.cells.size(); ++i) {
      const Cell& want = made.cells[i];
      const TableColumn& column = table->description.columns[i % columns];
      const CellValue value =
          table->rows->at(static_cast<int64_t>(i / columns), static_cast<int64_t>(i % columns));
      ASSERT_EQ(column.kind, want.kind) << "column " << i % columns;
      if (want.kind == TableColumn::Kind::kCategory) {
        ASSERT_EQ(column.categories[static_cast<size_t>(value.code)], want.text);
      } else {
        ASSERT_EQ(value.number, static_cast<double>(static_cast<float>(want.number)));
      }
    }
    // A model reads the same from the same table in another dialect.
    const auto again = ParseTableFor(made.Write(), "o.csv", table->description, {.target = true});
    ASSERT_TRUE(again.ok()) << again.status().message();
    ASSERT_TRUE(std::ranges::equal(again->rows->bytes(), table->rows->bytes()));
  }
}

TEST(ReadTable, AnyNumberOfThreadsReadsTheSame) {
  // More than one part of a file: parts are some megabytes.
  std::string text = "id,a,b,c,y\n";
  Random random(12, StreamOf("threads"));
  for (int64_t row = 0; text.size() < size_t{9} << 20; ++row) {
    text += std::to_string(row) + "," + std::to_string(random.Below(1000000)) + "." +
            std::to_string(random.Below(1000)) + ",\"t" + std::to_string(random.Below(300)) +
            (random.Below(50) == 0 ? "\n" : "") + "\"," +
            (random.Below(20) == 0 ? "NA" : std::to_string(random.Below(90))) +
            (random.Below(3) == 0 ? ",p\n" : ",q\n");
  }
  const TableOptions options{.on_missing = Missing::kIndicate};
  const Table one = Parsed(text, options);
  for (const int threads : {2, 3, 7}) {
    TableOptions more = options;
    more.threads = threads;
    const Table table = Parsed(text, more);
    EXPECT_EQ(table.content, one.content);
    EXPECT_EQ(table.description, one.description);
    EXPECT_EQ(table.remarks, one.remarks);
    const auto read = ParseTableFor(text, "t.csv", one.description,
                                    {.target = true, .others = true, .threads = threads});
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_TRUE(std::ranges::equal(read->rows->bytes(), one.rows->bytes()));
  }
  // Of errors, that of the first line is told.
  std::string broken = text;
  broken.insert(broken.rfind('\n', broken.size() - 2) + 1, "1,x,a,1,p\n");
  broken.insert(broken.find('\n', 5 << 20) + 1, "1,2,a,1\n");
  const std::string error = ErrorOf(broken, options);
  for (const int threads : {2, 7}) {
    TableOptions more = options;
    more.threads = threads;
    EXPECT_EQ(ErrorOf(broken, more), error);
  }
}

TEST(ReadTable, TheContentIsThatOfWhatIsStored) {
  const auto hash = [](const std::string& text, const TableOptions& options = {}) {
    return Parsed(text, options).content;
  };
  const uint64_t plain = hash("u,y\n1,p\n2,q\n");
  EXPECT_EQ(hash("u;y\r\n1.0;\"p\"\r\n2;q"), plain);
  EXPECT_NE(hash("u,y\n1,p\n3,q\n"), plain);
  EXPECT_NE(hash("v,y\n1,p\n2,q\n"), plain);
  EXPECT_NE(hash("u,y\n1,p\n2,r\n"), plain);
  EXPECT_NE(hash("u,y\n2,q\n1,p\n"), plain);
}

}  // namespace
}  // namespace lockstep
