// What several runs of one recipe say together: mean and spread of their metrics, and the
// predictions of all folds as one evaluation.
#ifndef LOCKSTEP_TOOLS_COMMAND_SET_SUMMARY_H_
#define LOCKSTEP_TOOLS_COMMAND_SET_SUMMARY_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "models/recipe.h"
#include "tools/command/held_out.h"
#include "tools/command/run_folder.h"
#include "tools/command/run_set.h"

namespace lockstep::inline v0_1::tools {

// Of one metric over the runs that have it.
struct Spread {
  double mean = 0.0;
  double sd = 0.0;  // with n - 1; 0 of one run
  double low = 0.0, high = 0.0;
  int64_t count = 0;
};
Spread SpreadOf(const std::vector<double>& values);

struct MemberResult {
  SetMember member;
  int64_t samples = 0;
  std::vector<std::optional<double>> metrics{};  // as SetResult::metrics names them
  double seconds = 0.0;
};

struct SetResult {
  std::string split = "test";          // that was measured
  std::vector<std::string> metrics{};  // those that some run has
  std::vector<Spread> spreads{};       // of each
  std::vector<MemberResult> runs{};
  // By seed: the held-out samples of all folds, and what they give as one evaluation.
  std::vector<std::pair<int64_t, HeldOut>> held_out{};
  std::vector<EvaluationResult> pooled{};
  DatasetInfo samples{};  // of the models
};

// Reads what the finished runs left in the folder.
Result<SetResult> ReadSet(const RunFolder& folder, const Recipe& recipe,
                          const std::vector<SetMember>& members);

// Prints a table, and writes summary.json, of folds predictions.csv, and report.html where the
// recipe asks for it.
Status SumUp(const RunFolder& folder, const Recipe& recipe, const std::vector<SetMember>& members);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_SET_SUMMARY_H_
