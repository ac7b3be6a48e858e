#include "engine/data/text/text_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/data/text/byte_tokenizer.h"
#include "engine/data/text/character_tokenizer.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text, const TextTableOptions& options = {}) {
  return ParseTextTable(text, "t.csv", options).status().message();
}

TEST(TextTableTest, DocumentsAreCutOrFilledUpOnTheRight) {
  const TextTable table = ParseTextTable("ab,x\n\"a,\nb\",y\nabcdef,x\n", "t.csv").value();
  EXPECT_THAT(table.documents, ElementsAre("ab", "a,\nb", "abcdef"));
  const auto tokenizer = MakeByteTokenizer();
  const TextTableData data = TokenizeTable(table, tokenizer, 4).value();
  const DatasetInfo& info = data.dataset->info();
  EXPECT_EQ(info.x_shape, Shape{4});
  EXPECT_EQ(info.target_shape, Shape{});
  EXPECT_EQ(info.classes, 2);
  EXPECT_EQ(info.vocabulary, 256);
  EXPECT_TRUE(info.padded);
  EXPECT_EQ(info.tokenizer, tokenizer);
  EXPECT_THAT(info.class_names, ElementsAre("x", "y"));
  EXPECT_EQ(data.cut, 1);
  EXPECT_THAT(data.dataset->StoredX(0).span<int32_t>(), ElementsAre('a', 'b', -1, -1));
  EXPECT_THAT(data.dataset->StoredX(1).span<int32_t>(), ElementsAre('a', ',', '\n', 'b'));
  EXPECT_THAT(data.dataset->StoredX(2).span<int32_t>(), ElementsAre('a', 'b', 'c', 'd'));
  EXPECT_EQ(data.dataset->StoredTarget(1).span<int32_t>()[0], 1);
}

TEST(TextTableTest, ColumnsAreFoundByNameOrNumber) {
  const std::string text = "id,label,review\n1,good,fine\n2,bad,poor\n";
  const TextTable named =
      ParseTextTable(text, "t.csv", {.text = "review", .label = "label"}).value();
  EXPECT_THAT(named.documents, ElementsAre("fine", "poor"));
  EXPECT_THAT(named.classes, ElementsAre("bad", "good"));
  EXPECT_THAT(named.labels, ElementsAre(1, 0));
  const TextTable numbered =
      ParseTextTable(text, "t.csv",
                     {.dialect = {.header = true}, .text = int64_t{2}, .label = int64_t{1}})
          .value();
  EXPECT_EQ(numbered.documents, named.documents);
  EXPECT_THAT(ErrorOf(text, {.text = "body", .label = "label"}), HasSubstr("no text column"));
  EXPECT_THAT(ErrorOf(text, {.text = "label", .label = "label"}), HasSubstr("at once"));
}

TEST(TextTableTest, BinaryTargetsAreZeroAndOne) {
  const TextTable table =
      ParseTextTable("a,no\nb,yes\n", "t.csv", {.binary = true, .positive = "no"}).value();
  const TextTableData data = TokenizeTable(table, MakeByteTokenizer(), 1).value();
  EXPECT_EQ(data.dataset->info().task, Task::kBinary);
  EXPECT_EQ(data.dataset->StoredTarget(0).f32()[0], 1.0f);
  EXPECT_EQ(data.dataset->StoredTarget(1).f32()[0], 0.0f);
  EXPECT_THAT(ErrorOf("a,1\nb,2\nc,3\n", {.binary = true}), HasSubstr("needs two labels"));
}

TEST(TextTableTest, EmptyDocumentsAreCountedAndLeftOut) {
  const TextTable table = ParseTextTable("a,1\n,2\nb,2\n\"\",1\n", "t.csv").value();
  EXPECT_THAT(table.documents, ElementsAre("a", "b"));
  EXPECT_EQ(table.empty, 2);
  EXPECT_EQ(table.first_empty_line, 2);
  EXPECT_THAT(ErrorOf(",1\n,2\n"), HasSubstr("no document that is not empty (2 are)"));
}

