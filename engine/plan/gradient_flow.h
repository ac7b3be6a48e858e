// Through which values and operations of a graph gradients flow.
#ifndef LOCKSTEP_ENGINE_PLAN_GRADIENT_FLOW_H_
#define LOCKSTEP_ENGINE_PLAN_GRADIENT_FLOW_H_

#include <cstddef>
#include <vector>

#include "engine/plan/graph.h"

namespace lockstep::inline v0_1 {

class GradientFlow {
 public:
  GradientFlow() = default;
  explicit GradientFlow(const Graph& graph);

  // Whether the gradient of a value is computed: a loss depends on it, and something that learns
  // lies behind it.
  bool reaches(Value value) const { return reaches_[static_cast<size_t>(value.id)]; }
  // Whether an operation's Backward runs, and whether it computes dx(input).
  bool runs(int node) const { return runs_[static_cast<size_t>(node)]; }
  bool wants_dx(const Graph& graph, int node, size_t input) const;

 private:
  std::vector<char> needs_;  // by value: something that learns lies behind it
  std::vector<char> reaches_, runs_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_GRADIENT_FLOW_H_
