#include "engine/export/onnx.h"

#include <cstdint>
#include <limits>
#include <type_traits>
#include <variant>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/protobuf.h"

namespace lockstep {
namespace {

// Field numbers and values of onnx.proto:
//   ModelProto         1 ir_version  2 producer_name  7 graph  8 opset_import
//   OperatorSetIdProto 2 version
//   GraphProto         1 node  2 name  5 initializer  11 input  12 output
//   NodeProto          1 input  2 output  3 name  4 op_type  5 attribute
//   AttributeProto     1 name  2 f  3 i  4 s  8 ints  20 type (FLOAT 1, INT 2, STRING 3, INTS 7)
//   TensorProto        1 dims  2 data_type (FLOAT 1, INT64 7)  8 name  9 raw_data
//   ValueInfoProto     1 name  2 type;  TypeProto: 1 tensor_type;  Tensor: 1 elem_type  2 shape
//   TensorShapeProto   1 dim;  Dimension: 1 dim_value  2 dim_param
constexpr uint64_t kIrVersion = 7;  // the one that came with the opset
constexpr uint64_t kFloat = 1, kInt64 = 7;

ProtobufMessage AttributeOf(const OnnxGraph::Attribute& attribute) {
  ProtobufMessage message;
  message.Bytes(1, attribute.name);
  if (const auto* number = std::get_if<float>(&attribute.value)) {
    message.Float(2, *number).Varint(20, 1);
  } else if (const auto* integer = std::get_if<int64_t>(&attribute.value)) {
    message.Varint(3, static_cast<uint64_t>(*integer)).Varint(20, 2);
  } else if (const auto* text = std::get_if<std::string>(&attribute.value)) {
    message.Bytes(4, *text).Varint(20, 3);
  } else {
    for (const int64_t i : std::get<std::vector<int64_t>>(attribute.value))
      message.Varint(8, static_cast<uint64_t>(i));
    message.Varint(20, 7);
  }
  return message;
}

ProtobufMessage NodeOf(const OnnxGraph::Node& node) {
  ProtobufMessage message;
  for (const std::string& input : node.inputs) message.Bytes(1, input);
  message.Bytes(2, node.output).Bytes(3, node.output).Bytes(4, node.op);
  for (const OnnxGraph::Attribute& attribute : node.attributes)
    message.Message(5, AttributeOf(attribute));
  return message;
}

ProtobufMessage TensorOf(const OnnxGraph::Constant& constant) {
  ProtobufMessage message;
  for (const int64_t extent : constant.shape.dims())
    message.Varint(1, static_cast<uint64_t>(extent));
  std::visit(
      [&](const auto& values) {
        using T = typename std::decay_t<decltype(values)>::value_type;
        message.Varint(2, std::is_same_v<T, float> ? kFloat : kInt64).Bytes(8, constant.name);
        message.Bytes(9, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
      },
      constant.values);
  return message;
}

ProtobufMessage ValueOf(const OnnxGraph::Value& value, uint64_t type) {
  ProtobufMessage shape;
  shape.Message(1, ProtobufMessage().Bytes(2, "batch"));
  for (const int64_t extent : value.shape.dims().subspan(1))
    shape.Message(1, ProtobufMessage().Varint(1, static_cast<uint64_t>(extent)));
  const ProtobufMessage tensor = ProtobufMessage().Varint(1, type).Message(2, shape);
  return ProtobufMessage().Bytes(1, value.name).Message(2, ProtobufMessage().Message(1, tensor));
}

}  // namespace

Status WriteOnnx(const std::string& path, const OnnxGraph& graph, bool takes_integers) {
  int64_t bytes = 0;
  for (const OnnxGraph::Constant& constant : graph.constants()) bytes += constant.shape.size() * 4;
  constexpr int64_t kRest = 1 << 20;  // more than nodes and names take
  if (bytes > std::numeric_limits<int32_t>::max() - kRest) {
    return Status::Invalid(path + ": the parameters have " + std::to_string(bytes) +
                           " bytes, an ONNX file holds at most 2 GiB");
  }
  ProtobufMessage body;
  for (const OnnxGraph::Node& node : graph.nodes()) body.Message(1, NodeOf(node));
  body.Bytes(2, "lockstep");
  for (const OnnxGraph::Constant& constant : graph.constants()) body.Message(5, TensorOf(constant));
  body.Message(11, ValueOf(graph.input(), takes_integers ? kInt64 : kFloat));
  body.Message(12, ValueOf(graph.output(), kFloat));
  ProtobufMessage model;
  model.Varint(1, kIrVersion).Bytes(2, "lockstep").Message(7, body);
  model.Message(8, ProtobufMessage().Varint(2, kOnnxOpset));
  return WriteFileAtomically(path, model.text());
}

}  // namespace lockstep
