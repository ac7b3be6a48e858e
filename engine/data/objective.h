// What is learned: for each Task one row of everything that stands around the network because of
// it. Code that needs to know more of a task than this asks for a column here, not for the task.
#ifndef LOCKSTEP_ENGINE_DATA_OBJECTIVE_H_
#define LOCKSTEP_ENGINE_DATA_OBJECTIVE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/dtype.h"

namespace lockstep::inline v0_1 {

enum class Task {
  kRegression,  // target f32
  kBinary,      // target f32 {1}, 0 or 1
  kClasses,     // target i32, a class number below `classes`, or kIgnoredTarget; one per sample
                // (shape {}) or one per position of a sequence (shape {T})
};

// What the network's outputs y say once they are predictions p (Predictor makes them).
enum class Reading {
  kValues,    // p = y                    numbers
  kPositive,  // p = 1 / (1 + e^-y)       the probability of class 1; predicted where p > 1/2
  kOneOf,     // p = softmax(y) per row   the probability of each class; the largest is predicted
};

struct Objective {
  Task task;
  const char* name;     // in recipes and in model files
  const char* targets;  // in messages: "the data have ..."
  DType target_dtype;
  Reading reading;
  const char* default_loss;              // as loss.kind in a recipe
  std::span<const char* const> metrics;  // that exist, by their names (metrics.h); the loss first
};

std::span<const Objective> Objectives();
const Objective& ObjectiveOf(Task task);
// Null where there is none of this name.
const Objective* ObjectiveNamed(std::string_view name);

// Whether there is this metric of it.
bool HasMetric(const Objective& objective, std::string_view metric);
// "loss, accuracy or auc"
std::string MetricsText(const Objective& objective);

// The class that predictions (one per output) of one sample or position say; -1 for kValues.
int64_t PredictedClass(Reading reading, std::span<const float> predictions);

// Of ascending quantiles, the place of the one nearest to 1/2, which is the value that is told; 0
// where there are none.
size_t PlaceOfMedian(std::span<const double> quantiles);
// What the numbers of one target are called: "value" where there are no quantiles, or of the
// median; of the two others of three "low" and "high"; else "quantile 0.1".
std::vector<std::string> ValueNames(std::span<const double> quantiles);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_OBJECTIVE_H_
