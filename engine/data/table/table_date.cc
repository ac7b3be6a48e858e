#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <iterator>

#include "engine/base/characters.h"
#include "engine/data/table/table_cell.h"

namespace lockstep::inline v0_1 {
namespace {

// Nothing where there is no such day.
std::optional<int64_t> DaysOf(int64_t year, int64_t month, int64_t day) {
  const std::chrono::year_month_day date(std::chrono::year(static_cast<int>(year)),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (year < 1 || !date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count();
}

// Takes the parts of a date off the beginning of a text.
class Parts {
 public:
  explicit Parts(std::string_view text) : text_(text) {}

  bool empty() const { return text_.empty(); }
  char front() const { return text_.empty() ? '\0' : text_.front(); }
  bool Take(char c) {
    if (front() != c || text_.empty()) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool TakeAny(std::string_view any) {
    if (text_.empty() || any.find(text_.front()) == std::string_view::npos) return false;
    text_.remove_prefix(1);
    return true;
  }
  // A whole number of `least` to `most` digits.
  std::optional<int64_t> Number(size_t least, size_t most) {
    size_t digits = 0;
    while (digits < text_.size() && IsDigit(text_[digits])) ++digits;
    if (digits < least || digits > most) return std::nullopt;
    int64_t value = 0;
    std::from_chars(text_.data(), text_.data() + digits, value);
    text_.remove_prefix(digits);
    return value;
  }
  // A month by its English name or the first three letters of it, with or without a point.
  std::optional<int64_t> Month() {
    constexpr std::string_view kNames[] = {"january",   "february", "march",    "april",
                                           "may",       "june",     "july",     "august",
                                           "september", "october",  "november", "december"};
    size_t letters = 0;
    std::array<char, 9> lower{};
    while (letters < text_.size() && IsLetter(text_[letters])) {
      if (letters == lower.size()) return std::nullopt;
      lower[letters] = static_cast<char>(text_[letters] | 0x20);
      ++letters;
    }
    const std::string_view word(lower.data(), letters);
    for (size_t i = 0; i < std::size(kNames); ++i) {
      const bool sept = i == 8 && word == "sept";
      if (word != kNames[i] && word != kNames[i].substr(0, 3) && !sept) continue;
      text_.remove_prefix(letters);
      Take('.');
      return static_cast<int64_t>(i) + 1;
    }
    return std::nullopt;
  }
  // AM or PM; 0: neither.
  int Half() {
    if (text_.size() < 2 || (text_[1] | 0x20) != 'm') return 0;
    const char first = static_cast<char>(text_[0] | 0x20);
    if (first != 'a' && first != 'p') return 0;
    text_.remove_prefix(2);
    return first == 'a' ? 1 : 2;
  }

 private:
  std::string_view text_;
};

// As POSIX reads %y: 69 to 99 are of the last century.
int64_t WholeYear(int64_t two_digits) { return two_digits + (two_digits < 69 ? 2000 : 1900); }

// "2020", or "20" where two digits are a year.
std::optional<int64_t> Year(Parts& parts) {
  if (const auto four = parts.Number(4, 4)) return four;
  if (const auto two = parts.Number(2, 2)) return WholeYear(*two);
  return std::nullopt;
}

std::optional<int64_t> Day(Parts& parts, DateForm form) {
  std::optional<int64_t> year, month, day;
  if (form == DateForm::kYearMonthDay) {
    year = parts.Number(4, 4);
    const char sign = parts.front();
    if (!year || !parts.TakeAny("-/.")) return std::nullopt;
    month = parts.Number(1, 2);
    if (!month || !parts.Take(sign)) return std::nullopt;
    day = parts.Number(1, 2);
  } else {
    const bool day_first = form == DateForm::kDayMonthYear;
    std::optional<int64_t>& first = day_first ? day : month;
    std::optional<int64_t>& second = day_first ? month : day;
    if (!day_first) month = parts.Month();
    const bool named_first = month.has_value();
    if (!named_first) first = parts.Number(1, 2);
    if (!first) return std::nullopt;
    const char sign = parts.front();
    const bool dotted = parts.TakeAny("-/.");
    const bool blank = parts.Take(' ');
    if (!dotted && !blank) return std::nullopt;
    if (day_first) second = parts.Month();
    const bool named = named_first || (day_first && second.has_value());
    if (!second) second = parts.Number(1, 2);
    if (!second) return std::nullopt;
    if (named) {
      parts.TakeAny("-/.,");
      parts.Take(' ');
    } else if (!dotted || !parts.Take(sign)) {
      return std::nullopt;
    }
    year = Year(parts);
  }
  if (!year || !month || !day) return std::nullopt;
  return DaysOf(*year, *month, *day);
}

// Minutes east of Greenwich; nothing: it is no zone.
std::optional<int64_t> Zone(Parts& parts) {
  if (parts.TakeAny("Zz")) return 0;
  const bool minus = parts.Take('-');
  if (!minus && !parts.Take('+')) return 0;
  const auto hours = parts.Number(2, 4);
  if (!hours) return std::nullopt;
  int64_t minutes = *hours * 60;
  if (*hours > 99) {
    minutes = *hours / 100 * 60 + *hours % 100;
  } else if (parts.Take(':')) {
    const auto more = parts.Number(2, 2);
    if (!more || *more > 59) return std::nullopt;
    minutes += *more;
  }
  if (minutes > 14 * 60) return std::nullopt;
  return minus ? -minutes : minutes;
}

// Seconds of the day, without its zone.
std::optional<double> Time(Parts& parts) {
  const auto hour = parts.Number(1, 2);
  if (!hour || !parts.Take(':')) return std::nullopt;
  const auto minute = parts.Number(2, 2);
  if (!minute) return std::nullopt;
  double seconds = 0.0;
  if (parts.Take(':')) {
    const auto whole = parts.Number(2, 2);
    if (!whole || *whole > 60) return std::nullopt;  // 60: a leap second
    seconds = static_cast<double>(*whole);
    if (parts.TakeAny(".,")) {
      double unit = 0.1;
      size_t digits = 0;
      for (; digits < 9; ++digits, unit /= 10.0) {
        const char c = parts.front();
        if (!parts.TakeAny("0123456789")) break;
        seconds += unit * (c - '0');
      }
      if (digits == 0) return std::nullopt;
    }
  }
  parts.Take(' ');
  const int half = parts.Half();
  const bool fits = half == 0 ? *hour < 24 : *hour >= 1 && *hour <= 12;
  if (!fits || *minute > 59) return std::nullopt;
  const int64_t of_day = half == 0 ? *hour : *hour % 12 + (half == 2 ? 12 : 0);
  return static_cast<double>(of_day * 3600 + *minute * 60) + seconds;
}

}  // namespace

std::optional<DateCell> ReadDate(std::string_view cell, DateForm form) {
  Parts parts(cell);
  if (form == DateForm::kTimeOfDay) {
    const std::optional<double> time = Time(parts);
    if (!time || !parts.empty()) return std::nullopt;
    return DateCell{.days = *time / 86400.0, .has_time = true};
  }
  const std::optional<int64_t> day = Day(parts, form);
  if (!day) return std::nullopt;
  DateCell date{.days = static_cast<double>(*day)};
  if (parts.empty()) return date;
  if (!parts.TakeAny("Tt")) {
    if (!parts.TakeAny(" ,")) return std::nullopt;
    parts.Take(' ');
  }
  const std::optional<double> time = Time(parts);
  if (!time) return std::nullopt;
  const std::optional<int64_t> zone = Zone(parts);
  if (!zone || !parts.empty()) return std::nullopt;
  date.has_time = true;
  date.days += (*time - 60.0 * static_cast<double>(*zone)) / 86400.0;
  return date;
}

bool IsDate(std::string_view cell) {
  return std::any_of(std::begin(kDateForms), std::end(kDateForms),
                     [&](DateForm form) { return ReadDate(cell, form).has_value(); });
}

std::string DateText(double days, bool has_time, DateForm form) {
  constexpr long long kLastOfDay = 86399;  // no time of the day is that of another
  const long long rounded = std::llround(days * 86400.0);
  const std::chrono::sys_seconds moment(
      std::chrono::seconds(form == DateForm::kTimeOfDay ? std::min(rounded, kLastOfDay) : rounded));
  const auto midnight = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(midnight);
  const std::chrono::hh_mm_ss time(moment - midnight);
  char day_text[64], time_text[64];
  std::snprintf(day_text, sizeof day_text, "%04d-%02u-%02u", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
  std::snprintf(time_text, sizeof time_text, "%02d:%02d:%02d",
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  if (form == DateForm::kTimeOfDay) return time_text;
  return has_time ? std::string(day_text) + " " + time_text : day_text;
}

}  // namespace lockstep
