// report.html: what a run was and how it went, on one page for people.
#ifndef LOCKSTEP_TOOLS_REPORT_RUN_REPORT_H_
#define LOCKSTEP_TOOLS_REPORT_RUN_REPORT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/optim/schedule.h"
#include "engine/train/assess/assessment.h"
#include "engine/train/trainer.h"
#include "models/recipe.h"
#include "tools/command/run_folder.h"

namespace lockstep::inline v0_1::tools {

// Members are borrowed where they are references.
struct RunReport {
  const RunFolder& folder;  // its metrics are read
  const Recipe& recipe;
  const RecipeData& data;
  Network& network;  // holds the result, or what an interrupted run has so far
  TrainingSummary summary{};
  Schedule schedule{};
  int64_t total_steps = 0;
  int64_t batches_per_epoch = 1;
  // By split: "train", "validation", "test". None where the run was interrupted.
  std::vector<std::pair<std::string, EvaluationResult>> results{};
  const Assessment* assessment = nullptr;  // of the last of these; null: there is none
};

// A few training steps are measured for it (see ProbeLayers); the network keeps its bits.
Status WriteRunReport(const RunReport& run);

const char* StatusName(StopReason reason);  // "completed", "stopped early", "interrupted"

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_RUN_REPORT_H_
