#include "engine/data/text/bpe_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/data/text/bpe_tokenizer.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kVocabulary =
    R"({"a": 0, "b": 1, "c": 2, "Ġ": 3, "ab": 4, "bc": 5, "abc": 6, "<|endoftext|>": 7})";
const std::string kMerges = "#version: 0.2\na b\nb c\nab c\n";

std::string Json(const std::string& model, const std::string& rest = "") {
  return R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "model": )" +
         model + rest + "}";
}
const std::string kModel =
    R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]})";

std::string BpeError(const std::string& vocabulary, const std::string& merges) {
  return ParseBpe(vocabulary, merges).status().message();
}
std::string JsonError(const std::string& text) {
  return ParseTokenizerJson(text).status().message();
}
std::vector<int32_t> Encode(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> tokens;
  EXPECT_TRUE(tokenizer.Encode(text, tokens).ok());
  return tokens;
}

TEST(BpeFilesTest, MergesInTheOrderTheyWereLearned) {
  const auto tokenizer = ParseBpe(kVocabulary, kMerges).value();
  EXPECT_EQ(tokenizer->size(), 8);
  EXPECT_THAT(Encode(*tokenizer, "abc"), ElementsAre(6));
  EXPECT_THAT(Encode(*tokenizer, "bcabab"), ElementsAre(5, 4, 4));
  EXPECT_THAT(Encode(*tokenizer, "a bc"), ElementsAre(0, 3, 5));
  // b and c first: a stays alone.
  const auto other = ParseBpe(kVocabulary, "b c\na b\nab c\n").value();
  EXPECT_THAT(Encode(*other, "abc"), ElementsAre(0, 5));
}

TEST(BpeFilesTest, TextNeverGivesTheEndOfText) {
  const std::string vocabulary =
      R"({"<": 0, "|": 1, "endoftext": 2, ">": 3, "<|": 4, "|>": 5, "<|endoftext|>": 6,
          "e":7,"n":8,"d":9,"o":10,"f":11,"t":12,"x":13})";
  const auto tokenizer = ParseBpe(vocabulary, "< |\n| >\n").value();
  EXPECT_EQ(tokenizer->end_of_text(), 6);
  EXPECT_THAT(Encode(*tokenizer, "<|endoftext|>"),
              ElementsAre(4, 7, 8, 9, 10, 11, 12, 7, 13, 12, 5));
}

TEST(BpeFilesTest, AByteWithoutATokenIsNamed) {
  const auto tokenizer = ParseBpe(kVocabulary, kMerges).value();
  std::vector<int32_t> tokens = {1};
  EXPECT_THAT(tokenizer->Encode("abcxa", tokens).message(),
              AllOf(HasSubstr("byte 3 of the text is 120"), HasSubstr("no token")));
  EXPECT_THAT(tokens, ElementsAre(1));
}

TEST(BpeFilesTest, WrongMergesAreNamedByTheirLine) {
  EXPECT_THAT(BpeError(kVocabulary, "#version: 0.2\na b\nabc\n"),
              AllOf(HasSubstr("line 3"), HasSubstr("\"abc\" is no merge")));
  EXPECT_THAT(BpeError(kVocabulary, "a b c\n"), HasSubstr("line 1"));
  EXPECT_THAT(BpeError(kVocabulary, "a b\n\nb c\n"), HasSubstr("line 2"));
  EXPECT_THAT(BpeError(kVocabulary, "a b\na "), HasSubstr("line 2"));
  EXPECT_THAT(BpeError(kVocabulary, "a b\nb c\na z\n"),
              AllOf(HasSubstr("merge 3"), HasSubstr("no token \"z\"")));
  EXPECT_THAT(BpeError(kVocabulary, "a c\n"), HasSubstr("no token \"ac\""));
  EXPECT_THAT(BpeError(kVocabulary, "a b\nb c\na b\n"),
              AllOf(HasSubstr("merge 3"), HasSubstr("is merge 1 already")));
  EXPECT_THAT(BpeError(kVocabulary, "a 日\n"), HasSubstr("no two tokens of a byte-level"));
  EXPECT_TRUE(ParseBpe(kVocabulary, "a b\r\nb c\r\n").ok());
}

TEST(BpeFilesTest, WrongNumbersOfTokensAreNamed) {
  EXPECT_THAT(BpeError("[1]", ""), HasSubstr("not JSON with an object"));
  EXPECT_THAT(BpeError("{\"a\": 0", ""), HasSubstr("not JSON"));
  EXPECT_THAT(BpeError(R"({"a": 0, "b": 0})", ""), HasSubstr("both the number 0"));
  EXPECT_THAT(BpeError(R"({"a": 0, "b": 2})", ""), HasSubstr("no token has the number 1"));
  EXPECT_THAT(BpeError(R"({"a": 0, "b": -1})", ""), HasSubstr("\"-1\""));
  EXPECT_THAT(BpeError(R"({"a": 0, "b": 1.5})", ""), HasSubstr("\"1.5\""));
  EXPECT_THAT(BpeError(R"({"a": 99999999999})", ""), HasSubstr("\"99999999999\""));
  EXPECT_THAT(BpeError(R"({"▁a": 0})", ""), HasSubstr("stands for no byte"));
  EXPECT_THAT(BpeError("{}", ""), HasSubstr("none"));
}

