// One cell of a table, as a number, a date, a yes or a no.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_CELL_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_CELL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/table/dialect.h"

namespace lockstep::inline v0_1 {

// What stands for a missing value unless a user says otherwise: pandas' own list
// (pandas.read_csv, na_values), "?" and ".".
const std::vector<std::string>& UsualMissingTexts();
// Those and `more`.
std::vector<std::string> MissingTextsWith(const std::vector<std::string>& more);

// A set of such texts, quick to ask.
class MissingTexts {
 public:
  explicit MissingTexts(std::vector<std::string> texts = UsualMissingTexts());
  bool Has(std::string_view cell) const;

 private:
  std::vector<std::string> texts_;  // sorted
  size_t longest_ = 0;
  bool empty_ = false;  // the empty text is one
  // By a byte: bit k is set where a text of k bytes (63: at least as many) begins, or ends, in it.
  std::array<uint64_t, 256> begin_{}, end_{};
};

struct NumberCell {
  enum Kind {
    kNumber,
    kText,       // no number
    kNotFinite,  // "inf", or "nan" where that is not listed as missing
    kTooLarge,   // for a double
  };
  Kind kind = kText;
  double value = 0.0;  // one that is too small for a double is 0
};
// The nearest double, whatever the locale; a sign of either kind, an exponent. Thousands are groups
// of three digits.
NumberCell ReadNumber(std::string_view cell, NumberForm form);

// Dates, moments, and times of the day; which of the forms is meant, of "03/04/2020", only a whole
// column can tell.
enum class DateForm : uint8_t {
  kYearMonthDay,  // 2020-04-03, 2020/04/03, 20200403 is none; also with T or a blank and a time
  kDayMonthYear,  // 03.04.2020, 3/4/2020, 03-04-2020, 3 Apr 2020
  kMonthDayYear,  // 04/03/2020
  kTimeOfDay,     // 17:30, 17:30:05.25, 5:30 pm; of any day
};
constexpr DateForm kDateForms[] = {DateForm::kYearMonthDay, DateForm::kDayMonthYear,
                                   DateForm::kMonthDayYear, DateForm::kTimeOfDay};
// Days since 1970-01-01 (proleptic Gregorian), a time of the day as a fraction; a zone (Z, +02:00)
// is taken off. Of kTimeOfDay the fraction alone, as its clock shows it. Nothing where the cell is no
// such date.
struct DateCell {
  double days = 0.0;
  bool has_time = false;
};
std::optional<DateCell> ReadDate(std::string_view cell, DateForm form);
// Whether it is one of any form.
bool IsDate(std::string_view cell);
// "2020-04-03", "2020-04-03 07:30:00" to the nearest second where there is a time, and "07:30:00" of
// kTimeOfDay. REQUIRES: a year that a calendar knows, |days| < 3e6.
std::string DateText(double days, bool has_time, DateForm form = DateForm::kYearMonthDay);

// 1 for true, yes, t, y (and other words for it in upper and lower case), 0 for their opposites.
std::optional<int> ReadYesNo(std::string_view cell);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_CELL_H_
