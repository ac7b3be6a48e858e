#include "layers/onnx_ops.h"

namespace lockstep::inline v0_1 {
namespace {

OnnxGraph::Value Mean(OnnxGraph& graph, const OnnxGraph::Value& x,
                      const std::vector<int64_t>& axes) {
  std::vector<int64_t> extents(x.shape.dims().begin(), x.shape.dims().end());
  for (const int64_t axis : axes) extents[static_cast<size_t>(axis)] = 1;
  return graph.Add("ReduceMean", {x}, Shape(std::span<const int64_t>(extents)),
                   {{"axes", axes}, {"keepdims", int64_t{1}}});
}

}  // namespace

OnnxGraph::Value DivideByRootMeanSquare(OnnxGraph& graph, const OnnxGraph::Value& x,
                                        const std::vector<int64_t>& axes, double eps) {
  const OnnxGraph::Value square = Mean(graph, graph.Add("Mul", {x, x}), axes);
  const OnnxGraph::Value root = graph.Add("Sqrt", {graph.Add("Add", {square, graph.Scalar(eps)})});
  return graph.Add("Div", {x, root});
}

OnnxGraph::Value Standardize(OnnxGraph& graph, const OnnxGraph::Value& x,
                             const std::vector<int64_t>& axes, double eps) {
  const OnnxGraph::Value centred = graph.Add("Sub", {x, Mean(graph, x, axes)});
  return DivideByRootMeanSquare(graph, centred, axes, eps);
}

OnnxGraph::Value ScaleAndShift(OnnxGraph& graph, const OnnxGraph::Value& x,
                               const OnnxGraph::Value& gamma, const OnnxGraph::Value& beta) {
  OnnxGraph::Value y = x;
  if (!gamma.name.empty()) y = graph.Add("Mul", {y, gamma});
  if (!beta.name.empty()) y = graph.Add("Add", {y, beta});
  return y;
}

OnnxGraph::Value ToChannelsFirst(OnnxGraph& graph, const OnnxGraph::Value& x) {
  std::vector<int64_t> order = {0, x.shape.rank() - 1};
  for (int64_t i = 1; i + 1 < x.shape.rank(); ++i) order.push_back(i);
  return Transpose(graph, x, order);
}

OnnxGraph::Value ToChannelsLast(OnnxGraph& graph, const OnnxGraph::Value& x) {
  std::vector<int64_t> order = {0};
  for (int64_t i = 2; i < x.shape.rank(); ++i) order.push_back(i);
  order.push_back(1);
  return Transpose(graph, x, order);
}

OnnxGraph::Value Transpose(OnnxGraph& graph, const OnnxGraph::Value& x,
                           const std::vector<int64_t>& order) {
  std::vector<int64_t> extents;
  for (const int64_t i : order) extents.push_back(x.shape[static_cast<int>(i)]);
  return graph.Add("Transpose", {x}, Shape(std::span<const int64_t>(extents)), {{"perm", order}});
}

OnnxGraph::Value Slice(OnnxGraph& graph, const OnnxGraph::Value& x, int64_t axis, int64_t begin,
                       int64_t end) {
  std::vector<int64_t> extents(x.shape.dims().begin(), x.shape.dims().end());
  extents[static_cast<size_t>(axis < 0 ? axis + x.shape.rank() : axis)] = end - begin;
  return graph.Add("Slice",
                   {x, graph.AddIntegers("starts", {1}, {begin}),
                    graph.AddIntegers("ends", {1}, {end}), graph.AddIntegers("axes", {1}, {axis})},
                   Shape(std::span<const int64_t>(extents)));
}

}  // namespace lockstep