TEST(TextTableTest, WrongTablesSayWhere) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf("a,1\nb\nc,1\nd,2\n"), AllOf(HasSubstr("line 2"), HasSubstr("1 cell")));
  EXPECT_THAT(ErrorOf("a,1\nb,\n"), AllOf(HasSubstr("line 2"), HasSubstr("label is missing")));
  EXPECT_THAT(ErrorOf("a,1\nb,1\n"), HasSubstr("same label"));
  EXPECT_THAT(ErrorOf("a,1\n", {.dialect = {.delimiter = '"'}}), HasSubstr("delimiter"));
  const TextTable table = ParseTextTable("ab,x\nax,y\n", "t.csv").value();
  EXPECT_THAT(TokenizeTable(table, MakeCharacterTokenizer("ab"), 2).status().message(),
              AllOf(HasSubstr("t.csv: document 2"), HasSubstr("\"x\"")));
  EXPECT_FALSE(TokenizeTable(table, MakeByteTokenizer(), 0).ok());
}

TEST(TextTableTest, ReadsCompressedFiles) {
  const TemporaryFolder folder;
  SpillGzip(folder / "t.csv.gz", "a,1\nb,2\n");
  EXPECT_EQ(LoadTextTable(folder / "t.csv.gz").value().documents.size(), 2u);
  EXPECT_THAT(LoadTextTable(folder / "none").status().message(), HasSubstr("no such file"));
}

TEST(TextTable, ToPredictFromNeedsNoLabel) {
  TextTableOptions options{.text = "text", .label = "label", .unlabelled = true};
  for (const char* csv : {"label,text\nx,one\n,two\n", "text\none\ntwo\n"}) {
    const auto table = ParseTextTable(csv, "t.csv", options);
    ASSERT_TRUE(table.ok()) << table.status().message();
    EXPECT_EQ(table->documents, (std::vector<std::string>{"one", "two"}));
    EXPECT_TRUE(table->classes.empty());
  }
  options = {.text = int64_t{1}, .label = int64_t{0}, .unlabelled = true};
  const auto alone = ParseTextTable("one\ntwo\n", "t.csv", options);
  ASSERT_TRUE(alone.ok()) << alone.status().message();
  EXPECT_EQ(alone->documents.size(), 2u);
  const auto empty = ParseTextTable("one\n\"\"\n", "t.csv", options);
  ASSERT_FALSE(empty.ok());
  EXPECT_THAT(empty.status().message(), HasSubstr("line 2, column 1: the text is missing"));
}

// What the reader of all tables can do.
TEST(TextTable, IsWrittenAsPeopleWriteIt) {
  for (const std::string text :
       {"said,team\nbuy,a\n\"meet, now\",b\n", "said;team\nbuy;a\nmeet, now;b\n",
        "# mails\nsaid\tteam\nbuy\ta\nmeet, now\tb\n",
        "said,team\r\nbuy,a\r\n'meet, now','b'\r\n"}) {
    const auto table = ParseTextTable(text, "t.csv", {.text = "said", .label = "team"});
    ASSERT_TRUE(table.ok()) << table.status().message();
    EXPECT_THAT(table->documents, ElementsAre("buy", "meet, now")) << text;
    EXPECT_THAT(table->classes, ElementsAre("a", "b"));
  }
  const std::string latin1 = "said,team\ncaf\xE9,a\nno,b\n";
  const TextTable table =
      ParseTextTable(latin1, "t.csv", {.text = "said", .label = "team"}).value();
  EXPECT_EQ(table.documents[0], "caf\xC3\xA9");
  EXPECT_THAT(table.remarks, testing::Contains(HasSubstr("Latin-1")));
}

}  // namespace
}  // namespace lockstep
