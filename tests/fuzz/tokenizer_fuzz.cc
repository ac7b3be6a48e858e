// Any bytes as a text. What is encoded must decode to the same bytes, by a small byte-level encoder
// and by the characters of the text itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/text/bpe_tokenizer.h"
#include "engine/data/text/character_tokenizer.h"
#include "engine/data/text/gpt2_words.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

namespace {

// All bytes, and merges of letters, spaces and pieces of UTF-8.
std::shared_ptr<const Tokenizer> SmallBpe() {
  std::vector<BpeToken> tokens;
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back({std::string(1, static_cast<char>(byte))});
  const std::vector<BpeMerge> merges = {
      {"a", "a"},   {"aa", "aa"},     {"a", "b"},        {" ", "a"}, {" ", " "}, {"  ", "  "},
      {"\n", "\n"}, {"\xC3", "\xA9"}, {" ", "\xC3\xA9"}, {"'", "s"}, {"1", "2"}, {"aa", "b"}};
  for (const BpeMerge& merge : merges) tokens.push_back({merge.left + merge.right});
  tokens.push_back({std::string(kEndOfTextToken), true});
  return MakeBpeTokenizer(std::move(tokens), merges).value();
}

void Check(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> tokens;
  Require(tokenizer.Encode(text, tokens).ok());
  Require(tokens.size() <= text.size());
  Require(tokenizer.Decode(tokens) == text);
  for (const int32_t token : tokens) Require(token != tokenizer.end_of_text());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::shared_ptr<const Tokenizer> bpe = SmallBpe();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Check(*bpe, text);
  const std::shared_ptr<const Tokenizer> characters = MakeCharacterTokenizer(text);
  Check(*characters, text);
  if (size == 0) return 0;
  const auto back = TokenizerFrom(characters->Description());
  Require(back.ok() && (*back)->size() == characters->size());
  Check(**back, text);
  for (std::string_view rest = text; !rest.empty();) {
    const size_t word = FirstWordSize(rest);
    Require(word > 0 && word <= rest.size());
    rest.remove_prefix(word);
  }
  return 0;
}
