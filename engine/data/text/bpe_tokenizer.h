// Byte pair encoding over bytes, as GPT-2 does it: a text is cut into words (gpt2_words.h), each
// word begins as its bytes, and of all neighbours the pair that was learned first is merged, until
// none is left that was learned.
//
// Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units", ACL 2016;
// Radford et al., "Language models are unsupervised multitask learners", 2019.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_BPE_TOKENIZER_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_BPE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {

struct BpeToken {
  std::string bytes;
  // Stands for something that is no text ("<|endoftext|>"): Encode never gives it, whatever the
  // text says, so that nobody can end a text by writing so. UTF-8.
  bool special = false;
};

struct BpeMerge {
  std::string left, right;  // bytes
};

// "<|endoftext|>": the special token of these bytes is end_of_text().
extern const std::string_view kEndOfTextToken;

// Errors: no tokens, two ordinary ones of the same bytes, a merge whose parts or whole are none of
// them or that comes twice; merges are counted from 1. A byte without a token is an error of
// Encode. kind() is "bpe", Description() a tokenizer.json of Hugging Face's (bpe_files.h reads it).
Result<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(std::vector<BpeToken> tokens,
                                                          const std::vector<BpeMerge>& merges);

// The characters by which the files of byte-level encoders stand for bytes, as UTF-8: printable
// ones of Latin-1 for themselves, others from U+0100 on.
std::string BpeCharacters(std::string_view bytes);
// The other way; false: a character stands for no byte.
bool BpeBytes(std::string_view characters, std::string& bytes);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_BPE_TOKENIZER_H_
