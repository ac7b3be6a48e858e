// Texts cut into the pieces within which GPT-2's encoder merges bytes.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_GPT2_WORDS_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_GPT2_WORDS_H_

#include <cstddef>
#include <string_view>

namespace lockstep::inline v0_1 {

// The bytes of the first piece of `text`: what this pattern of GPT-2 (openai/gpt-2, encoder.py)
// matches at its beginning, which is never nothing:
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// A byte that begins no well-formed UTF-8 counts as a character that is neither letter, number nor
// space. REQUIRES: text is not empty.
size_t FirstWordSize(std::string_view text);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_GPT2_WORDS_H_
