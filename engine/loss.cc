#include "engine/loss.h"

namespace lockstep {

Status AddLoss(Graph& graph, const std::string& target, const Loss& loss, Value y, double factor) {
  Graph::Scope scope(graph, "", loss.kind(), nullptr, graph.shape(y));
  const std::string where = "loss " + loss.kind();
  if (graph.shape(y).rank() < 1) return Status::Invalid(where + ": takes a batch, not a scalar");
  LOCKSTEP_TRY_ASSIGN(const Value t, graph.AddInput(target, loss.target_shape(graph.shape(y)),
                                                    loss.target_dtype()));
  return loss.Build(graph, target, y, t, factor).At(where);
}

}  // namespace lockstep
