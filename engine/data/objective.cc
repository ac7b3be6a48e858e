#include "engine/data/objective.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "engine/base/check.h"
#include "engine/base/text.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr const char* kOfBinary[] = {"loss", "accuracy", "auc"};
constexpr const char* kOfClasses[] = {"loss", "accuracy"};
constexpr const char* kOfRegression[] = {"loss", "mae", "r2"};

constexpr Objective kObjectives[] = {
    {.task = Task::kBinary,
     .name = "binary",
     .targets = "two classes",
     .target_dtype = DType::kF32,
     .reading = Reading::kPositive,
     .default_loss = "bce",
     .metrics = kOfBinary},
    {.task = Task::kClasses,
     .name = "classes",
     .targets = "class numbers",
     .target_dtype = DType::kI32,
     .reading = Reading::kOneOf,
     .default_loss = "cross_entropy",
     .metrics = kOfClasses},
    {.task = Task::kRegression,
     .name = "regression",
     .targets = "numbers",
     .target_dtype = DType::kF32,
     .reading = Reading::kValues,
     .default_loss = "mse",
     .metrics = kOfRegression},
};

// The compiler warns of a task that has no case here.
constexpr size_t RowOf(Task task) {
  switch (task) {
    case Task::kBinary:
      return 0;
    case Task::kClasses:
      return 1;
    case Task::kRegression:
      return 2;
  }
  return std::size(kObjectives);
}
static_assert([] {
  for (size_t i = 0; i < std::size(kObjectives); ++i) {
    if (RowOf(kObjectives[i].task) != i) return false;
  }
  return true;
}());

}  // namespace

std::span<const Objective> Objectives() { return kObjectives; }

const Objective& ObjectiveOf(Task task) {
  const size_t row = RowOf(task);
  LOCKSTEP_CHECK(row < std::size(kObjectives), "a number that is no Task");
  return kObjectives[row];
}

const Objective* ObjectiveNamed(std::string_view name) {
  for (const Objective& objective : kObjectives) {
    if (name == objective.name) return &objective;
  }
  return nullptr;
}

bool HasMetric(const Objective& objective, std::string_view metric) {
  return std::find(objective.metrics.begin(), objective.metrics.end(), metric) !=
         objective.metrics.end();
}

std::string MetricsText(const Objective& objective) {
  std::string text;
  for (size_t i = 0; i < objective.metrics.size(); ++i) {
    const char* between = i == 0 ? "" : i + 1 < objective.metrics.size() ? ", " : " or ";
    text += between + std::string(objective.metrics[i]);
  }
  return text;
}

int64_t PredictedClass(Reading reading, std::span<const float> predictions) {
  switch (reading) {
    case Reading::kValues:
      break;
    case Reading::kPositive:
      return predictions[0] > 0.5f ? 1 : 0;
    case Reading::kOneOf:
      return std::max_element(predictions.begin(), predictions.end()) - predictions.begin();
  }
  return -1;
}

size_t PlaceOfMedian(std::span<const double> quantiles) {
  size_t place = 0;
  for (size_t i = 1; i < quantiles.size(); ++i) {
    if (std::abs(quantiles[i] - 0.5) < std::abs(quantiles[place] - 0.5)) place = i;
  }
  return place;
}

std::vector<std::string> ValueNames(std::span<const double> quantiles) {
  std::vector<std::string> names;
  const size_t median = PlaceOfMedian(quantiles);
  for (size_t i = 0; i < std::max<size_t>(1, quantiles.size()); ++i) {
    if (i == median) {
      names.emplace_back("value");
    } else if (quantiles.size() == 3 && median == 1) {
      names.emplace_back(i == 0 ? "low" : "high");
    } else {
      names.push_back("quantile " + TextOf(quantiles[i]));
    }
  }
  return names;
}

}  // namespace lockstep
