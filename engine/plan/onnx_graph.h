// A network as a list of operations between named values, in the words of ONNX
// (https://onnx.ai/onnx/operators): layers add themselves to it, engine/export/onnx.h writes it.
#ifndef LOCKSTEP_ENGINE_PLAN_ONNX_GRAPH_H_
#define LOCKSTEP_ENGINE_PLAN_ONNX_GRAPH_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/tensor/shape.h"

namespace lockstep::inline v0_1 {

// By ONNX's own numbers.
enum class OnnxType : int { kFloat = 1, kInt64 = 7, kString = 8, kDouble = 11 };

// Owns its constants. Thread-compatible.
class OnnxGraph {
 public:
  // What flows between operations. Where it is computed from the input its first extent is that of
  // the bound batch, and stands for any.
  struct Value {
    std::string name;
    Shape shape;
  };
  struct Attribute {
    std::string name;
    std::variant<int64_t, float, std::vector<int64_t>, std::string, std::vector<std::string>> value;
  };
  struct Node {
    std::string op;
    std::vector<std::string> inputs;
    std::string output;
    std::vector<Attribute> attributes;
    bool classical = false;  // of the operators of classical learning (ai.onnx.ml)
  };
  struct Constant {
    std::string name;
    Shape shape;
    std::variant<std::vector<float>, std::vector<int64_t>, std::vector<double>,
                 std::vector<std::string>>
        values;  // shape.size() of them
  };
  using Attributes = std::vector<Attribute>;
  // What comes in, or goes out.
  struct Port {
    Value value;
    OnnxType type = OnnxType::kFloat;
    std::string about = {};  // for people
  };

  // What the graph takes. The name is completed by a number where another port has it. Before any
  // operation is added.
  Value AddInput(const std::string& name, const Shape& shape, OnnxType type = OnnxType::kFloat,
                 const std::string& about = "");

  // While it lives, names begin with `name` as well: what a layer that holds others opens for each.
  class Scope {
   public:
    Scope(OnnxGraph& graph, const std::string& name);
    ~Scope() { graph_.path_.resize(outer_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    OnnxGraph& graph_;
    size_t outer_;
  };

  const std::string& path() const { return path_; }  // "3.body"

  // One operation; without a shape its result has that of the first input.
  Value Add(const std::string& op, const std::vector<Value>& inputs, const Shape& out,
            Attributes attributes = {});
  Value Add(const std::string& op, const std::vector<Value>& inputs, Attributes attributes = {});
  // One of the operators of classical learning (https://onnx.ai/onnx/operators, ai.onnx.ml).
  Value AddClassical(const std::string& op, const std::vector<Value>& inputs, const Shape& out,
                     Attributes attributes);
  Value Cast(const Value& x, OnnxType type);
  // x as `shape`, whose first extent follows from x and the others.
  Value Reshape(const Value& x, const Shape& shape);

  // The name is completed by the path. Constants of one path have different names.
  Value AddConstant(const std::string& name, const Shape& shape, std::vector<float> values);
  Value AddConstant(const std::string& name, const Shape& shape, const float* values);
  Value AddIntegers(const std::string& name, const Shape& shape, std::vector<int64_t> values);
  Value AddDoubles(const std::string& name, const Shape& shape, std::vector<double> values);
  Value AddTexts(const std::string& name, const Shape& shape, std::vector<std::string> values);
  Value Scalar(double value);
  // Gives a constant that was added other values, for an operator that wants them in another order.
  Value SetConstant(const Value& constant, const Shape& shape, std::vector<float> values);

  // Names `value`, the result of an operation, or an input, and makes it an output. The name is
  // completed by a number where another value has it.
  void AddOutput(const Value& value, const std::string& name, OnnxType type = OnnxType::kFloat,
                 const std::string& about = "");

  const std::vector<Port>& inputs() const { return inputs_; }
  const std::vector<Port>& outputs() const { return outputs_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Constant>& constants() const { return constants_; }

 private:
  // path.NAME, path.NAME_2, ...: one that nothing has yet.
  std::string NewName(const std::string& name);

  std::vector<Port> inputs_, outputs_;
  std::string path_;
  std::map<std::string, int> names_;  // how often each was asked for
  std::vector<Node> nodes_;           // each after those whose results it takes
  std::vector<Constant> constants_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_ONNX_GRAPH_H_
