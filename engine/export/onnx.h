// ONNX models: out only. https://onnx.ai/onnx/repo-docs/IR.html
#ifndef LOCKSTEP_ENGINE_EXPORT_ONNX_H_
#define LOCKSTEP_ENGINE_EXPORT_ONNX_H_

#include <map>
#include <string>

#include "engine/base/status.h"
#include "engine/plan/onnx_graph.h"

namespace lockstep::inline v0_1 {

// The version of ONNX's operators that graphs are made of: the first with every operator that the
// layers use in a form that leaves no doubt, so that the oldest programs can read the file. Before
// 14 nothing but the number of outputs said whether a BatchNormalization is one of training, which
// ONNX's own reference evaluator takes it for.
inline constexpr int kOnnxOpset = 14;

// What else a file says of its model, by keys.
using OnnxProperties = std::map<std::string, std::string>;

// Atomic; the same graph gives the same bytes. The first extent of inputs and outputs is named
// "batch". An error if it would exceed 2 GiB, the most that such a file may have.
Status WriteOnnx(const std::string& path, const OnnxGraph& graph, const OnnxProperties& about = {});

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_EXPORT_ONNX_H_
