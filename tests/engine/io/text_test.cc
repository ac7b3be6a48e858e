#include "engine/io/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

namespace lockstep::inline v0_1 {
namespace {

TEST(TextTest, KnowsUtf8) {
  for (const char* good : {"", "plain", "caf\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x7f",
                           "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  // A lone continuation, cut sequences, overlong forms, a surrogate, beyond the last character.
  for (const char* bad :
       {"\x80", "\xc3", "a\xe2\x82", "\xf0\x9f\x98", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xc3("}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
}

TEST(TextTest, QuotesForJson) {
  EXPECT_EQ(JsonString("a\"b\\c\nd\te\x01/\xc3\xa9"),
            "\"a\\\"b\\\\c\\nd\\u0009e\\u0001/\xc3\xa9\"");
}

TEST(TextTest, NumbersReadBackToTheSameValue) {
  for (const double value : {0.0, -0.0, 1.0, 0.1, 1.0 / 3.0, 1e-5, 123456789.0, 1e300, 5e-324,
                             static_cast<double>(0.1f), std::numeric_limits<double>::max()}) {
    const double back = std::strtod(TextOf(value).c_str(), nullptr);
    EXPECT_EQ(back, value);
    EXPECT_EQ(std::signbit(back), std::signbit(value));
  }
  EXPECT_EQ(TextOf(0.1), "0.1");
  EXPECT_EQ(TextOf(12.0), "12");
  EXPECT_EQ(TextOf(NAN), "nan");
  EXPECT_EQ(TextOf(-INFINITY), "-inf");
}

}  // namespace
}  // namespace lockstep
