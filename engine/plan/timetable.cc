#include "engine/plan/timetable.h"

#include <algorithm>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {
namespace {

size_t Id(Value value) { return static_cast<size_t>(value.id); }
bool At(const std::vector<bool>& flags, size_t i) { return i < flags.size() && flags[i]; }

bool CanRunTwice(const Graph::Node& node) {
  return node.region >= 0 && node.loss < 0 && !node.declared.from_parameters &&
         node.fused.moments_of_x < 0 && !node.has_states;
}

}  // namespace

Timetable::Timetable(const Graph& graph, const GradientFlow& flow, bool views_share) {
  FindHeld(graph, views_share);
  const std::vector<char> repeated = FindRepeated(graph, flow);
  const auto& nodes = graph.nodes();
  const size_t count = nodes.size();
  again_.assign(count, -1);
  backward_.assign(count, -1);
  before_.resize(count);
  end_ = static_cast<int>(count);
  int last_region = -1;  // whose operations have had their turn
  for (size_t i = count; i-- > 0;) {
    if (nodes[i].region >= 0 && nodes[i].region != last_region && flow.runs(static_cast<int>(i))) {
      last_region = nodes[i].region;
      for (size_t j = 0; j < count; ++j) {
        if (nodes[j].region != last_region || !repeated[j]) continue;
        again_[j] = end_++;
        before_[i].push_back(j);
      }
    }
    backward_[i] = end_++;
  }
  for (size_t i = 0; i < count; ++i)
    LOCKSTEP_CHECK(!repeated[i] || again_[i] >= 0, "its region has no Backward");
}

void Timetable::FindHeld(const Graph& graph, bool views_share) {
  held_.assign(graph.value_count(), true);
  for (const Graph::Node& node : graph.nodes()) {
    if (!CanRunTwice(node)) continue;
    for (const Value y : node.outputs) held_[Id(y)] = false;
  }
  for (const Graph::Node& node : graph.nodes()) {
    for (const Value x : node.inputs) {
      if (!x.valid() || graph.info(x).node < 0) continue;
      const Graph::Node& from = graph.nodes()[static_cast<size_t>(graph.info(x).node)];
      if (from.region != node.region) held_[Id(x)] = true;
    }
  }
  for (const Graph::Named& output : graph.outputs()) {
    if (output.value.valid()) held_[Id(output.value)] = true;
  }
  if (!views_share) return;
  // Up and down chains of views: one memory.
  const auto join = [&](const Graph::Node& node) {
    if (!node.declared.is_view) return;
    char &x = held_[Id(node.inputs[0])], &y = held_[Id(node.outputs[0])];
    x = y = x || y;
  };
  std::for_each(graph.nodes().rbegin(), graph.nodes().rend(), join);
  std::for_each(graph.nodes().begin(), graph.nodes().end(), join);
}

std::vector<char> Timetable::FindRepeated(const Graph& graph, const GradientFlow& flow) const {
  const auto& nodes = graph.nodes();
  std::vector<char> needed(graph.value_count(), false), repeated(nodes.size(), false);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!flow.runs(static_cast<int>(i))) continue;
    const Graph::Node& node = nodes[i];
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      if (node.inputs[k].valid() && At(node.declared.reads_x, k)) needed[Id(node.inputs[k])] = true;
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      if (At(node.declared.reads_y, k)) needed[Id(node.outputs[k])] = true;
    }
  }
  for (size_t i = nodes.size(); i-- > 0;) {
    repeated[i] = std::any_of(nodes[i].outputs.begin(), nodes[i].outputs.end(),
                              [&](Value y) { return !held(y) && needed[Id(y)]; });
    if (!repeated[i]) continue;
    for (const Value x : nodes[i].inputs) {
      if (x.valid()) needed[Id(x)] = true;
    }
  }
  return repeated;
}

}  // namespace lockstep
