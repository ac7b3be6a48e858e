// What layers say of the shapes they take.
#ifndef LOCKSTEP_LAYERS_ROWS_H_
#define LOCKSTEP_LAYERS_ROWS_H_

#include <string>

#include "engine/base/status.h"
#include "engine/plan/operation.h"

namespace lockstep::inline v0_1 {

// x must be f32 (batch, ..., `last`) with at least one of `last`.
inline Status CheckRows(const TensorSpec& x, const std::string& last) {
  if (x.dtype != DType::kF32)
    return Status::Invalid(std::string("takes f32, not ") + NameOf(x.dtype));
  if (x.shape.rank() < 2 || x.shape.channels() < 1)
    return Status::Invalid("takes (batch, ..., " + last + "), not " + x.shape.ToString());
  return Status::Ok();
}

inline Status CheckEps(double eps) {
  if (eps > 0.0) return Status::Ok();
  return Status::Invalid("eps must be positive, not " + std::to_string(eps));
}

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ROWS_H_
