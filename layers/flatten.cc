#include "layers/flatten.h"

#include <cstring>

namespace lockstep {

Result<Bound> Flatten::Bind(const Shape& in, Planner&) {
  if (in.rank() < 1) return Status::Invalid("takes a batch, not a scalar");
  return Bound{.out = {in.batch(), in.sample_size()}, .view = true};
}

// Copies only where the caller's x and y are different memory.
void Flatten::Forward(const Step&, ConstTensor x, Tensor y) {
  std::memcpy(y.data(), x.data(), x.bytes());
}

void Flatten::Backward(const Step&, ConstTensor, ConstTensor, ConstTensor dy, Tensor dx) {
  if (!dx.empty()) std::memcpy(dx.data(), dy.data(), dy.bytes());
}

Result<Graph::Value> Flatten::Export(const Step&, Graph& graph, const Graph::Value& x) const {
  return graph.Add("Flatten", {x}, {x.shape.batch(), x.shape.sample_size()},
                   {{"axis", int64_t{1}}});
}

}  // namespace lockstep
