#include "tools/scale/roofline.h"

#include <algorithm>
#include <cstddef>

#include "engine/plan/gradient_flow.h"
#include "engine/plan/graph.h"

namespace lockstep::inline v0_1::scale {
namespace {

double BytesOf(const TensorSpec& spec) {
  return static_cast<double>(spec.shape.size()) * static_cast<double>(SizeOf(spec.dtype));
}

struct OperationCost {
  Cost forward{}, backward{};
  double numbers = 0.0;  // that Forward reads and writes
};

OperationCost CostOf(const Graph& graph, const GradientFlow& flow, size_t node) {
  const Graph::Node& of = graph.nodes()[node];
  const Declaration& declared = of.declared;
  const bool runs = flow.runs(static_cast<int>(node));
  OperationCost cost;
  bool has_weight = false, wants_weight = false, wants_x = false;
  const auto read_again = [](const std::vector<bool>& reads, size_t i) {
    return i < reads.size() && reads[i];
  };
  for (size_t i = 0; i < of.inputs.size(); ++i) {
    if (!of.inputs[i].valid()) continue;
    const Graph::ValueInfo& value = graph.info(of.inputs[i]);
    const double bytes = BytesOf(value.spec);
    const bool wanted = runs && flow.wants_dx(graph, static_cast<int>(node), i);
    const bool weight = value.parameter >= 0 && value.spec.shape.rank() >= 2;
    has_weight = has_weight || weight;
    wants_weight = wants_weight || (weight && wanted);
    wants_x = wants_x || (value.parameter < 0 && wanted);
    cost.numbers += static_cast<double>(value.spec.shape.size());
    cost.forward.bytes += bytes;
    if (wanted) cost.backward.bytes += bytes;
    if (runs && read_again(declared.reads_x, i)) cost.backward.bytes += bytes;
  }
  for (size_t i = 0; i < of.outputs.size(); ++i) {
    const TensorSpec& spec = graph.info(of.outputs[i]).spec;
    cost.numbers += static_cast<double>(spec.shape.size());
    cost.forward.bytes += BytesOf(spec);
    if (!runs) continue;
    if (flow.reaches(of.outputs[i])) cost.backward.bytes += BytesOf(spec);
    if (read_again(declared.reads_y, i)) cost.backward.bytes += BytesOf(spec);
  }
  cost.forward.operations = declared.flops;
  const double times = has_weight ? (wants_x ? 1.0 : 0.0) + (wants_weight ? 1.0 : 0.0) : 2.0;
  if (runs) cost.backward.operations = times * declared.flops;
  return cost;
}

bool Computes(const Graph::Node& node) {
  return !node.declared.from_parameters && !node.declared.is_view;
}

}  // namespace

double Bound(const Cost& cost, const Peaks& peaks) {
  return std::max(cost.operations / peaks.operations_per_second,
                  cost.bytes / peaks.bytes_per_second);
}

double Floor(const Cost& cost, const Peaks& peaks) {
  return cost.operations / peaks.operations_per_second + cost.bytes / peaks.bytes_per_second;
}

std::vector<LayerCost> LayerCosts(const Program& program) {
  const Graph& graph = program.graph();
  const GradientFlow flow(graph);
  std::vector<LayerCost> layers;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Graph::Node& node = graph.nodes()[i];
    if (!Computes(node)) continue;
    const OperationCost cost = CostOf(graph, flow, i);
    auto layer = std::find_if(layers.begin(), layers.end(),
                              [&](const LayerCost& one) { return one.path == node.path; });
    if (layer == layers.end()) {
      layer = layers.insert(layers.end(),
                            LayerCost{.path = node.path, .kind = graph.report()[node.report].kind});
    }
    layer->forward += cost.forward;
    layer->backward += cost.backward;
  }
  return layers;
}

Cost StepCost(const Program& program, const Optimizer& optimizer) {
  constexpr double kRides = 8.0;  // operations for each number, below which it rides on others
  const Graph& graph = program.graph();
  const GradientFlow flow(graph);
  Cost step;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    if (!Computes(graph.nodes()[i])) continue;
    const OperationCost cost = CostOf(graph, flow, i);
    if (cost.forward.operations < kRides * cost.numbers) continue;
    step.operations += cost.forward.operations + cost.backward.operations;
  }
  double moved = 0.0;  // what the optimizer updates
  for (const ParameterInfo& info : graph.store().infos()) {
    if (!info.frozen) moved += 4.0 * static_cast<double>(info.shape.size());
  }
  step.bytes = 4.0 * moved;  // gradient written and read, parameter read and written
  for (const OptimizerState& state : optimizer.states())
    step.bytes += 2.0 * static_cast<double>(state.tensor.bytes());
  return step;
}

}  // namespace lockstep::scale
