// Descriptions of tokenizers: tokenizer.json, and those of our own. What is accepted must describe
// itself so that it reads back to the same, and decode what it encodes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/text/tokenizer.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = TokenizerFrom(text);
  if (!tokenizer.ok()) {
    Require(tokenizer.status().message().size() < 2000);
    Require(tokenizer.status().message().find('\n') == std::string::npos);
    return 0;
  }
  Require((*tokenizer)->size() > 0);
  const std::string description = (*tokenizer)->Description();
  const auto back = TokenizerFrom(description);
  Require(back.ok());
  Require((*back)->Description() == description);
  Require((*back)->end_of_text() == (*tokenizer)->end_of_text());
  std::vector<int32_t> tokens;
  const Status encoded = (*tokenizer)->Encode(text, tokens);
  if (!encoded.ok()) {
    Require(tokens.empty());
    return 0;
  }
  Require((*tokenizer)->Decode(tokens) == text);
  for (const int32_t token : tokens) Require(token >= 0 && token < (*tokenizer)->size());
  return 0;
}
