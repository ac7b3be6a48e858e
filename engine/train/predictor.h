// From samples as a user has them to what a user asks for: standardised as in training, through the
// network in evaluation mode, and made probabilities.
//
//   binary      y = 1 / (1 + e^(-logit/T))   the probability of the positive class
//   classes     y = softmax(logits / T)      the probability of each class
//   regression  y = the network's output, in the unit of the data; where the network's loss says
//                   that it is quantiles (Loss::quantiles), those of each target in ascending order
// where T is the temperature of the model's decision, 1 unless it was calibrated.
#ifndef LOCKSTEP_ENGINE_TRAIN_PREDICTOR_H_
#define LOCKSTEP_ENGINE_TRAIN_PREDICTOR_H_

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"
#include "engine/train/decision.h"
#include "engine/train/network.h"

namespace lockstep {

// Borrows the network, and is as thread-compatible as that. Movable.
class Predictor {
 public:
  // Of `samples` the task counts, and the unit of its targets. An error if the standardizer has
  // another number of channels than the network's input.
  static Result<Predictor> Make(Network& network, const DatasetInfo& samples,
                                std::optional<Standardizer> standardizer = std::nullopt,
                                const Decision& decision = {});
  static Result<Predictor> Make(Network& network, Task task,
                                std::optional<Standardizer> standardizer = std::nullopt,
                                const Decision& decision = {}) {
    return Make(network, DatasetInfo{.task = task}, std::move(standardizer), decision);
  }

  // x f32 (samples, ...), y (samples, ...) as the network's output; samples <= the bound batch. A
  // sample gets the same bits alone as in any batch. Allocates nothing unless it fails.
  Status Run(ConstTensor x, Tensor y);
  // What it is made of: x standardised, into memory of its own where there is a standardizer (valid
  // until the next call); for whoever trains on raw samples too. REQUIRES: x fits the network.
  ConstTensor Standardized(ConstTensor x);

  // The class that predictions of one sample, or of one position of it, say; -1 of a regression.
  int64_t ClassOf(std::span<const float> predictions) const {
    return lockstep::ClassOf(decision_, reading_, predictions);
  }
  const Decision& decision() const { return decision_; }
  void set_decision(const Decision& decision) { decision_ = decision; }

 private:
  Predictor(Network& network, const DatasetInfo& samples, std::optional<Standardizer> standardizer,
            const Decision& decision);

  Network* network_;
  Reading reading_;
  double target_scale_, target_offset_;
  Decision decision_;
  std::optional<Standardizer> standardizer_;
  std::vector<float> x_;  // room for a batch, standardised
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_PREDICTOR_H_
