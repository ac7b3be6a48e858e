#include "engine/data/table/table_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/random.h"
#include "engine/data/table/row_scanner.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/data/table/all_rows.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Row = std::vector<std::string>;

TEST(TableTextTest, LineEndsBlankLinesMarksBlanksAndQuotesDoNotMatter) {
  for (const std::string text : {
           "a,b\n1,2\n3,4\n",
           "a,b\n1,2\n3,4",
           "a,b\r\n1,2\r\n3,4\r\n",
           "a,b\r1,2\r3,4\r",
           "a,b\r1,2\r3,4",
           "\xEF\xBB\xBF"
           "a,b\n1,2\n3,4\n",
           "\n\na,b\n\n1,2\n  \t\n3,4\n\n\n",
           " a , b \n 1 ,2\t\n3,  4  \n",
           "\"a\",\"b\"\n\"1\",2\n3, \"4\" \n",
       }) {
    const TableText table = Opened(text);
    EXPECT_THAT(table.names(), ElementsAre("a", "b")) << text;
    EXPECT_THAT(AllRows(table), ElementsAre(Row{"1", "2"}, Row{"3", "4"})) << text;
  }
}

TEST(TableTextTest, QuotedCellsMayHoldAnything) {
  const TableText table =
      Opened("n,t\n1,\"a, b\"\n2,\"say \"\"hi\"\"\"\n3,\"two\r\nlines\"\n4,5\" pipe\n5,\"\"\n");
  EXPECT_THAT(AllRows(table),
              ElementsAre(Row{"1", "a, b"}, Row{"2", "say \"hi\""}, Row{"3", "two\nlines"},
                          Row{"4", "5\" pipe"}, Row{"5", ""}));
  EXPECT_EQ(AllLines(table), (std::vector<int64_t>{2, 3, 4, 6, 7}));
}

TEST(TableTextTest, AnEmptyLineInATableOfOneColumnIsARow) {
  EXPECT_THAT(AllRows(Opened("x\n1\n\n3\n")), ElementsAre(Row{"1"}, Row{""}, Row{"3"}));
  EXPECT_THAT(AllRows(Opened("x\r\n1\r\n\r\n3")), ElementsAre(Row{"1"}, Row{""}, Row{"3"}));
  EXPECT_THAT(AllRows(Opened("x\n1\n\"\"\n3\n")), ElementsAre(Row{"1"}, Row{""}, Row{"3"}));
}

std::string Utf16(const std::string& latin1, bool big, bool mark) {
  std::string out;
  const auto put = [&](unsigned unit) {
    const char high = static_cast<char>(unit >> 8), low = static_cast<char>(unit & 255);
    out += big ? high : low;
    out += big ? low : high;
  };
  if (mark) put(0xFEFF);
  for (const char c : latin1) put(static_cast<unsigned char>(c));
  return out;
}

TEST(TableTextTest, Utf16AndLatin1BecomeUtf8) {
  const std::string latin1 =
      "town,gr\xF6\xDF"
      "e\nZ\xFCrich,1\nK\xF6ln,2\nBern,3\n";
  const std::vector<Row> want = {{"Z\xC3\xBCrich", "1"}, {"K\xC3\xB6ln", "2"}, {"Bern", "3"}};
  for (const bool big : {false, true}) {
    for (const bool mark : {false, true}) {
      const TableText table = Opened(Utf16(latin1, big, mark));
      EXPECT_THAT(table.names(), ElementsAre("town",
                                             "gr\xC3\xB6\xC3\x9F"
                                             "e"));
      EXPECT_EQ(AllRows(table), want);
    }
  }
  const TableText table = Opened(latin1);
  EXPECT_THAT(table.names(), ElementsAre("town",
                                         "gr\xC3\xB6\xC3\x9F"
                                         "e"));
  EXPECT_EQ(AllRows(table), want);
  EXPECT_THAT(table.remarks(), Contains(HasSubstr("Latin-1")));
  // The euro sign of Windows.
  EXPECT_EQ(AllRows(Opened("p,q\n\x80,1\n"))[0][0], "\xE2\x82\xAC");
  EXPECT_THAT(ErrorOf("p,q\n1,2\nZ\xFCrich,1\n", {.encoding = Dialect::Encoding::kUtf8}),
              AllOf(HasSubstr("line 3"), HasSubstr("UTF-8"), HasSubstr("data.encoding")));
  EXPECT_THAT(ErrorOf(std::string("a,b\n1,\0\n", 8)), AllOf(HasSubstr("line 2"), HasSubstr("NUL")));
  std::string half = Utf16("a,b\n1,2\n", false, true);
  half += std::string("\x00\xD8,", 3);  // half a pair, then half a character
  EXPECT_THAT(ErrorOf(half), HasSubstr("UTF-16"));
}

