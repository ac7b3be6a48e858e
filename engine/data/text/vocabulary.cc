#include "engine/data/text/vocabulary.h"

#include "engine/base/check.h"
#include "engine/data/byte_source.h"

namespace lockstep {

Vocabulary::Vocabulary(std::string_view text) {
  std::array<bool, 256> used{};
  for (const char c : text) used[static_cast<unsigned char>(c)] = true;
  for (size_t c = 0; c < used.size(); ++c) {
    token_[c] = used[c] ? static_cast<int32_t>(characters_.size()) : -1;
    if (used[c]) characters_ += static_cast<char>(c);
  }
}

Result<std::vector<int32_t>> Vocabulary::Encode(std::string_view text) const {
  std::vector<int32_t> tokens(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    tokens[i] = token_[static_cast<unsigned char>(text[i])];
    if (tokens[i] < 0) {
      return Status::Invalid("character " + std::to_string(i) + " of " + ShownText(text) +
                             " is not in the vocabulary of " + std::to_string(size()) +
                             " characters");
    }
  }
  return tokens;
}

std::string Vocabulary::Decode(std::span<const int32_t> tokens) const {
  std::string text;
  for (const int32_t token : tokens) {
    LOCKSTEP_CHECK(token >= 0 && token < size(), std::to_string(token));
    text += characters_[static_cast<size_t>(token)];
  }
  return text;
}

}  // namespace lockstep
