#include "engine/loss.h"

namespace lockstep::inline v0_1 {

Status AddLoss(Graph& graph, const std::string& target, const Loss& loss, Value y, double factor,
               const std::string& weights) {
  Graph::Scope scope(graph, "", loss.kind(), nullptr, graph.shape(y));
  const std::string where = "loss " + loss.kind();
  if (graph.shape(y).rank() < 1) return Status::Invalid(where + ": takes a batch, not a scalar");
  LOCKSTEP_TRY_ASSIGN(const Value t, graph.AddInput(target, loss.target_shape(graph.shape(y)),
                                                    loss.target_dtype()));
  if (weights.empty()) return loss.Build(graph, target, y, t, factor).At(where);
  LOCKSTEP_TRY_ASSIGN(const Value w, graph.AddInput(weights, Shape{graph.batch()}));
  graph.SetSampleWeights(w);
  const Status built = loss.Build(graph, target, y, t, factor).At(where);
  graph.SetSampleWeights({});
  return built;
}

}  // namespace lockstep
