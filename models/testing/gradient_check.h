// Gradients of a network against differences of its loss.
#ifndef LOCKSTEP_MODELS_TESTING_GRADIENT_CHECK_H_
#define LOCKSTEP_MODELS_TESTING_GRADIENT_CHECK_H_

#include <cstdint>
#include <string>

#include "models/testing/trace.h"

namespace lockstep::inline v0_1::checks {

// A gradient g, of a parameter or of the input, is held against differences of the loss along
// random directions d: g d is the slope there only if every element of g is right (a projection of
// g, or a missing one, would give another), and the input's gradient has come through every dx of
// the network.
//
// The tolerance. Differences of a loss L in float lose about 4e-7 (1 + L) to rounding (its terms
// are rounded, their sum is double), so the slope up to 1.5 * 4e-7 (1 + L) / h; the stencil itself
// is exact up to h^4, and kinks of ReLU spoil it where one lies within 2 h. Several lengths h, and
// the best counts: a wrong gradient is wrong at all of them. Several directions, for what an error
// does along one of them is about its length divided by sqrt(n); and the gradient's own, along
// which a factor shows best.
//
// Returns what is wrong, with the name of the parameter ("x" is the input), or an empty text;
// `held` (may be null) is increased by the slopes that agreed.
std::string CheckGradients(const Subject& subject, uint64_t seed, int64_t* held = nullptr);

// Whether Backward overwrites gradients, or adds to them where it is asked to.
std::string CheckAccumulation(const Subject& subject, uint64_t seed);

}  // namespace lockstep::checks

#endif  // LOCKSTEP_MODELS_TESTING_GRADIENT_CHECK_H_
