#include "layers/container/sequential.h"

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

Sequential& Sequential::Add(std::unique_ptr<Layer> layer) {
  LOCKSTEP_CHECK(layer != nullptr, "a layer is needed");
  layers_.push_back(std::move(layer));
  return *this;
}

Result<Value> Sequential::Build(Graph& graph, Value x) const {
  if (layers_.empty()) return Status::Invalid("a Sequential needs at least one layer");
  for (size_t i = 0; i < layers_.size(); ++i) {
    LOCKSTEP_TRY_ASSIGN(x, Apply(graph, std::to_string(i), *layers_[i], x));
  }
  return x;
}

}  // namespace lockstep
