// Everything but the batch in one dimension (torch.nn.Flatten): (B, ...) -> (B, n). A view: no
// memory moves.
#ifndef LOCKSTEP_LAYERS_FLATTEN_H_
#define LOCKSTEP_LAYERS_FLATTEN_H_

#include <string>

#include "engine/layer.h"

namespace lockstep::inline v0_1 {

class Flatten final : public Layer {
 public:
  std::string kind() const override { return "Flatten"; }
  Result<Value> Build(Graph& graph, Value x) const override;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_FLATTEN_H_
