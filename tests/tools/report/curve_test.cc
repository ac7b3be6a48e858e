#include "tools/report/curve.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace lockstep::inline v0_1::tools {
namespace {

// Characters of UTF-8 text; colours count as none.
size_t Width(const std::string& line) {
  size_t width = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\033') {
      i = line.find('m', i);
      continue;
    }
    width += (static_cast<unsigned char>(line[i]) & 0xC0) != 0x80;
  }
  return width;
}

TEST(Curve, HasTheSizeThatWasAskedFor) {
  const std::vector<double> line = {3, 2, 1.5, 1.2, 1.1}, points = {2.5, 2, 1.8, 1.7, 1.7};
  for (const bool color : {false, true}) {
    const auto lines = DrawCurve(line, points, {.width = 50, .height = 6, .color = color});
    ASSERT_EQ(lines.size(), 6u);
    for (const std::string& one : lines) EXPECT_EQ(Width(one), 50u) << one;
    EXPECT_NE(lines[0].find("3"), std::string::npos);
    EXPECT_NE(lines[5].find("1.1"), std::string::npos);
  }
}

TEST(Curve, UsesNoColourUnlessAsked) {
  const std::vector<double> line = {1, 2}, points = {1, 2};
  for (const std::string& one : DrawCurve(line, points, {})) {
    EXPECT_EQ(one.find('\033'), std::string::npos);
  }
}

TEST(Curve, BeginsAtTheTopAndEndsAtTheBottomWhereLossesFall) {
  const auto lines = DrawCurve(std::vector<double>{2, 1}, {}, {.width = 30, .height = 4});
  const std::string top = lines[0].substr(lines[0].find("┤") + std::string("┤").size());
  const std::string bottom = lines[3];
  EXPECT_NE(top.substr(0, 1), " ");
  EXPECT_NE(bottom.back(), ' ');
}

TEST(Curve, LeavesOutWhatIsNotFinite) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(DrawCurve({}, {}, {}).empty());
  EXPECT_TRUE(DrawCurve(std::vector<double>{1, nan, inf}, {}, {}).empty());
  EXPECT_EQ(DrawCurve(std::vector<double>{1, nan, 2, inf}, std::vector<double>{nan, 1, inf, 2}, {})
                .size(),
            8u);
  EXPECT_EQ(DrawCurve(std::vector<double>{1, 1, 1}, {}, {}).size(), 8u);  // no range
}

}  // namespace
}  // namespace lockstep::tools
