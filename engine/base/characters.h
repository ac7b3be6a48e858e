// Characters of ASCII, whatever the host's locale.
#ifndef LOCKSTEP_ENGINE_BASE_CHARACTERS_H_
#define LOCKSTEP_ENGINE_BASE_CHARACTERS_H_

#include <string>
#include <string_view>

namespace lockstep::inline v0_1 {

constexpr bool IsDigit(char c) { return static_cast<unsigned>(c - '0') < 10; }
constexpr bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// In small letters.
inline std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Without blanks, tabs and ends of lines around it.
inline std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  while (!text.empty() && kSpace.find(text.front()) != std::string_view::npos)
    text.remove_prefix(1);
  while (!text.empty() && kSpace.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  return text;
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_CHARACTERS_H_
