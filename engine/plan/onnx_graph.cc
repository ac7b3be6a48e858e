#include "engine/plan/onnx_graph.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

OnnxGraph::Scope::Scope(OnnxGraph& graph, const std::string& name)
    : graph_(graph), outer_(graph.path_.size()) {
  if (!graph.path_.empty()) graph.path_ += '.';
  graph.path_ += name;
}

std::string OnnxGraph::NewName(const std::string& name) {
  const std::string full = path_.empty() ? name : path_ + "." + name;
  if (names_.emplace(full, 1).second) return full;
  for (;;) {
    const std::string other = full + "_" + std::to_string(++names_[full]);
    if (names_.emplace(other, 1).second) return other;
  }
}

OnnxGraph::Value OnnxGraph::AddInput(const std::string& name, const Shape& shape, OnnxType type,
                                     const std::string& about) {
  inputs_.push_back({{NewName(name), shape}, type, about});
  return inputs_.back().value;
}

OnnxGraph::Value OnnxGraph::Add(const std::string& op, const std::vector<Value>& inputs,
                                const Shape& out, Attributes attributes) {
  Node node{.op = op, .inputs = {}, .output = NewName(op), .attributes = std::move(attributes)};
  for (const Value& input : inputs) node.inputs.push_back(input.name);
  nodes_.push_back(std::move(node));
  return {nodes_.back().output, out};
}

OnnxGraph::Value OnnxGraph::Add(const std::string& op, const std::vector<Value>& inputs,
                                Attributes attributes) {
  return Add(op, inputs, inputs.front().shape, std::move(attributes));
}

OnnxGraph::Value OnnxGraph::AddClassical(const std::string& op, const std::vector<Value>& inputs,
                                         const Shape& out, Attributes attributes) {
  const Value y = Add(op, inputs, out, std::move(attributes));
  nodes_.back().classical = true;
  return y;
}

OnnxGraph::Value OnnxGraph::Cast(const Value& x, OnnxType type) {
  return Add("Cast", {x}, {{"to", static_cast<int64_t>(type)}});
}

OnnxGraph::Value OnnxGraph::Reshape(const Value& x, const Shape& shape) {
  if (x.shape == shape) return x;
  LOCKSTEP_CHECK_EQ(x.shape.size(), shape.size());
  std::vector<int64_t> extents(shape.dims().begin(), shape.dims().end());
  extents[0] = -1;
  constants_.push_back({NewName("shape"), Shape{shape.rank()}, std::move(extents)});
  return Add("Reshape", {x, {constants_.back().name, {}}}, shape);
}

OnnxGraph::Value OnnxGraph::AddConstant(const std::string& name, const Shape& shape,
                                        std::vector<float> values) {
  LOCKSTEP_CHECK_EQ(static_cast<int64_t>(values.size()), shape.size());
  constants_.push_back({NewName(name), shape, std::move(values)});
  return {constants_.back().name, shape};
}

OnnxGraph::Value OnnxGraph::AddConstant(const std::string& name, const Shape& shape,
                                        const float* values) {
  return AddConstant(name, shape, std::vector<float>(values, values + shape.size()));
}

OnnxGraph::Value OnnxGraph::AddIntegers(const std::string& name, const Shape& shape,
                                        std::vector<int64_t> values) {
  LOCKSTEP_CHECK_EQ(static_cast<int64_t>(values.size()), shape.size());
  constants_.push_back({NewName(name), shape, std::move(values)});
  return {constants_.back().name, shape};
}

OnnxGraph::Value OnnxGraph::AddDoubles(const std::string& name, const Shape& shape,
                                       std::vector<double> values) {
  LOCKSTEP_CHECK_EQ(static_cast<int64_t>(values.size()), shape.size());
  constants_.push_back({NewName(name), shape, std::move(values)});
  return {constants_.back().name, shape};
}

OnnxGraph::Value OnnxGraph::AddTexts(const std::string& name, const Shape& shape,
                                     std::vector<std::string> values) {
  LOCKSTEP_CHECK_EQ(static_cast<int64_t>(values.size()), shape.size());
  constants_.push_back({NewName(name), shape, std::move(values)});
  return {constants_.back().name, shape};
}

OnnxGraph::Value OnnxGraph::Scalar(double value) {
  return AddConstant("constant", {}, {static_cast<float>(value)});
}

OnnxGraph::Value OnnxGraph::SetConstant(const Value& constant, const Shape& shape,
                                        std::vector<float> values) {
  LOCKSTEP_CHECK_EQ(static_cast<int64_t>(values.size()), shape.size());
  for (Constant& added : constants_) {
    if (added.name == constant.name) added = {constant.name, shape, std::move(values)};
  }
  return {constant.name, shape};
}

void OnnxGraph::AddOutput(const Value& value, const std::string& name, OnnxType type,
                          const std::string& about) {
  const std::string output = NewName(name);
  outputs_.push_back({{output, value.shape}, type, about});
  const bool is_input = std::any_of(inputs_.begin(), inputs_.end(), [&](const Port& input) {
    return input.value.name == value.name;
  });
  if (is_input) {
    nodes_.push_back(
        {.op = "Identity", .inputs = {value.name}, .output = output, .attributes = {}});
    return;
  }
  for (Node& node : nodes_) {
    if (node.output == value.name) node.output = output;
    for (std::string& input : node.inputs) {
      if (input == value.name) input = output;
    }
  }
}

}  // namespace lockstep
