#include "engine/data/table/table_cell.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <system_error>
#include <utility>

#include "engine/base/characters.h"

namespace lockstep::inline v0_1 {
namespace {

// All powers of ten that a double holds exactly.
constexpr double kTens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

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
  // The reader bounds the length of cells: the magnitude cannot overturn a large exponent, and the
  // sum cannot overflow.
  return std::clamp<int64_t>(exponent, -1'000'000, 1'000'000) + magnitude <= 0;
}

// A number with a point, without thousands; any length.
NumberCell ReadPlain(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) return {};
  if (error == std::errc::result_out_of_range) {
    if (!IsTiny(text)) return {.kind = NumberCell::kTooLarge};
    return {.kind = NumberCell::kNumber, .value = 0.0};
  }
  if (!std::isfinite(value)) return {.kind = NumberCell::kNotFinite};
  return {.kind = NumberCell::kNumber, .value = value};
}

// The length of a thousands sign that `text` begins with; 0: there is none. A blank may be one
// that does not break lines, an apostrophe a typographic one.
size_t ThousandsSign(std::string_view text, char thousands) {
  if (text.starts_with(thousands)) return 1;
  if (thousands == ' ') {
    if (text.starts_with("\xC2\xA0")) return 2;      // U+00A0
    if (text.starts_with("\xE2\x80\xAF")) return 3;  // U+202F
    if (text.starts_with("\xE2\x80\x89")) return 3;  // U+2009
  }
  if (thousands == '\'' && text.starts_with("\xE2\x80\x99")) return 3;  // U+2019
  return 0;
}

// Rewrites a number as ReadPlain takes it; empty: it is none in this form.
std::string Plain(std::string_view text, NumberForm form) {
  std::string plain;
  if (text.starts_with("\xE2\x88\x92")) {  // U+2212, the typographic minus
    plain = '-';
    text.remove_prefix(3);
  } else if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    plain = text[0];
    text.remove_prefix(1);
  }
  const size_t digits_begin = plain.size();
  // Digits in front of the decimal sign: without thousands, or one to three and then threes.
  size_t groups = 0, group = 0, at = 0;
  while (at < text.size()) {
    if (IsDigit(text[at])) {
      plain += text[at++];
      ++group;
      continue;
    }
    const size_t sign = form.thousands == '\0' ? 0 : ThousandsSign(text.substr(at), form.thousands);
    if (sign == 0) break;
    const bool fits =
        groups == 0 ? group >= 1 && group <= 3 && plain[digits_begin] != '0' : group == 3;
    if (!fits) return {};
    ++groups;
    group = 0;
    at += sign;
  }
  if (groups > 0 && group != 3) return {};
  if (at < text.size() && text[at] == form.decimal) {
    plain += '.';
    ++at;
  }
  for (; at < text.size() && IsDigit(text[at]); ++at) plain += text[at];
  const std::string_view rest = text.substr(at);
  // An exponent, or the words for infinite and for no number.
  if (!rest.empty() && plain.size() > digits_begin && rest[0] != 'e' && rest[0] != 'E') return {};
  return plain.append(rest);
}

}  // namespace

const std::vector<std::string>& UsualMissingTexts() {
  static const std::vector<std::string> texts = {
      "",       "#N/A",    "#N/A N/A", "#NA",     "-1.#IND", "-1.#QNAN", "-NaN",  "-nan",
      "1.#IND", "1.#QNAN", "<NA>",     "N/A",     "NA",      "NULL",     "NaN",   "None",
      "n/a",    "nan",     "null",     "?",       ".",       "NAN",      "NaT",   "Null",
      "na",     "N.A.",    "n.a.",     "#DIV/0!", "#NULL!",  "#NUM!",    "#REF!", "#VALUE!"};
  return texts;
}

std::vector<std::string> MissingTextsWith(const std::vector<std::string>& more) {
  std::vector<std::string> texts = UsualMissingTexts();
  texts.insert(texts.end(), more.begin(), more.end());
  return texts;
}

MissingTexts::MissingTexts(std::vector<std::string> texts) : texts_(std::move(texts)) {
  std::sort(texts_.begin(), texts_.end());
  texts_.erase(std::unique(texts_.begin(), texts_.end()), texts_.end());
  for (const std::string& text : texts_) {
    longest_ = std::max(longest_, text.size());
    if (text.empty()) {
      empty_ = true;
      continue;
    }
    const uint64_t length = uint64_t{1} << std::min<size_t>(text.size(), 63);
    begin_[static_cast<unsigned char>(text.front())] |= length;
    end_[static_cast<unsigned char>(text.back())] |= length;
  }
}

bool MissingTexts::Has(std::string_view cell) const {
  if (cell.empty()) return empty_;
  if (cell.size() > longest_) return false;
  const uint64_t may_be = begin_[static_cast<unsigned char>(cell.front())] &
                          end_[static_cast<unsigned char>(cell.back())];
  if ((may_be >> std::min<size_t>(cell.size(), 63) & 1) == 0) return false;
  return std::binary_search(texts_.begin(), texts_.end(), cell);
}

NumberCell ReadNumber(std::string_view cell, NumberForm form) {
  // The usual case: at most 15 digits and a decimal sign. Both the digits and the power of ten are
  // exact doubles then, and their quotient is the nearest double (Clinger 1990, "How to read
  // floating point numbers accurately").
  const char* at = cell.data();
  const char* const end = at + cell.size();
  const bool minus = at < end && *at == '-';
  if (at < end && (*at == '-' || *at == '+')) ++at;
  if (end - at >= 1 && end - at <= 16) {
    uint64_t digits = 0;
    const char* const first = at;
    while (at < end && IsDigit(*at)) digits = digits * 10 + static_cast<uint64_t>(*at++ - '0');
    const auto whole = at - first;
    if (at == end) {
      if (whole <= 15) {
        const auto value = static_cast<double>(digits);
        return {.kind = NumberCell::kNumber, .value = minus ? -value : value};
      }
    } else if (*at == form.decimal) {
      const char* const fraction = ++at;
      while (at < end && IsDigit(*at)) digits = digits * 10 + static_cast<uint64_t>(*at++ - '0');
      if (at == end && whole + (at - fraction) > 0) {
        const double value = static_cast<double>(digits) / kTens[at - fraction];
        return {.kind = NumberCell::kNumber, .value = minus ? -value : value};
      }
    }
  }
  const bool typographic = cell.starts_with("\xE2\x88\x92");
  if (form == NumberForm{} && !typographic) return ReadPlain(cell);
  const std::string plain = Plain(cell, form);
  return plain.empty() ? NumberCell{} : ReadPlain(plain);
}

std::optional<int> ReadYesNo(std::string_view cell) {
  constexpr std::pair<std::string_view, int> kWords[] = {
      {"true", 1}, {"false", 0}, {"yes", 1}, {"no", 0},        {"t", 1},    {"f", 0},
      {"y", 1},    {"n", 0},     {"on", 1},  {"off", 0},       {"ja", 1},   {"nein", 0},
      {"oui", 1},  {"non", 0},   {"si", 1},  {"s\xC3\xAD", 1}, {"wahr", 1}, {"falsch", 0},
      {"vrai", 1}, {"faux", 0},  {"sim", 1}, {"n\xC3\xA3o", 0}};
  std::array<char, 8> lower{};
  if (cell.empty() || cell.size() > lower.size()) return std::nullopt;
  std::transform(cell.begin(), cell.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const std::string_view text(lower.data(), cell.size());
  for (const auto& [word, value] : kWords) {
    if (text == word) return value;
  }
  return std::nullopt;
}

}  // namespace lockstep
