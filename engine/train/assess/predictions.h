// What a network says of some samples, and what is true of them: what everything in this folder
// begins with.
#ifndef LOCKSTEP_ENGINE_TRAIN_ASSESS_PREDICTIONS_H_
#define LOCKSTEP_ENGINE_TRAIN_ASSESS_PREDICTIONS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/objective.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

struct Predictions {
  Reading reading = Reading::kValues;
  int64_t columns = 1;             // of each sample: 1, or the classes, or the numbers
  std::vector<float> outputs{};    // (samples, columns): logits, or numbers in their own unit
  std::vector<float> truths{};     // kPositive: 0 or 1 (samples); kValues: (samples, columns)
  std::vector<int32_t> classes{};  // kOneOf: the true one (samples)
  std::vector<int64_t> indices{};  // which samples of the dataset these are
  std::vector<float> weights{};    // of the samples, where they have some; else empty

  int64_t samples() const { return static_cast<int64_t>(indices.size()); }
  // Those of sample i.
  std::span<const float> of(int64_t i) const {
    return std::span(outputs).subspan(static_cast<size_t>(i * columns),
                                      static_cast<size_t>(columns));
  }
  // The samples at these places.
  Predictions Selected(std::span<const int64_t> places) const;
  // Probabilities at this temperature, see MakePredictions: (samples, columns), with the bits that
  // a Predictor gives.
  std::vector<float> Probabilities(float temperature) const;
};

// Whether such samples have one prediction each that can be looked at by itself: not sequences with
// a class for each position, nor pictures as targets of a regression, nor several answers for one
// target.
bool CanBeAssessed(const Network& network, const DatasetInfo& info);

// Adds to `to` what the network's outputs y of some samples tell: the logits as they are, or
// numbers in their own unit; of quantiles the median.
void AppendTold(const Network& network, const DatasetInfo& info, std::span<const float> y,
                std::vector<float>& to);

// `most` of the samples without repetition, in their order, drawn by `seed`; all where there are no
// more. REQUIRES: most > 0.
Subset DrawSamples(const Subset& samples, int64_t most, uint64_t seed = 1);

// In evaluation mode, by this process alone. Samples whose target does not count are left out.
// Errors: samples that do not fit the network or cannot be assessed, an output that is not finite.
Result<Predictions> Collect(Network& network, const Subset& samples);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_ASSESS_PREDICTIONS_H_
