#include "engine/data/text/gpt2_words.h"

#include "engine/data/text/character_class.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

struct Character {
  CharacterClass kind;
  size_t size;
};

Character CharacterAt(std::string_view text, size_t place) {
  const Utf8Character first = FirstCharacter(text.substr(place));
  return {ClassOf(first.point), first.size};
}

// Where the characters of one kind end that begin at `place`.
size_t EndOfRun(std::string_view text, size_t place, CharacterClass kind) {
  while (place < text.size()) {
    const Character next = CharacterAt(text, place);
    if (next.kind != kind) break;
    place += next.size;
  }
  return place;
}

// Of the white space that `text` begins with, all but the last character where something follows
// it, which is left to go with that; a single one goes alone.
size_t SpacesSize(std::string_view text) {
  size_t end = 0, last = 0;
  while (end < text.size()) {
    const Character next = CharacterAt(text, end);
    if (next.kind != CharacterClass::kSpace) return last > 0 ? last : end;
    last = end;
    end += next.size;
  }
  return end;
}

}  // namespace

size_t FirstWordSize(std::string_view text) {
  if (text[0] == '\'') {
    for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
      if (text.starts_with(ending)) return ending.size();
    }
  }
  const size_t begin = text[0] == ' ' && text.size() > 1 ? 1 : 0;
  const CharacterClass kind = CharacterAt(text, begin).kind;
  if (kind == CharacterClass::kSpace) return SpacesSize(text);
  return EndOfRun(text, begin, kind);
}

}  // namespace lockstep
