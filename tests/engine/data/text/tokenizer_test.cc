#include "engine/data/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/data/text/byte_tokenizer.h"
#include "engine/data/text/character_class.h"
#include "engine/data/text/character_tokenizer.h"
#include "engine/data/text/gpt2_words.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int32_t> Encode(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> tokens;
  EXPECT_TRUE(tokenizer.Encode(text, tokens).ok());
  return tokens;
}
std::string CharactersOf(const Tokenizer& tokenizer) {
  std::string characters;
  for (int32_t token = 0; token < tokenizer.size(); ++token) characters += tokenizer.Bytes(token);
  return characters;
}
std::string EveryByte() {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 37 % 256);
  return text;
}

TEST(CharacterTokenizerTest, NumbersDistinctCharactersByTheirCodePoints) {
  const auto tokenizer = MakeCharacterTokenizer("banána\n\xFF日\x80");
  EXPECT_EQ(tokenizer->kind(), "characters");
  EXPECT_EQ(CharactersOf(*tokenizer), "\nabná日\x80\xFF");
  EXPECT_EQ(tokenizer->size(), 8);
  EXPECT_THAT(Encode(*tokenizer, "ná\xFF日b"), ElementsAre(3, 4, 7, 5, 2));
  EXPECT_EQ(tokenizer->end_of_text(), -1);
  EXPECT_EQ(MakeCharacterTokenizer("")->size(), 0);
}

TEST(CharacterTokenizerTest, DecodingUndoesEncoding) {
  for (const std::string& text :
       {EveryByte(), std::string("日本\0語", 10), std::string("\xE2\x82")}) {
    const auto tokenizer = MakeCharacterTokenizer(text);
    EXPECT_EQ(tokenizer->Decode(Encode(*tokenizer, text)), text);
  }
}

TEST(CharacterTokenizerTest, UnknownCharactersAndTokensAreRefused) {
  const auto tokenizer = MakeCharacterTokenizer("abc\n");
  std::vector<int32_t> tokens = {2};
  EXPECT_THAT(tokenizer->Encode("a\nbx", tokens).message(),
              AllOf(HasSubstr("character 3 (line 2) is \"x\""), HasSubstr("none of the 4")));
  EXPECT_THAT(tokenizer->Encode("é", tokens).message(), HasSubstr("is \"é\""));
  EXPECT_THAT(tokenizer->Encode("\xFF", tokens).message(), HasSubstr("the byte 255"));
  EXPECT_THAT(tokens, ElementsAre(2));
  EXPECT_THROW(tokenizer->Bytes(4), CheckFailure);
  EXPECT_THROW(tokenizer->Bytes(-1), CheckFailure);
}

// The facts that shared/data/tinyshakespeare/README.md states.
TEST(CharacterTokenizerTest, ShakespeareHasSixtyFiveCharacters) {
  LOCKSTEP_NEEDS_REAL_FILE("tinyshakespeare/input.txt");
  const std::string text = Slurp(RealFile("tinyshakespeare/input.txt"));
  EXPECT_EQ(text.size(), 1115394u);
  EXPECT_EQ(CharactersOf(*MakeCharacterTokenizer(text)),
            "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}

TEST(ByteTokenizerTest, EachByteIsItsNumber) {
  const auto tokenizer = MakeByteTokenizer();
  EXPECT_EQ(tokenizer->size(), 256);
  EXPECT_THAT(Encode(*tokenizer, "a\xFF"), ElementsAre(97, 255));
  EXPECT_EQ(tokenizer->Decode(Encode(*tokenizer, EveryByte())), EveryByte());
  EXPECT_THROW(tokenizer->Bytes(256), CheckFailure);
}

TEST(TokenizerTest, DescriptionsReadBackToTheSame) {
  for (const auto& tokenizer :
       {MakeByteTokenizer(), MakeCharacterTokenizer("abc\"\\\n\x01日"),
        MakeCharacterTokenizer(EveryByte()), MakeCharacterTokenizer("\x80\xBF\xC3\xFF")}) {
    const std::string description = tokenizer->Description();
    const auto back = TokenizerFrom(description);
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ((*back)->kind(), tokenizer->kind());
    EXPECT_EQ((*back)->Description(), description);
    EXPECT_EQ(CharactersOf(**back), CharactersOf(*tokenizer));
  }
}

TEST(TokenizerTest, HostileDescriptionsAreRefused) {
  const auto error = [](const std::string& text) { return TokenizerFrom(text).status().message(); };
  EXPECT_THAT(error(""), HasSubstr("not JSON"));
  EXPECT_THAT(error("[]"), HasSubstr("not JSON"));
  EXPECT_THAT(error(std::string(100000, '[')), HasSubstr("not JSON"));
  EXPECT_THAT(error("{}"), HasSubstr("does not say its kind"));
  EXPECT_THAT(error(R"({"kind": 3})"), HasSubstr("does not say its kind"));
  EXPECT_THAT(error(R"({"kind": "words"})"), HasSubstr("unknown kind \"words\""));
  EXPECT_THAT(error(R"({"kind": "characters"})"), HasSubstr("lacks"));
  EXPECT_THAT(error(R"({"kind": "characters", "characters": "", "bytes": []})"),
              HasSubstr("no characters"));
  for (const std::string bytes : {"256", "-1", "\"a\"", "5, 5", "7, 3", "1.5"}) {
    EXPECT_THAT(error(R"({"kind": "characters", "characters": "a", "bytes": [)" + bytes + "]}"),
                HasSubstr("list of bytes"))
        << bytes;
  }
  EXPECT_THAT(error(R"({"model": 1})"), HasSubstr("no model"));
  EXPECT_THAT(error("{\"kind\": \"characters\", \"characters\": \"\xFF\", \"bytes\": []}"),
              HasSubstr("not JSON"));
}

// make_character_classes.py --figures: how many of each, and an FNV-1a hash over all.
TEST(CharacterClassTest, IsThatOfUnicodeForEveryCodePoint) {
  std::vector<int64_t> counts(4);
  uint64_t hash = 0xCBF29CE484222325;
  for (int32_t point = 0; point < 0x110000; ++point) {
    const auto kind = static_cast<size_t>(ClassOf(point));
    ++counts[kind];
    hash = (hash ^ kind) * 0x100000001B3;
  }
  EXPECT_THAT(counts, ElementsAre(966491, 145672, 1924, 25));
  EXPECT_EQ(hash, 0x8e2a00405ef14546u);
  EXPECT_EQ(ClassOf(-1), CharacterClass::kOther);
  EXPECT_EQ(ClassOf(0x7FFFFFFF), CharacterClass::kOther);
}

TEST(Gpt2WordsTest, WordsAreThoseOfThePattern) {
  const auto words = [](std::string_view text) {
    std::vector<std::string> all;
    while (!text.empty()) {
      const size_t size = FirstWordSize(text);
      all.emplace_back(text.substr(0, size));
      text.remove_prefix(size);
    }
    return all;
  };
  EXPECT_THAT(words("I can't, you've 'S"),
              ElementsAre("I", " can", "'t", ",", " you", "'ve", " '", "S"));
  EXPECT_THAT(words("a  b\n\nc \n"), ElementsAre("a", " ", " b", "\n", "\n", "c", " \n"));
  EXPECT_THAT(words("x12é٣ !?"), ElementsAre("x", "12", "é", "٣", " !?"));
  EXPECT_THAT(words(" \xC3 \xA9"), ElementsAre(" \xC3", " \xA9"));
  EXPECT_THAT(words(" "), ElementsAre(" "));
}

}  // namespace
}  // namespace lockstep
