// Names the gradient that is not finite, once a norm, a loss or an update has shown that there is
// one.
#ifndef LOCKSTEP_ENGINE_OPTIM_FINITE_H_
#define LOCKSTEP_ENGINE_OPTIM_FINITE_H_

#include "engine/base/status.h"
#include "engine/plan/parameters.h"

namespace lockstep::inline v0_1 {

// The error that names the first parameter with a gradient that is not finite, and the element;
// success if all are finite. Serial: not meant for every step.
Status CheckGradientsFinite(const ParameterSet& parameters);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_FINITE_H_
