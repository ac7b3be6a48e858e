#include "engine/train/export.h"

#include <vector>

#include "engine/export/onnx.h"
#include "engine/tensor/graph.h"

namespace lockstep {
namespace {

// As Standardizer::Apply.
Result<Graph::Value> Standardized(Graph& graph, const Standardizer& standardizer, bool missing,
                                  const Graph::Value& x) {
  const Shape channels{standardizer.channels()};
  if (x.shape.channels() != standardizer.channels()) {
    return Status::Invalid("the statistics are of " + std::to_string(standardizer.channels()) +
                           " features, the network takes " + x.shape.ToString());
  }
  const Graph::Scope scope(graph, "data");
  const Graph::Value centred =
      graph.Add("Sub", {x, graph.AddConstant("mean", channels, standardizer.mean())});
  const Graph::Value y =
      graph.Add("Mul", {centred, graph.AddConstant("inv_sd", channels, standardizer.inv_sd())});
  if (!missing) return y;
  return graph.Add("Where", {graph.Add("IsNaN", {y}), graph.Scalar(0.0), y}, x.shape);
}

}  // namespace

Status ExportOnnx(Network& network, const std::string& path, const ExportOptions& options) {
  Graph graph({"x", network.input_shape()}, {.fold_norms = options.fold_norms});
  Graph::Value value = graph.input();
  if (options.standardizer != nullptr) {
    LOCKSTEP_TRY_ASSIGN(value, Standardized(graph, *options.standardizer, options.missing, value));
  }
  const Step step{.ctx = network.context(), .workspace = network.workspace()};
  LOCKSTEP_TRY_ASSIGN(value, network.layers().Export(step, graph, value));
  graph.SetOutput(value, "y");
  return WriteOnnx(path, graph);
}

}  // namespace lockstep
