#include "engine/train/export.h"

#include <vector>

#include "engine/export/onnx.h"
#include "engine/plan/onnx_graph.h"
#include "engine/plan/program.h"

namespace lockstep {
namespace {

using OnnxValue = OnnxGraph::Value;

// As Standardizer::Apply.
Result<OnnxValue> Standardized(OnnxGraph& graph, const Standardizer& standardizer, bool missing,
                               const OnnxValue& x) {
  const Shape channels{standardizer.channels()};
  if (x.shape.channels() != standardizer.channels()) {
    return Status::Invalid("the statistics are of " + std::to_string(standardizer.channels()) +
                           " features, the network takes " + x.shape.ToString());
  }
  const OnnxGraph::Scope scope(graph, "data");
  const OnnxValue centred =
      graph.Add("Sub", {x, graph.AddConstant("mean", channels, standardizer.mean())});
  const OnnxValue y =
      graph.Add("Mul", {centred, graph.AddConstant("inv_sd", channels, standardizer.inv_sd())});
  if (!missing) return y;
  return graph.Add("Where", {graph.Add("IsNaN", {y}), graph.Scalar(0.0), y}, x.shape);
}

// Every operation of the program in turn; parameters become constants under their own names where
// they are first asked for.
Status AddOperations(const Program& program, const Step& step, const OnnxValue& x,
                     OnnxGraph& onnx) {
  const Graph& graph = program.graph();
  std::vector<OnnxValue> values(graph.value_count());
  values[static_cast<size_t>(graph.inputs()[0].value.id)] = x;
  const ConstParameterSet parameters = graph.store().parameters();
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Graph::Node& node = graph.nodes()[i];
    if (node.loss >= 0 || node.declared.from_parameters) continue;
    std::vector<OnnxValue> inputs;
    for (const Value input : node.inputs) {
      OnnxValue value = input.valid() ? values[static_cast<size_t>(input.id)] : OnnxValue{};
      const int parameter = input.valid() ? graph.info(input).parameter : -1;
      if (parameter >= 0 && value.name.empty() && node.fused.scale < 0) {
        const auto p = static_cast<size_t>(parameter);
        value = onnx.AddConstant(parameters.infos[p].name, parameters.infos[p].shape,
                                 parameters.value(p).f32());
        values[static_cast<size_t>(input.id)] = value;
      }
      inputs.push_back(value);
    }
    const OnnxGraph::Scope scope(onnx, node.path);
    const Result<OnnxValue> y =
        node.operation->Export(step, program.ForwardOperands(i), onnx, inputs);
    if (!y.ok())
      return Status::Invalid("layer " + graph.NameOf(node) +
                             " cannot be exported: " + y.status().message());
    values[static_cast<size_t>(node.outputs[0].id)] = *y;
  }
  onnx.SetOutput(values[static_cast<size_t>(graph.outputs()[0].value.id)], "y");
  return Status::Ok();
}

}  // namespace

Status ExportOnnx(Network& network, const std::string& path, const ExportOptions& options) {
  PageMemory memory;
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<Program> program,
      network.BuildForExport(options.fold_norms ? Fusion::kFoldOnly : Fusion::kNone, memory));
  if (program->graph().outputs().empty() || network.feature_inputs() != 1)
    return Status::Invalid("a model of several inputs is not exported yet");
  const Step step{.ctx = network.context(),
                  .program = *program,
                  .cut = BatchCut::Whole(1, 1),
                  .states = network.store().state_memory(/*staged=*/false)};
  program->Refresh(step);
  OnnxGraph graph(OnnxValue{"x", network.input_shape()});
  OnnxValue value = graph.input();
  if (options.standardizer != nullptr) {
    LOCKSTEP_TRY_ASSIGN(value, Standardized(graph, *options.standardizer, options.missing, value));
  }
  value.shape = value.shape.WithBatch(1);
  LOCKSTEP_TRY(AddOperations(*program, step, value, graph));
  const Value x = program->graph().inputs()[0].value;
  return WriteOnnx(path, graph, program->graph().spec(x).dtype == DType::kI32);
}

}  // namespace lockstep
