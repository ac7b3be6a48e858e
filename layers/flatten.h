// Everything but the batch in one dimension (torch.nn.Flatten): (B, ...) -> (B, n). A view: no
// memory moves.
#ifndef LOCKSTEP_LAYERS_FLATTEN_H_
#define LOCKSTEP_LAYERS_FLATTEN_H_

#include <string>

#include "engine/layer.h"

namespace lockstep {

class Flatten final : public Layer {
 public:
  std::string kind() const override { return "Flatten"; }
  Result<Bound> Bind(const Shape& in, Planner& plan) override;
  void Forward(const Step& step, ConstTensor x, Tensor y) override;
  void Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) override;
  Result<Graph::Value> Export(const Step& step, Graph& graph, const Graph::Value& x) const override;
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_FLATTEN_H_
