#include "engine/base/text.h"

#include <charconv>

namespace lockstep::inline v0_1 {

std::string TextOf(double value) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  return error == std::errc() ? std::string(digits, end) : std::string();
}

std::string FloatText(float value) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof(digits), value).ptr};
}

}  // namespace lockstep
