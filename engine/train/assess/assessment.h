// Everything that is said of a model's predictions on some samples: for the report, for
// summary.json, and for the terminal.
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_ASSESSMENT_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_ASSESSMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/assess/calibration.h"
#include "engine/train/assess/importance.h"
#include "engine/train/assess/ranking.h"
#include "engine/train/assess/residuals.h"
#include "engine/train/assess/scores.h"
#include "engine/train/assess/threshold.h"
#include "engine/train/decision.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// A column by whose values samples form groups.
struct Subgroup {
  std::string column{};
  std::vector<std::string> names{};
  std::vector<int32_t> of_sample{};  // by its index in the dataset: which of the names; -1: none
};

struct GroupScores {
  std::string name{};
  int64_t samples = 0, positives = 0;  // positives: of two classes
  std::vector<Score> scores{};
};
struct SubgroupScores {
  std::string column{};
  std::vector<GroupScores> groups{};  // the largest first, 20 at most; those with samples
  int64_t smaller = 0;                // groups with samples that are not among these
  int64_t without = 0;                // samples that belong to none
};

// What is said at another threshold than the decision's.
struct OutcomeRow {
  float threshold = 0.5f;
  Outcome outcome{};
};

struct Assessment {
  Reading reading = Reading::kValues;
  Decision decision{};
  int64_t samples = 0;           // that were looked at,
  int64_t of = 0;                // of so many; fewer than these are drawn by a fixed seed
  int64_t interval_samples = 0;  // that intervals are made from
  std::vector<Score> scores{};
  // Where samples have weights: the scores by these, and of classes "log_loss" and
  // "calibration_error". All else counts every sample once.
  std::vector<Score> weighted{};

  // Classes:
  double log_loss = 0.0;
  double uncalibrated_log_loss = 0.0;  // at temperature 1
  double calibration_error = 0.0;      // ECE
  std::vector<CalibrationBin> calibration{};
  // Two:
  int64_t positives = 0;
  Outcome outcome{};                   // at the decision's threshold
  std::vector<OutcomeRow> outcomes{};  // at thresholds of 0.1, 0.2, ..., 0.9
  std::vector<Cut> cuts{};  // all points of the curves; none unless there are both classes
  // More: one for each.
  std::vector<ClassScores> classes{};
  // Numbers: one for each column of the output.
  std::vector<Residuals> residuals{};

  std::vector<SubgroupScores> subgroups{};
  Importances importances{};      // no columns where it was not measured
  std::string importance_note{};  // why it was not
};

struct AssessOptions {
  std::vector<Subgroup> subgroups{};
  bool importance = true;  // of the columns, where samples are rows of a table
  // So that a large test set costs seconds and not minutes: samples at most, and for intervals.
  int64_t samples = 200000;
  int64_t interval_samples = 20000;
  ImportanceOptions importance_options{};
};

// By this process alone; network and samples stay as they are. Errors: as Collect.
Result<Assessment> Assess(Network& network, const Subset& samples, const Decision& decision,
                          const AssessOptions& options = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_ASSESSMENT_H_
