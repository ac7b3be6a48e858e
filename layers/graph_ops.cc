#include "layers/graph_ops.h"

namespace lockstep {
namespace {

Graph::Value Mean(Graph& graph, const Graph::Value& x, const std::vector<int64_t>& axes) {
  std::vector<int64_t> extents(x.shape.dims().begin(), x.shape.dims().end());
  for (const int64_t axis : axes) extents[static_cast<size_t>(axis)] = 1;
  return graph.Add("ReduceMean", {x}, Shape(std::span<const int64_t>(extents)),
                   {{"axes", axes}, {"keepdims", int64_t{1}}});
}

}  // namespace

Graph::Value DivideByRootMeanSquare(Graph& graph, const Graph::Value& x,
                                    const std::vector<int64_t>& axes, double eps) {
  const Graph::Value square = Mean(graph, graph.Add("Mul", {x, x}), axes);
  const Graph::Value root = graph.Add("Sqrt", {graph.Add("Add", {square, graph.Scalar(eps)})});
  return graph.Add("Div", {x, root});
}

Graph::Value Standardize(Graph& graph, const Graph::Value& x, const std::vector<int64_t>& axes,
                         double eps) {
  const Graph::Value centred = graph.Add("Sub", {x, Mean(graph, x, axes)});
  return DivideByRootMeanSquare(graph, centred, axes, eps);
}

Graph::Value ScaleAndShift(Graph& graph, const Graph::Value& x, const float* gamma,
                           const float* beta) {
  const Shape channels{x.shape.channels()};
  Graph::Value y = x;
  if (gamma != nullptr) y = graph.Add("Mul", {y, graph.AddConstant("weight", channels, gamma)});
  if (beta != nullptr) y = graph.Add("Add", {y, graph.AddConstant("bias", channels, beta)});
  return y;
}

}  // namespace lockstep
