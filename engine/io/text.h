// Text for files: JSON strings, UTF-8, numbers that read back to the same value.
#ifndef LOCKSTEP_ENGINE_IO_TEXT_H_
#define LOCKSTEP_ENGINE_IO_TEXT_H_

#include <string>
#include <string_view>

namespace lockstep {

// Well-formed UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text);

// `text` as a JSON string with its quotes. It must be UTF-8.
std::string JsonString(std::string_view text);

// The shortest decimal text that reads back to the same value: "0.1", "12", "1e-05", "nan".
std::string TextOf(double value);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_TEXT_H_
