#include "engine/layer.h"

namespace lockstep {

Result<Graph::Value> Layer::Export(const Step&, Graph& graph, const Graph::Value&) const {
  return Status::Invalid("layer " + graph.path() + " (" + kind() +
                         ") cannot be exported: it does not say how (Layer::Export)");
}

Result<BoundIn> BindInScope(Layer& layer, const std::string& name, const Shape& in, Planner& plan) {
  Planner::Scope scope(plan, name, layer.kind(), in);
  const std::string where =
      plan.path().empty() ? layer.kind() : plan.path() + " (" + layer.kind() + ")";
  Result<Bound> bound = layer.Bind(in, plan);
  if (!bound.ok()) {
    // The innermost layer has already said where; those around it add nothing.
    return bound.status().message().starts_with("layer ") ? bound.status()
                                                          : bound.status().At("layer " + where);
  }
  scope.Close(bound->out, bound->flops);
  return BoundIn{.bound = *bound, .begin = scope.begin(), .end = scope.end()};
}

}  // namespace lockstep
