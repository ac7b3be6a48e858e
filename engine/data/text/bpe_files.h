// Byte pair encoders from files: GPT-2's vocab.json and merges.txt, or a tokenizer.json of Hugging
// Face's of that kind. Untrusted input.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_BPE_FILES_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_BPE_FILES_H_

#include <memory>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {

// `vocabulary`: a JSON object from tokens (in BpeCharacters) to their numbers, which are 0, 1, ...
// without a gap; a token "<|endoftext|>" is special. `merges`: a line for each, its parts with a
// space between, the first learned first; a first line "#version..." is passed over. Errors name
// the line or the token.
Result<std::shared_ptr<const Tokenizer>> ParseBpe(std::string_view vocabulary,
                                                  std::string_view merges);

// A tokenizer of the model "BPE" on bytes whose texts are split as GPT-2's are (pre-tokenizer
// "ByteLevel", without a space in front). added_tokens must be special. What it may say beside that
// and changes tokens (normalizer, dropout, byte fallback, prefixes) is refused by name; a
// post-processor, which puts tokens around a text, is left to the user of the tokens.
Result<std::shared_ptr<const Tokenizer>> ParseTokenizerJson(std::string_view text);

// From a file tokenizer.json, or a folder with one, or with vocab.json and merges.txt; each plain
// or compressed (.gz). Errors carry the path.
Result<std::shared_ptr<const Tokenizer>> ReadBpe(const std::string& path);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_BPE_FILES_H_
