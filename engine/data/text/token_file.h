// Files of tokens, one number after the other.
//
//   .bin   256 int32, then the tokens: 20240520, 1, count, 0, ... and uint16; or 20240801, 7,
//          count, 0, ... and uint32 (llm.c, dev/data/data_common.py)
//   .bin   uint16 alone (nanoGPT, data/*/prepare.py), where that is asked for
//   .npy   an array of one dimension, uint16, uint32, int32 or int64
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_FILE_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_FILE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "engine/data/text/token_stream.h"

namespace lockstep::inline v0_1 {

enum class TokenFileKind {
  kAuto,   // by its first bytes: .bin with a header, or NPY
  kPlain,  // uint16 without a header
};

// .bin files are mapped (MappedFile), of any size. Errors carry the path: a size that contradicts
// the header's count, with both; an odd size; no tokens; a token that is not below `vocabulary`.
Result<std::shared_ptr<const TokenStream>> OpenTokenFile(const std::string& path,
                                                         int64_t vocabulary,
                                                         TokenFileKind kind = TokenFileKind::kAuto);

// NAME.npy: int32. Else .bin with a header, uint16 where `vocabulary` is at most 65536, uint32
// beyond; at most 2^31 - 1 tokens, which is all that its header can say. Atomic.
Status WriteTokenFile(const std::string& path, std::span<const int32_t> tokens, int64_t vocabulary);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_FILE_H_
