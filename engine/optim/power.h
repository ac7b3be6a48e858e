// Powers that have the same bits on every machine, which std::pow does not promise.
#ifndef LOCKSTEP_ENGINE_OPTIM_POWER_H_
#define LOCKSTEP_ENGINE_OPTIM_POWER_H_

#include <cstdint>

namespace lockstep::inline v0_1 {

// base^exponent by squaring, exponent >= 0. The relative error grows like exponent * 1e-16; for a
// base below one the absolute error stays below 1e-13 wherever that matters (1 - 0.999^n).
constexpr double Power(double base, int64_t exponent) {
  double power = 1.0;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 != 0) power *= base;
    base *= base;
  }
  return power;
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_POWER_H_