// The first letters beyond ASCII may come late.
TEST(TableTextTest, TheEncodingIsFoundFarBehindTheBeginning) {
  std::string text = "a,b\n";
  while (text.size() < (3 << 20)) text += "some word,another\n";
  const TableText latin1 = Opened(text + "Z\xFCrich,x\n");
  EXPECT_EQ(AllRows(latin1).back()[0], "Z\xC3\xBCrich");
  const TableText utf8 = Opened(text + "Z\xC3\xBCrich,x\n");
  EXPECT_EQ(AllRows(utf8).back()[0], "Z\xC3\xBCrich");
}

TEST(TableTextTest, ErrorsNameTheLineAndWhatToDo) {
  EXPECT_THAT(ErrorOf("a,b\n1,2\n3\n"),
              AllOf(HasSubstr("t.csv: line 3: 1 cell,"), HasSubstr("2 columns")));
  EXPECT_THAT(
      ErrorOf("a,b\n1,2\n\"3,4\n5,6\n"),
      AllOf(HasSubstr("line 3, column 1"), HasSubstr("not closed"), HasSubstr("data.quote")));
  EXPECT_THAT(ErrorOf("a,b\n1,2\n\"3\" x,4\n"),
              AllOf(HasSubstr("line 3, column 1"), HasSubstr("closing quote")));
  EXPECT_THAT(ErrorOf("a,b\n1," + std::string(RowScanner::kLongestCell + 1, 'x') + "\n"),
              AllOf(HasSubstr("line 2, column 2"), HasSubstr("longer than")));
  EXPECT_THAT(TableText::OpenFile("/no/such/file", {}).status().message(),
              HasSubstr("no such file"));
}

// A table of some megabytes with quotes, line ends in them, and every kind of cell.
std::string LargeText(const std::string& line_end, int rows, Random& random) {
  std::string text = "id,text,x" + line_end;
  for (int i = 0; i < rows; ++i) {
    text += std::to_string(i) + ",";
    switch (random.Below(6)) {
      case 0:
        text += "\"a, \"\"quoted\"\" text" + line_end + "of two lines\"";
        break;
      case 1:
        text += "5\" pipe and 'more'";
        break;
      case 2:
        text += "  \"\"  ";
        break;
      default:
        text += std::string(random.Below(160), 'w');
        break;
    }
    text += "," + std::to_string(random.Below(1000)) + line_end;
    if (random.Below(50) == 0) text += line_end;
  }
  return text;
}

