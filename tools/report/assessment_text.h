// An assessment (engine/train/assess/assessment.h) in words, for the terminal and for the page.
#ifndef LOCKSTEP_TOOLS_REPORT_ASSESSMENT_TEXT_H_
#define LOCKSTEP_TOOLS_REPORT_ASSESSMENT_TEXT_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/train/assess/assessment.h"

namespace lockstep::inline v0_1::tools {

// "precision" -> "precision (positive predictive value)"
std::string TitleOf(const std::string& score);
// "96.47 %", "0.9934", "-" for what is not defined.
std::string ValueText(const std::string& score, double value);
// "92.94 % to 98.82 %", "-" where there is none.
std::string IntervalText(const std::string& score, const std::optional<Interval>& interval);
// "0.9934 (0.9811 to 1)": a cell of a table.
std::string ScoreText(const Score& score);

// What the intervals are, and how many samples were looked at.
std::string AboutIntervals(const Assessment& all);
// What is said of the decision where it is not that of a network by itself; else empty.
std::string AboutDecision(const Decision& decision);

// The essentials, some lines: for people who look at a terminal.
std::string Describe(const Assessment& all);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_ASSESSMENT_TEXT_H_
