#include "engine/data/table/csv_cell.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <system_error>

namespace lockstep {
namespace {

// Whether a well-formed number that a double cannot hold is too small rather than too large: its
// first digit that is not 0 stands behind the point.
bool IsTiny(std::string_view number) {
  const size_t e = std::min(number.find_first_of("eE"), number.size());
  int64_t exponent = 0;
  if (e < number.size()) {
    std::string_view text = number.substr(e + 1);
    if (text.front() == '+') text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
    if (error != std::errc()) return text.front() == '-';
  }
  std::string_view digits = number.substr(0, e);
  while (!digits.empty() && (digits.front() == '-' || digits.front() == '0')) {
    digits.remove_prefix(1);
  }
  const size_t point = std::min(digits.find('.'), digits.size());
  auto magnitude = static_cast<int64_t>(point);
  if (point == 0) {
    magnitude =
        -static_cast<int64_t>(std::min(digits.find_first_not_of('0', 1), digits.size()) - 1);
  }
  // The reader bounds the length of fields: the magnitude cannot overturn a large
  // exponent, and the sum cannot overflow.
  return std::clamp<int64_t>(exponent, -1'000'000, 1'000'000) + magnitude <= 0;
}

}  // namespace

CsvCell ReadCsvCell(std::string_view text, const std::vector<std::string>& missing) {
  if (std::find(missing.begin(), missing.end(), text) != missing.end()) return {CsvCell::kMissing};
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) return {};
  if (error == std::errc::result_out_of_range) {
    if (!IsTiny(text)) return {CsvCell::kTooLarge};
    return {CsvCell::kNumber, 0.0f};
  }
  if (!std::isfinite(value)) return {CsvCell::kNotFinite};
  const auto narrow = static_cast<float>(value);
  if (!std::isfinite(narrow)) return {CsvCell::kTooLarge};
  return {CsvCell::kNumber, narrow};
}

}  // namespace lockstep
