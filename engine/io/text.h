// Text for files: JSON strings, UTF-8; and numbers (engine/base/text.h).
#ifndef LOCKSTEP_ENGINE_IO_TEXT_H_
#define LOCKSTEP_ENGINE_IO_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/text.h"  // IWYU pragma: export

namespace lockstep::inline v0_1 {

struct Utf8Character {
  int32_t point;  // the code point, or -1: the first byte begins no well-formed character
  size_t size;    // in bytes; 1 where there is none
};
// The character that `text` begins with. REQUIRES: text is not empty.
Utf8Character FirstCharacter(std::string_view text);

// Well-formed UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text);

// `text` as a JSON string with its quotes. It must be UTF-8.
std::string JsonString(std::string_view text);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_TEXT_H_
