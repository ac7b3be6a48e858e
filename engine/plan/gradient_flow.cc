#include "engine/plan/gradient_flow.h"

#include <algorithm>

namespace lockstep::inline v0_1 {

// Forward: what depends on something that learns. Backward: what of that a loss depends on.
GradientFlow::GradientFlow(const Graph& graph)
    : needs_(graph.value_count(), false),
      reaches_(graph.value_count(), false),
      runs_(graph.nodes().size(), false) {
  if (!graph.options().training) return;
  const auto id = [](Value value) { return static_cast<size_t>(value.id); };
  for (size_t v = 0; v < needs_.size(); ++v) {
    const Graph::ValueInfo& info = graph.info({static_cast<int>(v)});
    if (info.parameter >= 0)
      needs_[v] = !graph.options().evaluates &&
                  !graph.store().infos()[static_cast<size_t>(info.parameter)].frozen;
    if (info.input >= 0) needs_[v] = graph.inputs()[static_cast<size_t>(info.input)].wants_gradient;
  }
  const auto& all = graph.nodes();
  for (const Graph::Node& node : all) {
    const bool needs = std::any_of(node.inputs.begin(), node.inputs.end(),
                                   [&](Value x) { return x.valid() && needs_[id(x)]; });
    for (const Value y : node.outputs) {
      const bool carries =
          graph.spec(y).dtype == DType::kF32 || graph.spec(y).dtype == DType::kBF16;
      needs_[id(y)] = needs && (carries || node.loss >= 0);
    }
  }
  for (size_t i = all.size(); i-- > 0;) {
    const Graph::Node& node = all[i];
    if (node.loss >= 0) reaches_[id(node.outputs[0])] = needs_[id(node.outputs[0])];
    const bool arrives = std::any_of(node.outputs.begin(), node.outputs.end(),
                                     [&](Value y) { return reaches_[id(y)]; });
    if (!arrives) continue;
    for (const Value x : node.inputs) {
      if (!x.valid() || !needs_[id(x)]) continue;
      reaches_[id(x)] = true;
      runs_[i] = true;
    }
  }
}

bool GradientFlow::wants_dx(const Graph& graph, int node, size_t input) const {
  const Graph::Node& of = graph.nodes()[static_cast<size_t>(node)];
  return runs(node) && input < of.inputs.size() && of.inputs[input].valid() &&
         needs_[static_cast<size_t>(of.inputs[input].id)];
}

}  // namespace lockstep
