// What a network says of samples that it has not seen: of the fold that a run of a cross-validation
// holds back, kept beside its model, so that the folds can be put together.
#ifndef LOCKSTEP_TOOLS_COMMAND_HELD_OUT_H_
#define LOCKSTEP_TOOLS_COMMAND_HELD_OUT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/train/decision.h"
#include "engine/train/evaluate.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1::tools {

struct HeldOut {
  std::vector<int64_t> samples{};  // of the dataset
  int64_t columns = 0;             // outputs for each
  // (samples, columns), as the network gives them, over its temperature (Decision); numbers in their
  // own unit, for each fold has scales of its own, and of quantiles the median alone.
  std::vector<float> outputs{};
  // Decision::threshold of the network that gives them (samples).
  std::vector<float> thresholds{};
  int64_t target_columns = 0;
  std::vector<float> targets{};  // (samples, target_columns), likewise; of classes their numbers
  LossSum loss{};                // as it is trained on, at temperature 1

  int64_t size() const { return static_cast<int64_t>(samples.size()); }
  // REQUIRES: as many columns, or nothing there yet.
  void Append(const HeldOut& more);
};

// In evaluation mode, by this process alone. Errors: samples that do not fit, an output or a target
// of several positions.
Result<HeldOut> MeasureHeldOut(Network& network, const Decision& decision, const Subset& subset);

// A safetensors file: samples, outputs, thresholds, targets, loss.
Status WriteHeldOut(const std::string& path, const HeldOut& held);
Result<HeldOut> ReadHeldOut(const std::string& path);

// All of it measured as one evaluation, each sample by the decision of its own network. `info` says
// task and classes.
Result<EvaluationResult> Measure(const HeldOut& held, const DatasetInfo& info);

// Predictions p of what the outputs say (Reading), in place of them: probabilities, or numbers in
// their own unit.
std::vector<float> PredictionsOf(const HeldOut& held, const DatasetInfo& info);
// The class that they say of sample i; -1 of numbers.
int64_t ClassOf(const HeldOut& held, const DatasetInfo& info, std::span<const float> predictions,
                size_t i);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_COMMAND_HELD_OUT_H_
