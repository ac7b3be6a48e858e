// A loss that was written outside of the library: whether it keeps the contracts of engine/loss.h.
#ifndef LOCKSTEP_MODELS_TESTING_CHECK_LOSS_H_
#define LOCKSTEP_MODELS_TESTING_CHECK_LOSS_H_

#include <cstdint>
#include <functional>

#include "engine/loss.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"
#include "models/testing/report.h"

namespace lockstep::inline v0_1::checks {

struct LossCheckOptions : CheckOptions {
  // Fills targets of some samples, a function of the seed. Empty: normal draws where targets are
  // f32, and of whole numbers (i32) those from 0 below the channels of y.
  std::function<void(Tensor target, uint64_t seed)> fill_target{};
};

// Of the outputs y (batch, ...), with a batch of at least 8, of a product. Besides the checks of
// subject_checks.h:
//
//   "parts"    the sums and the weights of two halves of a batch are those of the whole
//   "weights"  where the loss takes weights of samples: equal ones change nothing, and samples of
//              weight 0 are as if they were not there
CheckReport CheckLoss(const Loss& loss, const Shape& y, const LossCheckOptions& options = {});

}  // namespace lockstep::checks

#endif  // LOCKSTEP_MODELS_TESTING_CHECK_LOSS_H_
