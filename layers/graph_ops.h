// What several layers are exported as.
#ifndef LOCKSTEP_LAYERS_GRAPH_OPS_H_
#define LOCKSTEP_LAYERS_GRAPH_OPS_H_

#include <cstdint>
#include <vector>

#include "engine/tensor/graph.h"

namespace lockstep {

// x / sqrt(mean(x^2) + eps), the mean over `axes`.
Graph::Value DivideByRootMeanSquare(Graph& graph, const Graph::Value& x,
                                    const std::vector<int64_t>& axes, double eps);
// (x - mean) / sqrt(var + eps), mean and variance (biased) over `axes`.
Graph::Value Standardize(Graph& graph, const Graph::Value& x, const std::vector<int64_t>& axes,
                         double eps);
// gamma x + beta, with gamma and beta (C) for the last dimension; null ones are left out.
Graph::Value ScaleAndShift(Graph& graph, const Graph::Value& x, const float* gamma,
                           const float* beta);

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_GRAPH_OPS_H_
