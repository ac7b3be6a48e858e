// What kind of character a code point is.
//
// From a table of this project (Unicode 17), not from a library of the system: a text has the same
// tokens on every machine, whatever version of Unicode that knows.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_CHARACTER_CLASS_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_CHARACTER_CLASS_H_

#include <cstdint>

namespace lockstep::inline v0_1 {

enum class CharacterClass : uint8_t {
  kOther,   // all else, and what is no code point
  kLetter,  // general category L, "\p{L}"
  kNumber,  // general category N, "\p{N}"
  kSpace,   // property White_Space, "\s"
};

CharacterClass ClassOf(int32_t point);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_CHARACTER_CLASS_H_
