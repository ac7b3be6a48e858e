// Each byte a token: of 256, whatever the text.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_BYTE_TOKENIZER_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_BYTE_TOKENIZER_H_

#include <memory>

#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {

// kind() is "bytes", Description() {"kind": "bytes"}. It has no end_of_text().
std::shared_ptr<const Tokenizer> MakeByteTokenizer();

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_BYTE_TOKENIZER_H_
