// Tokens of GPT-2's encoder against those that tests/golden/make_bpe.py gives.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/data/text/bpe_files.h"
#include "tests/engine/data/data_files.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using Json = nlohmann::json;

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// FNV-1a over the tokens as little-endian words.
std::string HashOf(const std::vector<int32_t>& tokens) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const int32_t token : tokens) {
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ (static_cast<uint32_t>(token) >> shift & 255)) * 0x100000001B3;
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016lx", static_cast<unsigned long>(hash));
  return text;
}

class BpeGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    LOCKSTEP_NEEDS_REAL_FILE("gpt2_bpe/vocab.json.gz");
    tokenizer_ = ReadBpe(RealFile("gpt2_bpe")).value();
    std::ifstream file(LOCKSTEP_SOURCE_DIR "/tests/golden/bpe.json");
    golden_ = Json::parse(file);
  }
  std::vector<int32_t> Encode(std::string_view text) const {
    std::vector<int32_t> tokens;
    EXPECT_TRUE(tokenizer_->Encode(text, tokens).ok());
    EXPECT_EQ(tokenizer_->Decode(tokens), text);
    return tokens;
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Json golden_;
};

TEST_F(BpeGolden, HasGpt2sVocabulary) {
  EXPECT_EQ(tokenizer_->kind(), "bpe");
  EXPECT_EQ(tokenizer_->size(), 50257);
  EXPECT_EQ(tokenizer_->end_of_text(), 50256);
  EXPECT_EQ(tokenizer_->Bytes(50256), "<|endoftext|>");
  EXPECT_EQ(tokenizer_->Bytes(995), " world");
}

// Hostile ones among them: broken and overlong UTF-8, surrogates, NUL, combining marks, emojis.
TEST_F(BpeGolden, EveryTextGivesTheReferencesTokens) {
  ASSERT_GE(golden_["cases"].size(), 200u);
  for (const Json& one : golden_["cases"]) {
    const std::string text = FromHex(one["text"]);
    EXPECT_EQ(Encode(text), one["tokens"].get<std::vector<int32_t>>()) << one["text"];
  }
}

// One word of a megabyte: quadratic work would take minutes.
TEST_F(BpeGolden, LongWordsGiveTheReferencesTokensInTime) {
  for (const Json& one : golden_["long"]) {
    const std::string unit = FromHex(one["unit"]);
    std::string text;
    for (int64_t i = 0; i < one["times"].get<int64_t>(); ++i) text += unit;
    const std::vector<int32_t> tokens = Encode(text);
    EXPECT_EQ(tokens.size(), one["count"].get<size_t>()) << one["unit"];
    EXPECT_EQ(HashOf(tokens), one["hash"].get<std::string>()) << one["unit"];
  }
}

TEST_F(BpeGolden, ShakespeareGivesTheReferencesTokens) {
  LOCKSTEP_NEEDS_REAL_FILE("tinyshakespeare/input.txt");
  const std::string text = Slurp(RealFile("tinyshakespeare/input.txt"));
  const Json& golden = golden_["shakespeare"];
  const std::vector<int32_t> whole = Encode(text);
  EXPECT_EQ(whole.size(), golden["count"].get<size_t>());
  EXPECT_EQ(HashOf(whole), golden["hash"].get<std::string>());
  std::vector<int32_t> by_line;
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    ASSERT_TRUE(
        tokenizer_->Encode(std::string_view(text).substr(begin, end - begin), by_line).ok());
  }
  EXPECT_EQ(by_line.size(), golden["count_by_line"].get<size_t>());
  EXPECT_EQ(HashOf(by_line), golden["hash_by_line"].get<std::string>());
}

TEST_F(BpeGolden, ItsDescriptionReadsBackToTheSame) {
  const std::string description = tokenizer_->Description();
  const auto back = TokenizerFrom(description).value();
  EXPECT_EQ(back->Description(), description);
  EXPECT_EQ(back->end_of_text(), 50256);
  for (const Json& one : golden_["cases"]) {
    std::vector<int32_t> tokens;
    ASSERT_TRUE(back->Encode(FromHex(one["text"]), tokens).ok());
    EXPECT_EQ(tokens, one["tokens"].get<std::vector<int32_t>>());
  }
}

}  // namespace
}  // namespace lockstep
