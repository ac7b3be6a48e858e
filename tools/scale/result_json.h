// A ScaleResult as JSON, with every measured number in it.
#ifndef LOCKSTEP_TOOLS_SCALE_RESULT_JSON_H_
#define LOCKSTEP_TOOLS_SCALE_RESULT_JSON_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "tools/scale/scale_result.h"

namespace lockstep::inline v0_1::scale {

// Seconds and bytes throughout; "seconds" of a point are its rounds.
std::string JsonText(const ScaleResult& result);

// What the ranks of one launch measured, for the process that launched them.
struct RankReport {
  std::vector<ScalePoint> points{};
  NetworkCost network{};
  std::string mpi{};        // its name and version
  std::string placement{};  // PlacementText
};
std::string JsonText(const RankReport& report);
// Of a file that may be anything. `name` stands for it in messages.
Result<RankReport> ParseRankReport(const std::string& text, const std::string& name);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_RESULT_JSON_H_
