// From samples as a user has them to what a user asks for: through a network in evaluation mode,
// with what interpretation.h says before and behind it.
#ifndef LOCKSTEP_ENGINE_TRAIN_PREDICTOR_H_
#define LOCKSTEP_ENGINE_TRAIN_PREDICTOR_H_

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/borrowed.h"
#include "engine/base/catch.h"
#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/table/standardize.h"
#include "engine/train/decision.h"
#include "engine/train/interpretation.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1 {

// Borrows the network, whose weights of the moment it predicts with, and is as thread-compatible as
// that. Movable. For several threads on one set of weights see shared_predictor.h.
class Predictor {
 public:
  // As Interpretation::Make.
  static Result<Predictor> Make(Network& network, const DatasetInfo& samples,
                                std::optional<Standardizer> standardizer = std::nullopt,
                                const Decision& decision = {}) {
    LOCKSTEP_TRY_ASSIGN(Interpretation interpretation,
                        Interpretation::Make(network, samples, std::move(standardizer), decision));
    return Predictor(network, std::move(interpretation));
  }
  static Result<Predictor> Make(Network& network, Task task,
                                std::optional<Standardizer> standardizer = std::nullopt,
                                const Decision& decision = {}) {
    return Make(network, DatasetInfo{.task = task}, std::move(standardizer), decision);
  }

  // x f32 (samples, ...), y (samples, ...) as the network's output; samples <= the bound batch, or
  // Network::evaluation_batch where that is larger. A sample gets the same bits alone as in any
  // batch. Allocates nothing unless it fails. Errors as Network::Predict's.
  Status Run(ConstTensor x, Tensor y) {
    if (!network_) return Status::Invalid("this predictor was moved from: use the one it moved to");
    return StatusOf([&] { return interpretation_.Predict(*network_, x, y, x_); });
  }
  // What it is made of: x standardised, into memory of its own where there is a standardizer (valid
  // until the next call); for whoever trains on raw samples too. REQUIRES: x fits the network.
  ConstTensor Standardized(ConstTensor x) { return interpretation_.Standardized(x, x_); }

  // The class that predictions of one sample, or of one position of it, say; -1 of a regression.
  int64_t ClassOf(std::span<const float> predictions) const {
    return interpretation_.ClassOf(predictions);
  }
  const Decision& decision() const { return interpretation_.decision(); }
  void set_decision(const Decision& decision) { interpretation_.set_decision(decision); }

 private:
  Predictor(Network& network, Interpretation interpretation)
      : network_(&network),
        interpretation_(std::move(interpretation)),
        x_(interpretation_.Room(network)) {}

  Borrowed<Network> network_;
  Interpretation interpretation_;
  std::vector<float> x_;  // room for a batch, standardised
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_PREDICTOR_H_
