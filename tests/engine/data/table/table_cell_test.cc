#include "engine/data/table/table_cell.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/base/text.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr NumberForm kPoint{'.', '\0'}, kComma{',', '\0'}, kEnglish{'.', ','}, kGerman{',', '.'},
    kBlank{',', ' '}, kSwiss{'.', '\''};

double Number(std::string_view text, NumberForm form = kPoint) {
  const NumberCell cell = ReadNumber(text, form);
  return cell.kind == NumberCell::kNumber ? cell.value : std::numeric_limits<double>::quiet_NaN();
}

bool IsNumber(std::string_view text, NumberForm form = kPoint) {
  return ReadNumber(text, form).kind == NumberCell::kNumber;
}

TEST(TableCellTest, NumbersAreTheNearestDoubles) {
  EXPECT_EQ(Number("0"), 0.0);
  EXPECT_TRUE(std::signbit(Number("-0")));
  EXPECT_EQ(Number("12"), 12.0);
  EXPECT_EQ(Number("+1.5"), 1.5);
  EXPECT_EQ(Number("-.25"), -0.25);
  EXPECT_EQ(Number("5."), 5.0);
  EXPECT_EQ(Number("1e3"), 1000.0);
  EXPECT_EQ(Number("1E-3"), 0.001);
  EXPECT_EQ(Number("9007199254740993"), 9007199254740992.0);  // 2^53 + 1, to even
  EXPECT_EQ(Number("123456789012345.6"), 123456789012345.6);
  EXPECT_EQ(Number("0.1234567890123456789"), 0.1234567890123456789);
  EXPECT_EQ(Number("1e-400"), 0.0);
  EXPECT_EQ(ReadNumber("1e400", kPoint).kind, NumberCell::kTooLarge);
  EXPECT_EQ(ReadNumber("inf", kPoint).kind, NumberCell::kNotFinite);
  EXPECT_EQ(ReadNumber("-nan", kPoint).kind, NumberCell::kNotFinite);
}

// Against the library's own reading, for random digits with a point anywhere in them.
TEST(TableCellTest, TheQuickWayAgreesWithTheLibrarysForAnyDigits) {
  Random random(/*seed=*/11, StreamOf("numbers"));
  for (int i = 0; i < 200000; ++i) {
    std::string text;
    if (random.Below(4) == 0) text += '-';
    const auto digits = 1 + random.Below(20);
    const auto point = random.Below(digits + 2);
    for (uint64_t k = 0; k < digits; ++k) {
      if (k == point) text += '.';
      text += static_cast<char>('0' + random.Below(10));
    }
    if (random.Below(8) == 0) text += "e" + std::to_string(static_cast<int>(random.Below(60)) - 30);
    double want = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), want);
    ASSERT_EQ(error, std::errc()) << text;
    const double got = Number(text);
    ASSERT_EQ(std::memcmp(&got, &want, sizeof(got)), 0) << text << ": " << TextOf(got);
    // The same digits with a decimal comma.
    if (const size_t at = text.find('.'); at != std::string::npos) text[at] = ',';
    const double comma = Number(text, kComma);
    ASSERT_EQ(std::memcmp(&comma, &want, sizeof(comma)), 0) << text << ": " << TextOf(comma);
  }
}

TEST(TableCellTest, TextsAreNoNumbers) {
  for (const char* text :
       {"",      "-",    "+",   ".",  "-.",  "+-1", "--1", "1 2",   "1,5",          "1.2.3",
        "0x10",  "1e",   "1e+", "e5", "12a", "a12", "1-2", "1_000", "\xE2\x88\x92", "1,234",
        "1 234", "1'234"}) {
    EXPECT_FALSE(IsNumber(text)) << text;
  }
  EXPECT_FALSE(IsNumber("1.5", kComma));
  EXPECT_FALSE(IsNumber(",", kComma));
}

