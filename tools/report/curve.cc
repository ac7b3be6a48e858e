#include "tools/report/curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int kLabel = 10;  // characters left of the plot

// A Braille character has two columns of four dots; bits of U+2800 by column and row.
constexpr uint8_t kDots[2][4] = {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}};

std::string Braille(uint8_t dots) {
  return {static_cast<char>(0xE2), static_cast<char>(0xA0 | dots >> 6),
          static_cast<char>(0x80 | (dots & 0x3F))};
}

}  // namespace

std::vector<std::string> DrawCurve(std::span<const double> line, std::span<const double> points,
                                   const CurveOptions& options) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  size_t finite = 0;
  for (const std::span<const double> values : {line, points}) {
    for (const double value : values) {
      if (!std::isfinite(value)) continue;
      finite += values.data() == line.data();
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (finite < 2) return {};
  const int width = std::max(options.width, 24) - kLabel, height = std::max(options.height, 2);
  const int columns = 2 * width, rows = 4 * height;
  const double range = high - low;
  const auto column_of = [&](size_t i) {
    return static_cast<int>(
        std::lround(static_cast<double>(i) * (columns - 1) / static_cast<double>(line.size() - 1)));
  };
  const auto row_of = [&](double value) {  // 0 is the top
    return range > 0.0 ? static_cast<int>(std::lround((high - value) / range * (rows - 1)))
                       : rows / 2;
  };

  std::vector<uint8_t> dots(static_cast<size_t>(width * height), 0);
  std::vector<bool> marked(dots.size(), false);
  const auto cell = [&](int column, int row) {
    return static_cast<size_t>(row / 4 * width + column / 2);
  };
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    if (!std::isfinite(line[i]) || !std::isfinite(line[i + 1])) continue;
    const int c0 = column_of(i), c1 = column_of(i + 1);
    const int r0 = row_of(line[i]), r1 = row_of(line[i + 1]);
    const int steps = std::max({c1 - c0, std::abs(r1 - r0), 1});
    for (int s = 0; s <= steps; ++s) {
      const int column = c0 + (c1 - c0) * s / steps, row = r0 + (r1 - r0) * s / steps;
      dots[cell(column, row)] |= kDots[column % 2][row % 4];
    }
  }
  for (size_t i = 0; i < std::min(points.size(), line.size()); ++i) {
    if (std::isfinite(points[i])) marked[cell(column_of(i), row_of(points[i]))] = true;
  }

  std::vector<std::string> lines;
  for (int row = 0; row < height; ++row) {
    const bool top = row == 0, bottom = row + 1 == height;
    const std::string label = top      ? fmt::format("{:.4g}", high)
                              : bottom ? fmt::format("{:.4g}", low)
                                       : "";
    std::string text = fmt::format("{:>{}} ", label, kLabel - 2) + (top || bottom ? "┤" : "│");
    for (int column = 0; column < width; ++column) {
      const auto at = static_cast<size_t>(row * width + column);
      if (marked[at]) {
        text += options.color ? "\033[33m•\033[0m" : "•";
      } else {
        text += dots[at] == 0 ? " " : Braille(dots[at]);
      }
    }
    lines.push_back(std::move(text));
  }
  return lines;
}

}  // namespace lockstep::tools
