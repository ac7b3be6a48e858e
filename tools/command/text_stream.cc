#include "tools/command/text_stream.h"

#include <cstddef>

#include "engine/io/text.h"

namespace lockstep::inline v0_1::tools {
namespace {

// Whether `text`, which begins with no whole character, could become one with more behind it.
bool MayBecomeCharacter(std::string_view text) {
  constexpr size_t kLongest = 4;
  if (text.size() >= kLongest) return false;
  // Continuations that suit any lead: the second byte decides what is overlong, a surrogate or too
  // large, and one of these suits.
  for (const std::string_view second : {"\x80\x80\x80", "\xBF\xBF\xBF"}) {
    for (size_t more = 1; text.size() + more <= kLongest; ++more) {
      const std::string longer = std::string(text) + std::string(second.substr(0, more));
      if (FirstCharacter(longer).size == longer.size()) return true;
    }
  }
  return false;
}

}  // namespace

void TextStream::Add(std::string_view bytes, std::string& out) {
  held_ += bytes;
  std::string_view left = held_;
  while (!left.empty()) {
    const Utf8Character character = FirstCharacter(left);
    if (character.point < 0 && MayBecomeCharacter(left)) break;
    out += left.substr(0, character.size);
    left.remove_prefix(character.size);
  }
  held_ = std::string(left);
}

void TextStream::End(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace lockstep::tools
