#include "engine/export/onnx.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <variant>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/protobuf.h"

namespace lockstep::inline v0_1 {
namespace {

// Field numbers and values of onnx.proto:
//   ModelProto         1 ir_version  2 producer_name  7 graph  8 opset_import  14 metadata_props
//   OperatorSetIdProto 1 domain  2 version
//   StringStringEntry  1 key  2 value
//   GraphProto         1 node  2 name  5 initializer  11 input  12 output
//   NodeProto          1 input  2 output  3 name  4 op_type  5 attribute  7 domain
//   AttributeProto     1 name  2 f  3 i  4 s  8 ints  9 strings
//                      20 type (FLOAT 1, INT 2, STRING 3, INTS 7, STRINGS 8)
//   TensorProto        1 dims  2 data_type (OnnxType)  6 string_data  8 name  9 raw_data
//   ValueInfoProto     1 name  2 type  3 doc_string
//   TypeProto          1 tensor_type;  Tensor: 1 elem_type  2 shape
//   TensorShapeProto   1 dim;  Dimension: 1 dim_value  2 dim_param
constexpr uint64_t kIrVersion = 7;  // the one that came with the opset
constexpr char kClassical[] = "ai.onnx.ml";
constexpr uint64_t kClassicalOpset = 2;  // the first in which LabelEncoder takes any keys

ProtobufMessage AttributeOf(const OnnxGraph::Attribute& attribute) {
  ProtobufMessage message;
  message.Bytes(1, attribute.name);
  if (const auto* number = std::get_if<float>(&attribute.value)) {
    message.Float(2, *number).Varint(20, 1);
  } else if (const auto* integer = std::get_if<int64_t>(&attribute.value)) {
    message.Varint(3, static_cast<uint64_t>(*integer)).Varint(20, 2);
  } else if (const auto* text = std::get_if<std::string>(&attribute.value)) {
    message.Bytes(4, *text).Varint(20, 3);
  } else if (const auto* texts = std::get_if<std::vector<std::string>>(&attribute.value)) {
    for (const std::string& one : *texts) message.Bytes(9, one);
    message.Varint(20, 8);
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
  if (node.classical) message.Bytes(7, kClassical);
  return message;
}

template <class T>
constexpr OnnxType TypeOf() {
  if constexpr (std::is_same_v<T, float>) return OnnxType::kFloat;
  if constexpr (std::is_same_v<T, int64_t>) return OnnxType::kInt64;
  if constexpr (std::is_same_v<T, double>) return OnnxType::kDouble;
  return OnnxType::kString;
}

ProtobufMessage TensorOf(const OnnxGraph::Constant& constant) {
  ProtobufMessage message;
  for (const int64_t extent : constant.shape.dims())
    message.Varint(1, static_cast<uint64_t>(extent));
  std::visit(
      [&](const auto& values) {
        using T = typename std::decay_t<decltype(values)>::value_type;
        message.Varint(2, static_cast<uint64_t>(TypeOf<T>()));
        if constexpr (std::is_same_v<T, std::string>) {
          for (const std::string& text : values) message.Bytes(6, text);
          message.Bytes(8, constant.name);
        } else {
          message.Bytes(8, constant.name);
          message.Bytes(9,
                        {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
        }
      },
      constant.values);
  return message;
}

ProtobufMessage PortOf(const OnnxGraph::Port& port) {
  ProtobufMessage shape;
  shape.Message(1, ProtobufMessage().Bytes(2, "batch"));
  for (const int64_t extent : port.value.shape.dims().subspan(1))
    shape.Message(1, ProtobufMessage().Varint(1, static_cast<uint64_t>(extent)));
  const ProtobufMessage tensor =
      ProtobufMessage().Varint(1, static_cast<uint64_t>(port.type)).Message(2, shape);
  ProtobufMessage message;
  message.Bytes(1, port.value.name).Message(2, ProtobufMessage().Message(1, tensor));
  if (!port.about.empty()) message.Bytes(3, port.about);
  return message;
}

// More than the bytes of what stands in it.
int64_t BytesOf(const OnnxGraph::Constant& constant) {
  return std::visit(
      [&](const auto& values) {
        using T = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_same_v<T, std::string>) {
          int64_t bytes = 0;
          for (const std::string& text : values) bytes += static_cast<int64_t>(text.size()) + 10;
          return bytes;
        } else {
          return static_cast<int64_t>(values.size() * sizeof(T));
        }
      },
      constant.values);
}

}  // namespace

Status WriteOnnx(const std::string& path, const OnnxGraph& graph, const OnnxProperties& about) {
  int64_t bytes = 0;
  for (const OnnxGraph::Constant& constant : graph.constants()) bytes += BytesOf(constant);
  for (const auto& [key, text] : about) bytes += static_cast<int64_t>(key.size() + text.size());
  constexpr int64_t kRest = 1 << 20;  // more than nodes and names take
  if (bytes > std::numeric_limits<int32_t>::max() - kRest) {
    return Status::Invalid(path + ": the parameters have " + std::to_string(bytes) +
                           " bytes, an ONNX file holds at most 2 GiB");
  }
  ProtobufMessage body;
  for (const OnnxGraph::Node& node : graph.nodes()) body.Message(1, NodeOf(node));
  body.Bytes(2, "lockstep");
  for (const OnnxGraph::Constant& constant : graph.constants()) body.Message(5, TensorOf(constant));
  for (const OnnxGraph::Port& port : graph.inputs()) body.Message(11, PortOf(port));
  for (const OnnxGraph::Port& port : graph.outputs()) body.Message(12, PortOf(port));
  ProtobufMessage model;
  model.Varint(1, kIrVersion).Bytes(2, "lockstep").Message(7, body);
  model.Message(8, ProtobufMessage().Varint(2, kOnnxOpset));
  const auto& nodes = graph.nodes();
  if (std::any_of(nodes.begin(), nodes.end(), [](const auto& node) { return node.classical; }))
    model.Message(8, ProtobufMessage().Bytes(1, kClassical).Varint(2, kClassicalOpset));
  for (const auto& [key, text] : about)
    model.Message(14, ProtobufMessage().Bytes(1, key).Bytes(2, text));
  return WriteFileAtomically(path, model.text());
}

}  // namespace lockstep
