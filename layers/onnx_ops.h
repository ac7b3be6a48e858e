// What several layers are exported as.
#ifndef LOCKSTEP_LAYERS_ONNX_OPS_H_
#define LOCKSTEP_LAYERS_ONNX_OPS_H_

#include <cstdint>
#include <vector>

#include "engine/plan/onnx_graph.h"

namespace lockstep::inline v0_1 {

// x / sqrt(mean(x^2) + eps), the mean over `axes`.
OnnxGraph::Value DivideByRootMeanSquare(OnnxGraph& graph, const OnnxGraph::Value& x,
                                        const std::vector<int64_t>& axes, double eps);
// (x - mean) / sqrt(var + eps), mean and variance (biased) over `axes`.
OnnxGraph::Value Standardize(OnnxGraph& graph, const OnnxGraph::Value& x,
                             const std::vector<int64_t>& axes, double eps);
// gamma x + beta, with gamma and beta (C) for the last dimension; those without a name are left
// out.
OnnxGraph::Value ScaleAndShift(OnnxGraph& graph, const OnnxGraph::Value& x,
                               const OnnxGraph::Value& gamma, const OnnxGraph::Value& beta);

// (B, ..., C) as (B, C, ...), which ONNX's convolutions and pools take, and back.
OnnxGraph::Value ToChannelsFirst(OnnxGraph& graph, const OnnxGraph::Value& x);
OnnxGraph::Value ToChannelsLast(OnnxGraph& graph, const OnnxGraph::Value& x);

// Dimension i of the result is dimension order[i] of x.
OnnxGraph::Value Transpose(OnnxGraph& graph, const OnnxGraph::Value& x,
                           const std::vector<int64_t>& order);
// Of dimension `axis` (negative: from the end) the part [begin, end).
OnnxGraph::Value Slice(OnnxGraph& graph, const OnnxGraph::Value& x, int64_t axis, int64_t begin,
                       int64_t end);

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_ONNX_OPS_H_
