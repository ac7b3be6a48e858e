// Between the numbers of a user and those of a network: samples are standardised as in training,
// and outputs become what a user asks for.
//
//   binary      y = 1 / (1 + e^(-logit/T))   the probability of the positive class
//   classes     y = softmax(logits / T)      the probability of each class
//   regression  y = the network's output, in the unit of the data; where the network's loss says
//                   that it is quantiles (Loss::quantiles), those of each target in ascending order
// where T is the temperature of the model's decision, 1 unless it was calibrated.
#ifndef LOCKSTEP_ENGINE_TRAIN_INTERPRETATION_H_
#define LOCKSTEP_ENGINE_TRAIN_INTERPRETATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"
#include "engine/train/decision.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// A value: copies are independent. Thread-compatible; the const functions may run on any number of
// threads at once, each with a network and room of its own.
class Interpretation {
 public:
  // Of `samples` the task counts, and the unit of its targets. An error if the standardizer has
  // another number of channels than the network's input.
  static Result<Interpretation> Make(const Network& network, const DatasetInfo& samples,
                                     std::optional<Standardizer> standardizer,
                                     const Decision& decision);

  // Floats of room for all samples that this network predicts at a time; 0 where nothing is
  // standardised.
  size_t Room(const Network& network) const;
  // Through a network of the same layers as Make's. x (samples, ...), y (samples, ...) as the
  // network's output. An error if they do not fit. Allocates nothing unless it fails.
  Status Predict(Network& network, ConstTensor x, Tensor y, std::span<float> room) const;
  // x standardised, in `room`, or x itself. REQUIRES: x f32 (..., channels) has room.
  ConstTensor Standardized(ConstTensor x, std::span<float> room) const;

  // The class that predictions of one sample, or of one position of it, say; -1 of a regression.
  int64_t ClassOf(std::span<const float> predictions) const {
    return lockstep::ClassOf(decision_, reading_, predictions);
  }
  Reading reading() const { return reading_; }
  double target_scale() const { return target_scale_; }
  double target_offset() const { return target_offset_; }
  int64_t quantiles() const { return quantiles_; }  // of each target; 0: values
  const std::optional<Standardizer>& standardizer() const { return standardizer_; }
  const Decision& decision() const { return decision_; }
  void set_decision(const Decision& decision) { decision_ = decision; }

 private:
  Interpretation() = default;

  Reading reading_ = Reading::kValues;
  double target_scale_ = 1.0, target_offset_ = 0.0;
  int64_t quantiles_ = 0;
  Decision decision_;
  std::optional<Standardizer> standardizer_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_INTERPRETATION_H_
