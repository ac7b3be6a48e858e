// An optimizer that was written outside of the library: whether it keeps the contract of
// engine/optim/optimizer.h.
#ifndef LOCKSTEP_MODELS_TESTING_CHECK_OPTIMIZER_H_
#define LOCKSTEP_MODELS_TESTING_CHECK_OPTIMIZER_H_

#include <functional>
#include <memory>

#include "engine/optim/optimizer.h"
#include "models/testing/report.h"

namespace lockstep::inline v0_1::checks {

// `make` gives a new one each time. On a small network that learns random targets:
//
//   "repeats", "threads", "files"   as in subject_checks.h; from files states and step count come
//                                   back, and the next update gives the same bits
//   "allocations"                   an update takes nothing from the heap; of one that never_fails:
//                                   before that of any other a step copies what it may lose
//   "frozen"                        frozen parameters stay
//   "parts"                         two of them that hold a half of the parameters each, as on two
//                                   processes, give the bits of one that holds all
//   "scale"                         grad_scale is a factor of the gradients
//   "refusals"                      parameters of another network, and gradients that are not
//                                   finite, are errors
CheckReport CheckOptimizer(const std::function<std::unique_ptr<Optimizer>()>& make,
                           const CheckOptions& options = {});

}  // namespace lockstep::checks

#endif  // LOCKSTEP_MODELS_TESTING_CHECK_OPTIMIZER_H_
