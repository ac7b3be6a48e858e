// A gate before a product: y = silu(a) b of (a b) = x. Shazeer, "GLU variants improve transformer",
// 2020. No parameters.
#ifndef LOCKSTEP_LAYERS_SWIGLU_H_
#define LOCKSTEP_LAYERS_SWIGLU_H_

#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

// x (B, ..., 2F) -> y (B, ..., F): the first F numbers of a row are the gate a, the others b.
class SwiGlu final : public Layer {
 public:
  std::string kind() const override { return "SwiGLU"; }
  Result<Value> Build(Graph& graph, Value x) const override;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_SWIGLU_H_
