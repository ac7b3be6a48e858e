#include "engine/train/export.h"

#include <vector>

#include "engine/base/float_mode.h"
#include "engine/export/onnx.h"
#include "engine/plan/onnx_graph.h"
#include "engine/plan/program.h"
#include "engine/train/export_table.h"
#include "engine/train/sample_description.h"

namespace lockstep::inline v0_1 {
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
// they are first asked for. `values`, by the graph's: those of inputs are there, the others are
// added.
Status AddOperations(const Program& program, const Step& step, std::vector<OnnxValue>& values,
                     OnnxGraph& onnx) {
  const Graph& graph = program.graph();
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
  return Status::Ok();
}

size_t Id(Value value) { return static_cast<size_t>(value.id); }

// A model of any inputs and outputs, by their names.
Status AddModel(const Network& network, const Program& program, const Step& step,
                const ExportOptions& options, OnnxGraph& onnx) {
  const Graph& graph = program.graph();
  std::vector<OnnxValue> values(graph.value_count());
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    if (graph.IsTarget(i)) continue;
    const Graph::Input& input = graph.inputs()[i];
    const TensorSpec& spec = graph.spec(input.value);
    OnnxValue x = onnx.AddInput(input.name, spec.shape.WithBatch(network.batch()),
                                spec.dtype == DType::kI32 ? OnnxType::kInt64 : OnnxType::kFloat);
    if (options.standardizer != nullptr) {
      LOCKSTEP_TRY_ASSIGN(x, Standardized(onnx, *options.standardizer, options.missing, x));
    }
    x.shape = x.shape.WithBatch(1);
    values[Id(input.value)] = x;
  }
  LOCKSTEP_TRY(AddOperations(program, step, values, onnx));
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    const Graph::Named& output = graph.outputs()[i];
    if (i == 0 || !output.always) onnx.AddOutput(values[Id(output.value)], output.name);
  }
  return Status::Ok();
}

}  // namespace

Status ExportOnnx(Network& network, const std::string& path, const ExportOptions& options) {
  const ScopedFloatMode mode;
  PageMemory memory;
  LOCKSTEP_TRY_ASSIGN(
      const std::unique_ptr<Program> program,
      network.BuildForExport(options.fold_norms ? Fusion::kFoldOnly : Fusion::kNone, memory));
  const bool standardizes = options.standardizer != nullptr || options.samples != nullptr;
  if (standardizes && network.feature_inputs() != 1)
    return Status::Invalid(
        "a model of several inputs is exported as it is, without a standardizer "
        "and without a table");
  const Step step{.ctx = network.context(),
                  .program = *program,
                  .cut = BatchCut::Whole(1, 1),
                  .states = network.store().state_memory(/*staged=*/false)};
  program->Refresh(step);
  OnnxGraph graph;
  if (options.samples != nullptr) {
    const OnnxValue x = AddTableInputs(*options.samples->table, graph);
    std::vector<OnnxValue> values(program->graph().value_count());
    values[Id(program->graph().inputs()[0].value)] = x;
    LOCKSTEP_TRY(AddOperations(*program, step, values, graph));
    const OnnxValue y = values[Id(program->graph().outputs()[0].value)];
    const Loss* const loss = network.loss();
    AddTableOutputs(*options.samples, options.decision,
                    loss == nullptr ? std::span<const double>() : loss->quantiles(), y, graph);
    Metadata metadata = MetadataOf(*options.samples);
    metadata.merge(MetadataOf(options.decision));
    return WriteOnnx(path, graph, metadata);
  }
  LOCKSTEP_TRY(AddModel(network, *program, step, options, graph));
  return WriteOnnx(path, graph);
}

}  // namespace lockstep
