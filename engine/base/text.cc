#include "engine/base/text.h"

#include <charconv>

namespace lockstep {

std::string TextOf(double value) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  return error == std::errc() ? std::string(digits, end) : std::string();
}

}  // namespace lockstep
