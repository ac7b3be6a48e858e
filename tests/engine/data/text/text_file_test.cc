#include "engine/data/text/text_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/data/text/bpe_files.h"
#include "engine/data/text/byte_tokenizer.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(TextFileTest, ReadsAnyBytesPlainAndCompressed) {
  const TemporaryFolder folder;
  std::string text(200000, 'x');
  text += std::string("\0\xFF\r\n", 4);
  Spill(folder / "a.txt", text);
  SpillGzip(folder / "a.txt.gz", text);
  EXPECT_EQ(ReadTextFile(folder / "a.txt").value(), text);
  EXPECT_EQ(ReadTextFile(folder / "a.txt.gz").value(), text);
  EXPECT_THAT(ReadTextFile(folder / "a.txt", 1000).status().message(), HasSubstr("1000 bytes"));
  EXPECT_THAT(ReadTextFile(folder / "a.txt.gz", 1000).status().message(), HasSubstr("1000 bytes"));
  const std::string piece(65536, 'y');
  Spill(folder / "piece.txt", piece);
  EXPECT_EQ(ReadTextFile(folder / "piece.txt").value(), piece);
}

TEST(TextFileTest, EmptyFilesAndFoldersAreRefused) {
  const TemporaryFolder folder;
  EXPECT_THAT(ReadTexts(folder.path()).status().message(), HasSubstr("no file NAME.txt"));
  Spill(folder / "a.txt", "");
  EXPECT_THAT(ReadTexts(folder / "a.txt").status().message(), HasSubstr("empty"));
  EXPECT_THAT(ReadTexts(folder.path()).status().message(), HasSubstr("a.txt: the file is empty"));
  EXPECT_THAT(ReadTexts(folder / "none").status().message(), HasSubstr("no such file"));
}

TEST(TextFileTest, FoldersAreReadInTheOrderOfTheirNames) {
  const TemporaryFolder folder;
  Spill(folder / "b.txt", "B");
  SpillGzip(folder / "a.txt.gz", "A");
  Spill(folder / "c.txt", "C");
  Spill(folder / "notes.md", "no text");
  const std::vector<NamedText> texts = ReadTexts(folder.path()).value();
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_EQ(texts[0].name, folder / "a.txt.gz");
  EXPECT_THAT(EncodeTexts(*MakeByteTokenizer(), texts).value(), ElementsAre(65, 66, 67));
}

TEST(TextFileTest, SeveralTextsEndWithTheTokenForThat) {
  const auto bpe = ParseBpe(R"({"A": 0, "B": 1, "<|endoftext|>": 2})", "").value();
  const std::vector<NamedText> texts = {{"a", "A"}, {"b", "B"}};
  EXPECT_THAT(EncodeTexts(*bpe, texts).value(), ElementsAre(0, 2, 1, 2));
  EXPECT_THAT(EncodeTexts(*bpe, std::span(texts).first(1)).value(), ElementsAre(0));
  const std::vector<NamedText> unknown = {{"name.txt", "Ax"}};
  EXPECT_THAT(EncodeTexts(*bpe, unknown).status().message(), HasSubstr("name.txt: byte 1"));
}

}  // namespace
}  // namespace lockstep
