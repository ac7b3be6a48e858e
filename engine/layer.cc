#include "engine/layer.h"

namespace lockstep::inline v0_1 {

Result<Value> Apply(Graph& graph, const std::string& name, const Layer& layer, Value x) {
  if (!graph.Has(x)) {
    return Status::Invalid("layer " + (name.empty() ? "" : name + " ") + "(" + layer.kind() +
                           ") is applied to no value of this graph, but of another or none");
  }
  Graph::Scope scope(graph, name, layer.kind(), &layer, graph.shape(x));
  LOCKSTEP_TRY(scope.status());
  Result<Value> y = layer.Build(graph, x);
  if (y.ok() && !graph.Has(*y)) {
    y = Status::Invalid(y->valid() ? "it returns a value of another graph" : "it returns no value");
  }
  if (!y.ok()) {
    // The innermost layer has already said where; those around it add nothing.
    if (y.status().message().starts_with("layer ")) return y;
    const std::string where = graph.path().empty() ? "" : graph.path() + " ";
    return y.status().At("layer " + where + "(" + layer.kind() + ")");
  }
  scope.SetOutput(graph.shape(*y));
  graph.SetLayerOutput(*y);
  return y;
}

}  // namespace lockstep
