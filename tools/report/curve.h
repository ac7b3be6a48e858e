// A small plot in characters.
#ifndef LOCKSTEP_TOOLS_REPORT_CURVE_H_
#define LOCKSTEP_TOOLS_REPORT_CURVE_H_

#include <span>
#include <string>
#include <vector>

namespace lockstep::inline v0_1::tools {

struct CurveOptions {
  int width = 64;  // in characters, with the labels; at least 24
  int height = 8;  // at least 2
  bool color = false;
};

// Lines of text: `line` as a line of Braille dots, `points` (as long as `line`, or empty) as dots
// of their own. Values stand at equal distances. What is not finite is left out; no lines where
// fewer than two values of `line` are finite.
std::vector<std::string> DrawCurve(std::span<const double> line, std::span<const double> points,
                                   const CurveOptions& options);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_CURVE_H_
