#include "layers/container/checkpointed.h"

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

Checkpointed::Checkpointed(std::unique_ptr<Layer> body) : body_(std::move(body)) {
  LOCKSTEP_CHECK(body_ != nullptr, "a layer is needed");
}

// Without a scope of its own, which would change the body's names.
Result<Value> Checkpointed::Build(Graph& graph, Value x) const {
  const Graph::Recomputed region(graph);
  return body_->Build(graph, x);
}

}  // namespace lockstep
