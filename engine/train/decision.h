// How a model's outputs become what it says, where that was found on samples held back from
// training: to and from the metadata of its file.
//
//   "decision.temperature"  T: probabilities are those of outputs / T; left out where it is 1
//   "decision.threshold"    binary: a positive is said where p > it; left out where it is 0.5
#ifndef LOCKSTEP_ENGINE_TRAIN_DECISION_H_
#define LOCKSTEP_ENGINE_TRAIN_DECISION_H_

#include <cstdint>
#include <span>

#include "engine/base/status.h"
#include "engine/data/objective.h"
#include "engine/io/safetensors.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

inline constexpr float kLeastTemperature = 0.01f, kMostTemperature = 100.0f;

// A default-made one is that of a network by itself.
struct Decision {
  float temperature = 1.0f;  // in [kLeastTemperature, kMostTemperature]
  float threshold = 0.5f;    // of the probability of the positive class, in [0, 1]

  friend bool operator==(const Decision&, const Decision&) = default;
};

Metadata MetadataOf(const Decision& decision);
// Untrusted input. Default where the metadata say nothing.
Result<Decision> DecisionFrom(const Metadata& metadata);

// The class that predictions (one per output) of one sample or position say; -1 for kValues.
int64_t ClassOf(const Decision& decision, Reading reading, std::span<const float> predictions);
// The network's outputs y f32 (..., channels) become predictions in place (see Reading), at this
// temperature. Numbers of a regression stay as they are.
void MakePredictions(Reading reading, float temperature, Tensor y);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_DECISION_H_