TEST(TableCellTest, DecimalCommasAndThousands) {
  EXPECT_EQ(Number("1,288", kComma), 1.288);
  EXPECT_EQ(Number("-0,5e2", kComma), -50.0);
  EXPECT_EQ(Number("1.234,56", kGerman), 1234.56);
  EXPECT_EQ(Number("-12.345.678", kGerman), -12345678.0);
  EXPECT_EQ(Number("1,234.56", kEnglish), 1234.56);
  EXPECT_EQ(Number("1 234,5", kBlank), 1234.5);
  EXPECT_EQ(Number("1\xC2\xA0"
                   "234,5",
                   kBlank),
            1234.5);
  EXPECT_EQ(Number("12\xE2\x80\xAF"
                   "345",
                   kBlank),
            12345.0);
  EXPECT_EQ(Number("1'234'567.25", kSwiss), 1234567.25);
  EXPECT_EQ(Number("1\xE2\x80\x99"
                   "234",
                   kSwiss),
            1234.0);
  EXPECT_EQ(Number("1234.5", kEnglish), 1234.5);  // without its sign as well
  EXPECT_EQ(Number("\xE2\x88\x92"
                   "3,5",
                   kComma),
            -3.5);
  EXPECT_EQ(Number("\xE2\x88\x92"
                   "3.5"),
            -3.5);
  for (const char* text : {"1,23", "1,2345", "12,34,567", ",123", "0,123", "1,,234", "1,234,",
                           "1234,567", "1.5,000"}) {
    EXPECT_FALSE(IsNumber(text, kEnglish)) << text;
  }
}

TEST(TableCellTest, MissingTexts) {
  const MissingTexts usual;
  for (const char* text : {"", "NA", "N/A", "NaN", "nan", "None", "NULL", "null", "n/a", "<NA>",
                           "#N/A", "-1.#IND", "?", "."}) {
    EXPECT_TRUE(usual.Has(text)) << text;
  }
  for (const char* text : {"0", "-", "+", "no", "none of them", "Nadia"}) {
    EXPECT_FALSE(usual.Has(text)) << text;
  }
  EXPECT_TRUE(MissingTexts({"-9", "unknown"}).Has("-9"));
  EXPECT_FALSE(MissingTexts({"-9", "unknown"}).Has("NA"));
  EXPECT_FALSE(MissingTexts(std::vector<std::string>{}).Has(""));
}

TEST(TableCellTest, YesAndNo) {
  for (const char* yes : {"True", "TRUE", "true", "t", "Yes", "y", "Y", "ja"})
    EXPECT_EQ(ReadYesNo(yes), 1) << yes;
  for (const char* no : {"False", "f", "No", "n", "N", "nein"}) EXPECT_EQ(ReadYesNo(no), 0) << no;
  for (const char* other : {"", "1", "0", "maybe", "yess", "a long text with yes in it"})
    EXPECT_EQ(ReadYesNo(other), std::nullopt) << other;
}

double Days(std::string_view text, DateForm form) {
  const std::optional<DateCell> date = ReadDate(text, form);
  return date ? date->days : std::numeric_limits<double>::quiet_NaN();
}

// Days since 1970-01-01 as `date -u -d DATE +%s` has them, divided by 86400.
TEST(TableCellTest, DatesInTheirForms) {
  constexpr auto kYmd = DateForm::kYearMonthDay, kDmy = DateForm::kDayMonthYear,
                 kMdy = DateForm::kMonthDayYear;
  EXPECT_EQ(Days("1970-01-01", kYmd), 0.0);
  EXPECT_EQ(Days("2000-02-29", kYmd), 11016.0);
  EXPECT_EQ(Days("1969/12/31", kYmd), -1.0);
  EXPECT_EQ(Days("0001-01-01", kYmd), -719162.0);
  for (const char* text : {"03.04.2020", "3/4/2020", "03-04-2020", "3 Apr 2020", "3-APR-2020",
                           "03 April 2020", "3 Apr. 2020", "3/4/20"}) {
    EXPECT_EQ(Days(text, kDmy), 18355.0) << text;
  }
  for (const char* text : {"04/03/2020", "4-3-2020", "Apr 3, 2020", "April 3 2020"}) {
    EXPECT_EQ(Days(text, kMdy), 18355.0) << text;
  }
  EXPECT_EQ(Days("2020-04-03T12:00", kYmd), 18355.5);
  EXPECT_EQ(Days("2020-04-03 06:00:00", kYmd), 18355.25);
  EXPECT_EQ(Days("2020-04-03T12:00:00Z", kYmd), 18355.5);
  EXPECT_EQ(Days("2020-04-03T12:00:00.000+06:00", kYmd), 18355.25);
  EXPECT_EQ(Days("2020-04-03T06:00-0600", kYmd), 18355.5);
  EXPECT_EQ(Days("04/03/2020 6:00 PM", kMdy), 18355.75);
  EXPECT_EQ(Days("04/03/2020 12:00 am", kMdy), 18355.0);
  EXPECT_TRUE(ReadDate("2020-04-03 00:00", kYmd)->has_time);
  EXPECT_FALSE(ReadDate("2020-04-03", kYmd)->has_time);
}

