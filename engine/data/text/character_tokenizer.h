// The characters of a text, numbered.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_CHARACTER_TOKENIZER_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_CHARACTER_TOKENIZER_H_

#include <memory>
#include <string_view>

#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {

// The distinct characters of `text` (UTF-8) in ascending order of their code points, and behind
// them the distinct bytes that belong to no well-formed character; token i is the i-th of them.
// kind() is "characters". It has no end_of_text(). Description(): a JSON object
//   {"kind": "characters", "characters": "\nabc...", "bytes": [255]}
std::shared_ptr<const Tokenizer> MakeCharacterTokenizer(std::string_view text);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_CHARACTER_TOKENIZER_H_
