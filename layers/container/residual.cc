#include "layers/container/residual.h"

#include "layers/arithmetic.h"

namespace lockstep::inline v0_1 {

// The shortcut comes first, so that the body's last operation can add it.
Result<Value> Residual::Build(Graph& graph, Value x) const {
  Value s = x;
  if (shortcut_ != nullptr) {
    LOCKSTEP_TRY_ASSIGN(s, Apply(graph, "shortcut", *shortcut_, x));
  }
  LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "body", *body_, x));
  if (!(graph.shape(y) == graph.shape(s))) {
    return Status::Invalid("the body gives " + graph.shape(y).ToString() + " but the " +
                           (shortcut_ != nullptr ? "shortcut gives " : "input is ") +
                           graph.shape(s).ToString() + ": they cannot be added");
  }
  return graph.Add(Sum(), {y, s});
}

}  // namespace lockstep
