// A ScaleResult as lines for other programs.
#ifndef LOCKSTEP_TOOLS_SCALE_RESULT_LINES_H_
#define LOCKSTEP_TOOLS_SCALE_RESULT_LINES_H_

#include <cstdint>
#include <string>

#include "tools/scale/scale_result.h"

namespace lockstep::inline v0_1::scale {

// One row for each point and curve; a header first. Fields hold no commas.
std::string CsvText(const ScaleResult& result);

// `name: value unit` lines, which ReFrame's regular expressions find. The first one is what a
// sanity check looks for: "sanity: ok", or what is wrong; figures follow only where there is
// something to read.
std::string ReframeText(const ScaleResult& result);

// Lines in the style of MLPerf's logs, ":::MLLOG {...}", with its keys where it has them: facts of
// the submission, run_start and run_stop around the throughput of every point. In that style alone:
// none of this is a submission, and a key says so.
std::string MllogText(const ScaleResult& result, int64_t start_milliseconds);

// "strong_2r_4t": two ranks of four threads at the base's batch.
std::string PointKey(Mode mode, const ScalePoint& point);

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_RESULT_LINES_H_