TEST(BpeFilesTest, TokenizerJsonReadsBothFormsOfMerges) {
  const std::string lists =
      R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]})";
  for (const std::string& model : {kModel, lists}) {
    const auto tokenizer = ParseTokenizerJson(Json(model)).value();
    EXPECT_THAT(Encode(*tokenizer, "aab"), ElementsAre(0, 2));
    EXPECT_EQ(tokenizer->end_of_text(), -1);
  }
  const auto with = ParseTokenizerJson(
      Json(kModel, R"(, "added_tokens": [{"id": 3, "content": "<|endoftext|>", "special": true},
                                         {"id": 4, "content": "<pad>", "special": true}])"));
  EXPECT_EQ((*with)->size(), 5);
  EXPECT_EQ((*with)->end_of_text(), 3);
  EXPECT_EQ((*with)->Bytes(4), "<pad>");
}

// Each changes the tokens of some text, and is none of what is known.
TEST(BpeFilesTest, OtherKindsOfTokenizerAreRefusedByName) {
  EXPECT_THAT(JsonError("not"), HasSubstr("not JSON"));
  EXPECT_THAT(JsonError("{}"), HasSubstr("no model"));
  EXPECT_THAT(JsonError(Json(R"({"type": "Unigram"})")), HasSubstr("another kind than BPE"));
  EXPECT_THAT(JsonError(Json(R"({"type": "BPE", "dropout": 0.1})")), HasSubstr("model.dropout"));
  EXPECT_THAT(JsonError(Json(R"({"type": "BPE", "byte_fallback": true})")),
              HasSubstr("model.byte_fallback"));
  EXPECT_THAT(JsonError(Json(R"({"type": "BPE"})")), HasSubstr("model.vocab"));
  EXPECT_THAT(JsonError(Json(R"({"type": "BPE", "vocab": {}})")), HasSubstr("model.merges"));
  EXPECT_THAT(JsonError(Json(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [7]})")),
              HasSubstr("number 1"));
  EXPECT_THAT(JsonError(Json(kModel, R"(, "normalizer": {"type": "NFC"})")),
              HasSubstr("normalizer"));
  EXPECT_THAT(JsonError("{\"model\": " + kModel + "}"), HasSubstr("pre_tokenizer"));
  EXPECT_THAT(
      JsonError(R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true}, "model": )" +
                kModel + "}"),
      HasSubstr("pre_tokenizer"));
  EXPECT_THAT(JsonError(Json(kModel, R"(, "added_tokens": [{"id": 3, "content": "  "}])")),
              HasSubstr("not special"));
  EXPECT_THAT(JsonError(Json(kModel, R"(, "added_tokens": [3])")), HasSubstr("without an id"));
  EXPECT_THAT(JsonError(Json(kModel, R"(, "added_tokens": [
                  {"id": 2, "content": "x", "special": true}])")),
              HasSubstr("both the number 2"));
}

TEST(BpeFilesTest, ReadsFoldersAndFilesCompressedOrNot) {
  const TemporaryFolder folder;
  EXPECT_THAT(ReadBpe(folder.path()).status().message(), HasSubstr("neither tokenizer.json nor"));
  SpillGzip(folder / "vocab.json.gz", kVocabulary);
  EXPECT_THAT(ReadBpe(folder.path()).status().message(), HasSubstr("neither tokenizer.json nor"));
  Spill(folder / "merges.txt", kMerges);
  EXPECT_EQ(ReadBpe(folder.path()).value()->size(), 8);
  Spill(folder / "merges.txt", "a\n");
  EXPECT_THAT(ReadBpe(folder.path()).status().message(),
              AllOf(HasSubstr(folder.path()), HasSubstr("line 1")));
  Spill(folder / "tokenizer.json", Json(kModel));
  EXPECT_EQ(ReadBpe(folder.path()).value()->size(), 3);
  EXPECT_EQ(ReadBpe(folder / "tokenizer.json").value()->size(), 3);
  EXPECT_THAT(ReadBpe(folder / "nowhere").status().message(), HasSubstr("no such file"));
  Spill(folder / "tokenizer.json", "");
  EXPECT_THAT(ReadBpe(folder.path()).status().message(), HasSubstr("empty"));
}

TEST(BpeFilesTest, EveryByteHasACharacterOfItsOwn) {
  std::string all, back;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string characters = BpeCharacters(all);
  EXPECT_THAT(characters, AllOf(HasSubstr("ABC"), HasSubstr("Ġ")));
  EXPECT_EQ(BpeCharacters(" \n"), "ĠĊ");
  ASSERT_TRUE(BpeBytes(characters, back));
  EXPECT_EQ(back, all);
  EXPECT_FALSE(BpeBytes(" ", back));
  EXPECT_FALSE(BpeBytes("\xFF", back));
  EXPECT_FALSE(BpeBytes("日", back));
}

// Texts from damaged files are read or refused, never worse.
TEST(BpeFilesTest, DamagedFilesAreReadOrRefused) {
  Random random(1, 2);
  const std::string json = Json(kModel);
  for (int i = 0; i < 2000; ++i) {
    (void)ParseBpe(Damaged(kVocabulary, random), Damaged(kMerges, random));
    (void)TokenizerFrom(Damaged(json, random));
  }
}

}  // namespace
}  // namespace lockstep
