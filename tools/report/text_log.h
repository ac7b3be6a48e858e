// What a language model says as it learns: samples.jsonl in the folder of a run.
#ifndef LOCKSTEP_TOOLS_REPORT_TEXT_LOG_H_
#define LOCKSTEP_TOOLS_REPORT_TEXT_LOG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1::tools {

struct TextSample {
  int64_t epoch = 0, step = 0;   // epoch from 0, as in metrics.csv; step: how many were done
  std::string prompt{}, text{};  // what was given, and how the network went on; any bytes
};

// Replaces the file. Bytes that are not UTF-8 are replaced by a sign that says so.
Status WriteTextSamples(const std::string& path, const std::vector<TextSample>& samples);
// Of steps up to `last_step`, in the order of the file; none where there is no file. A last line
// that was not finished counts as missing; another that is no sample is an error.
Result<std::vector<TextSample>> ReadTextSamples(const std::string& path, int64_t last_step);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_TEXT_LOG_H_