TEST(TableTextTest, ThreadsChangeNothing) {
  const TemporaryFolder folder;
  for (const std::string line_end : {"\n", "\r\n", "\r"}) {
    Random random(/*seed=*/5, StreamOf("text"));
    const std::string text = LargeText(line_end, 200000, random);
    ASSERT_GT(text.size(), size_t{9} << 20) << "else one thread reads it";
    const std::string path = folder.path() + "/t.csv";
    Spill(path, text);
    const auto table = TableText::OpenFile(path, {});
    ASSERT_TRUE(table.ok()) << table.status().message();
    Collector one;
    ASSERT_TRUE(Collect(*table, 1, one).ok());
    ASSERT_EQ(one.rows.size(), 200000u);
    for (size_t i = 0; i < one.rows.size(); ++i) ASSERT_EQ(one.rows[i][0], std::to_string(i));
    // Lines, counted otherwise.
    const auto line_of = [&](size_t row) {
      const size_t place = text.find(line_end + one.rows[row][0] + ",");
      int64_t lines = 1;
      for (size_t at = text.find(line_end); at <= place; at = text.find(line_end, at + 1)) ++lines;
      return lines;
    };
    for (const size_t row : {size_t{0}, size_t{77777}, size_t{199999}})
      EXPECT_EQ(one.lines[row], line_of(row));
    for (const int threads : {2, 7}) {
      Collector many;
      ASSERT_TRUE(Collect(*table, threads, many).ok());
      EXPECT_EQ(many.rows, one.rows);
      EXPECT_EQ(many.lines, one.lines);
    }
    // The same compressed.
    if (line_end != "\n") continue;
    SpillGzip(path + ".gz", text);
    const auto packed = TableText::OpenFile(path + ".gz", {});
    ASSERT_TRUE(packed.ok()) << packed.status().message();
    Collector unpacked;
    ASSERT_TRUE(Collect(*packed, 3, unpacked).ok());
    EXPECT_EQ(unpacked.rows, one.rows);
  }
}

TEST(TableTextTest, TheFirstErrorOfTheFileIsReturnedWhateverTheThreads) {
  std::string text = "a,b\n";
  std::vector<size_t> begins;
  for (int i = 0; i < 800000; ++i) {
    begins.push_back(text.size());
    text += "12345,67890\n";
  }
  text[begins[700000] + 5] = '5';  // one cell
  text[begins[500000] + 5] = '5';
  for (const int threads : {1, 2, 5}) {
    const TableText table = Opened(text);
    Collector all;
    EXPECT_THAT(Collect(table, threads, all).message(), HasSubstr("t.csv: line 500002: 1 cell"));
    // All parts in front of the one that failed were taken.
    EXPECT_LE(all.rows.size(), 500000u);
    EXPECT_GT(all.rows.size(), 200000u);
  }
}

class Failing final : public RowVisitor {
 public:
  explicit Failing(bool throws) : throws_(throws) {}
  Status Visit(const TableRow& row) override {
    if (row.line < 500000) return Status::Ok();
    if (throws_) throw std::runtime_error("a bug");
    return Status::Invalid("line " + std::to_string(row.line) + " is not liked");
  }

 private:
  bool throws_;
};

TEST(TableTextTest, ErrorsOfVisitorsEndTheReading) {
  std::string text = "a,b\n";
  for (int i = 0; i < 750000; ++i) text += "12345,67890\n";
  const TableText table = Opened(text);
  const auto take = [](RowVisitor&) { return Status::Ok(); };
  for (const int threads : {1, 3}) {
    EXPECT_EQ(
        table.ForEachRow([] { return std::make_unique<Failing>(false); }, take, threads).message(),
        "line 500000 is not liked");
    EXPECT_THROW(
        (void)table.ForEachRow([] { return std::make_unique<Failing>(true); }, take, threads),
        std::runtime_error);
    EXPECT_EQ(table
                  .ForEachRow([] { return std::make_unique<Collector>(); },
                              [](RowVisitor&) { return Status::Invalid("enough"); }, threads)
                  .message(),
              "enough");
  }
}

TEST(TableTextTest, ProgressGoesUpOnTheCallersThread) {
  std::string text = "a,b\n";
  for (int i = 0; i < 750000; ++i) text += "12345,67890\n";
  const TemporaryFolder folder;
  Spill(folder.path() + "/t.csv", text);
  const auto table = TableText::OpenFile(folder.path() + "/t.csv", {});
  ASSERT_TRUE(table.ok());
  std::vector<double> shares;
  const auto caller = std::this_thread::get_id();
  ASSERT_TRUE(table
                  ->ForEachRow([] { return std::make_unique<Collector>(); },
                               [](RowVisitor&) { return Status::Ok(); }, 2,
                               [&](double share) {
                                 EXPECT_EQ(std::this_thread::get_id(), caller);
                                 shares.push_back(share);
                               })
                  .ok());
  ASSERT_GT(shares.size(), 2u);
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_EQ(shares.back(), 1.0);
}

