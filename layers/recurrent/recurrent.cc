// layers/recurrent/recurrent.cc — of each layer, each direction is one operation: what they compute
// stands in recurrent_operation.cc.
#include "layers/recurrent/recurrent.h"

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "layers/arithmetic.h"
#include "layers/dropout.h"
#include "layers/recurrent/recurrent_operation.h"
#include "layers/rows.h"
#include "layers/transposed_weight.h"

namespace lockstep::inline v0_1 {

Status RecurrentLayer::CheckOptions(const Graph& graph) const {
  if (hidden_ <= 0)
    return Status::Invalid("needs at least one unit, not " + std::to_string(hidden_));
  if (options_.layers <= 0)
    return Status::Invalid("needs at least one layer, not " + std::to_string(options_.layers));
  if (options_.norm == RecurrentOptions::Norm::kBatch) {
    return Status::Invalid(
        "batch norm in the recurrence mixes the samples of a batch at every step, and has no "
        "statistics for steps later than any in training; take layer norm");
  }
  if (options_.bidirectional && graph.options().cache_tokens > 0) {
    return Status::Invalid(
        "goes on with a text whose end is not known, which a bidirectional net would begin with");
  }
  return CheckEps(options_.eps);
}

Result<Value> RecurrentLayer::BuildDirection(Graph& graph, Value x, const std::string& suffix,
                                             bool reverse) const {
  using Operation = RecurrentOperation;
  const ops::RecurrentShape shape{.cell = cell_,
                                  .hidden = hidden_,
                                  .reverse = reverse,
                                  .layer_norm = options_.norm == RecurrentOptions::Norm::kLayer,
                                  .eps = options_.eps};
  const int64_t columns = shape.columns(), in = graph.shape(x).channels();
  const Init init =
      Init::Uniform(static_cast<float>(1.0 / std::sqrt(static_cast<double>(hidden_))));
  std::vector<Value> inputs(Operation::kInputs);
  inputs[Operation::kX] = x;
  inputs[Operation::kSegments] = options_.segments;
  const auto parameter = [&](int input, const std::string& name, const Shape& of, Init begins,
                             Decay decay) -> Status {
    LOCKSTEP_TRY_ASSIGN(inputs[static_cast<size_t>(input)],
                        graph.AddParameter(name, of, begins, decay));
    return Status::Ok();
  };
  LOCKSTEP_TRY(
      parameter(Operation::kInputWeight, "weight_ih" + suffix, {columns, in}, init, Decay::kYes));
  LOCKSTEP_TRY(parameter(Operation::kHiddenWeight, "weight_hh" + suffix, {columns, hidden_}, init,
                         Decay::kYes));
  const auto norm = [&](int gamma, const std::string& name, int64_t of) -> Status {
    LOCKSTEP_TRY(
        parameter(gamma, name + suffix + ".weight", {of}, Init::Constant(1.0f), Decay::kNo));
    return parameter(gamma + 1, name + suffix + ".bias", {of}, Init::Constant(0.0f), Decay::kNo);
  };
  if (shape.layer_norm) {
    LOCKSTEP_TRY(norm(Operation::kInputNorm, "norm_ih", columns));
    LOCKSTEP_TRY(norm(Operation::kHiddenNorm, "norm_hh", columns));
    if (shape.lstm()) LOCKSTEP_TRY(norm(Operation::kCellNorm, "norm_cell", hidden_));
  } else if (options_.bias) {
    LOCKSTEP_TRY(parameter(Operation::kInputBias, "bias_ih" + suffix, {columns}, init, Decay::kNo));
    LOCKSTEP_TRY(
        parameter(Operation::kHiddenBias, "bias_hh" + suffix, {columns}, init, Decay::kNo));
  }
  if (!graph.options().training) {
    LOCKSTEP_TRY_ASSIGN(inputs[Operation::kTransposed],
                        graph.Add(TransposedWeight(), {inputs[Operation::kInputWeight]}));
    LOCKSTEP_TRY_ASSIGN(inputs[Operation::kPacked], graph.Add(PackedRecurrentWeight(shape),
                                                              {inputs[Operation::kHiddenWeight]}));
  }
  LOCKSTEP_TRY_ASSIGN(const std::vector<Value> outputs,
                      graph.AddOperation(std::make_unique<Operation>(shape), std::move(inputs)));
  return outputs.front();
}

Result<Value> RecurrentLayer::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  LOCKSTEP_TRY(CheckOptions(graph));
  for (int64_t layer = 0; layer < options_.layers; ++layer) {
    const std::string suffix = "_l" + std::to_string(layer);
    LOCKSTEP_TRY_ASSIGN(Value y, BuildDirection(graph, x, suffix, /*reverse=*/false));
    if (options_.bidirectional) {
      LOCKSTEP_TRY_ASSIGN(const Value back,
                          BuildDirection(graph, x, suffix + "_reverse", /*reverse=*/true));
      LOCKSTEP_TRY_ASSIGN(y, graph.Add(Concatenate(), {y, back}));
    }
    if (layer + 1 < options_.layers) {
      LOCKSTEP_TRY_ASSIGN(y, Apply(graph, "dropout" + suffix, Dropout(options_.dropout), y));
    }
    x = y;
  }
  return x;
}

}  // namespace lockstep