TEST(TableCellTest, TimesOfTheDay) {
  constexpr auto kTime = DateForm::kTimeOfDay;
  EXPECT_EQ(Days("00:00", kTime), 0.0);
  EXPECT_EQ(Days("6:00", kTime), 0.25);
  for (const char* text : {"18:00", "18:00:00", "18:00:00.000", "6:00 PM", "06:00pm"})
    EXPECT_EQ(Days(text, kTime), 0.75) << text;
  EXPECT_EQ(Days("12:00 am", kTime), 0.0);
  EXPECT_EQ(ReadDate("2020-04-03 18:00", kTime), std::nullopt);
  EXPECT_EQ(ReadDate("18:00", DateForm::kYearMonthDay), std::nullopt);
  EXPECT_EQ(DateText(Days("7:05", kTime), true, kTime), "07:05:00");
  for (const char* last : {"23:59:59", "23:59:59.9", "23:59:60"})
    EXPECT_EQ(DateText(Days(last, kTime), true, kTime), "23:59:59");
}

TEST(TableCellTest, DatesAreWrittenAsTheyAreRead) {
  for (const std::string text :
       {"0001-01-01", "1900-03-01", "1969-12-31", "2000-02-29", "2020-04-03", "9999-12-31"})
    EXPECT_EQ(DateText(Days(text, DateForm::kYearMonthDay), false), text);
  for (const std::string text :
       {"1969-12-31 23:59:59", "2020-04-03 00:00:00", "2020-04-03 23:59:40", "9999-12-31 07:08:09"})
    EXPECT_EQ(DateText(Days(text, DateForm::kYearMonthDay), true), text);
  // What is nearer to the next second, and day, is of that.
  EXPECT_EQ(DateText(Days("2020-04-03 23:59:59.6", DateForm::kYearMonthDay), true),
            "2020-04-04 00:00:00");
}

TEST(TableCellTest, TextsThatAreNoDates) {
  for (const char* text : {"",
                           "2020",
                           "20200403",
                           "2020-13-01",
                           "2020-02-30",
                           "1900-02-29",
                           "2020-4",
                           "2020-04/03",
                           "0000-01-01",
                           "3.4",
                           "1.2.3",
                           "10.0.0.1",
                           "2020-04-03x",
                           "2020-04-03T",
                           "2020-04-03 25:00",
                           "2020-04-03 10:60",
                           "2020-04-03 13:00 pm",
                           "25:00",
                           "10:60",
                           "10:5",
                           "17",
                           "17:30 o'clock",
                           "0:30 am",
                           "12:30:61",
                           "-1:30",
                           "40-49",
                           "2020-04-03T10:00+99:00",
                           "may",
                           "Mayor 3 2020"}) {
    EXPECT_FALSE(IsDate(text)) << text;
  }
  EXPECT_EQ(ReadDate("13/14/2020", DateForm::kDayMonthYear), std::nullopt);
  EXPECT_EQ(ReadDate("2020-04-03", DateForm::kDayMonthYear), std::nullopt);
}

}  // namespace
}  // namespace lockstep