TEST(TableTextTest, AnyTextSurvivesQuoting) {
  Random random(/*seed=*/3, StreamOf("quoting"));
  const std::string letters = "ab ,;\"'\n\r\t#x1.";
  for (int round = 0; round < 300; ++round) {
    std::vector<Row> rows;
    std::string text = "first,second\n";
    for (int i = 0; i < 20; ++i) {
      Row row;
      for (int c = 0; c < 2; ++c) {
        std::string cell = "x";  // blanks at the ends do not count
        for (uint64_t k = random.Below(6); k > 0; --k)
          cell += letters[random.Below(letters.size())];
        cell += "y";
        row.push_back(cell);
        text += "\"";
        for (const char letter : cell) text += letter == '"' ? "\"\"" : std::string(1, letter);
        text += c == 0 ? "\"," : "\"\n";
        for (size_t at = cell.find('\r'); at != std::string::npos; at = cell.find('\r')) {
          if (at + 1 < cell.size() && cell[at + 1] == '\n')
            cell.erase(at, 1);
          else
            cell[at] = '\n';
        }
        row.back() = cell;
      }
      rows.push_back(row);
    }
    ASSERT_EQ(AllRows(Opened(text, {.delimiter = ',', .quote = '"', .header = true})), rows)
        << text;
  }
}

// Wherever a text is cut, the rows up to there and those behind it are the rows of the whole.
TEST(TableTextTest, WholeRowsEndWhereRowsEnd) {
  Random random(/*seed=*/9, StreamOf("cuts"));
  for (const std::string line_end : {"\n", "\r\n", "\r"}) {
    for (const char delimiter : {',', '\t', ' '}) {
      Dialect dialect{.delimiter = delimiter, .comment = '#'};
      const std::string d(1, delimiter);
      const std::string cells[] = {
          "1", "\"a" + d + "b\"", "\"x\"\"" + line_end + "y\"", "5\"6", "\"\"", "it's"};
      std::string text;
      for (int i = 0; i < 30; ++i) {
        if (random.Below(6) == 0) text += "# a " + d + "\" comment" + line_end;
        text += cells[random.Below(6)] + d + " " + cells[random.Below(6)] + " " + d +
                cells[random.Below(6)] + line_end;
      }
      const auto rows_of = [&](std::string_view part, int64_t line) {
        RowScanner scanner(dialect, false);
        EXPECT_TRUE(scanner.Start(part, line).ok());
        std::vector<Row> rows;
        for (;;) {
          const Result<bool> more = scanner.Next();
          EXPECT_TRUE(more.ok()) << more.status().message();
          if (!more.ok() || !*more) return rows;
          Row row(scanner.cells().begin(), scanner.cells().end());
          row.push_back(std::to_string(scanner.line()));
          rows.push_back(row);
        }
      };
      const std::vector<Row> all = rows_of(text, 1);
      ASSERT_EQ(all.size(), 30u);
      for (size_t cut = 0; cut <= text.size(); ++cut) {
        int64_t lines = 0;
        const size_t end = WholeRows(std::string_view(text).substr(0, cut), dialect, lines);
        ASSERT_LE(end, cut);
        std::vector<Row> rows = rows_of(std::string_view(text).substr(0, end), 1);
        const std::vector<Row> rest = rows_of(std::string_view(text).substr(end), 1 + lines);
        rows.insert(rows.end(), rest.begin(), rest.end());
        ASSERT_EQ(rows, all) << cut << " " << end;
      }
      int64_t lines = 0;
      // CR at the very end may be followed by LF.
      if (line_end != "\r") {
        EXPECT_EQ(WholeRows(text, dialect, lines), text.size());
      }
    }
  }
}

TEST(TableTextTest, DamagedTextNeverCrashes) {
  Random random(/*seed=*/4, StreamOf("damage"));
  const std::string text = "# c\nsep=;\na,b,c\n1,\"x, y\",2.5\n3,'z',\"1,234\"\n4,\xC3\xBC,5\n";
  for (int i = 0; i < 3000; ++i) {
    const std::string damaged = Damaged(text, random);
    const std::string error = ErrorOf(damaged);
    EXPECT_LT(error.size(), 1000u);
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace lockstep
