// layers/attention/multi_head_attention.cc
//   (q k v) = x in_proj_weight^T + in_proj_bias     one product; with memory, of which keys and
//                                                   values are made, one for each
//   y = attention(q, k, v) out_proj.weight^T + out_proj.bias
#include "layers/attention/multi_head_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "engine/ops/elementwise.h"
#include "layers/attention/attention_operation.h"
#include "layers/linear.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

// y = the rows [begin, end) of a parameter.
class RowsOf final : public Operation {
 public:
  RowsOf(int64_t begin, int64_t end) : begin_(begin), end_(end) {}

  Result<Declaration> Declare(std::span<const TensorSpec> w, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {{w[0].shape.WithBatch(end_ - begin_)}},
                       .accumulates_dx = {true},
                       .from_parameters = true};
  }
  void Forward(const Step&, const Operands& o) override {
    std::memcpy(o.y().data(), o.x_f32(0) + begin_ * o.y().shape().sample_size(), o.y().bytes());
  }
  void Backward(const Step& step, const Operands& o) override {
    float* dw = o.dx_f32(0);
    if (!o.accumulate(0)) std::fill_n(dw, o.dx(0).size(), 0.0f);
    ops::CopyOrAdd(step.ctx, o.dy_f32(), o.dy().size(), o.accumulate(0),
                   dw + begin_ * o.dy().shape().sample_size());
  }

 private:
  int64_t begin_, end_;
};

Result<Value> AddRowsOf(Graph& graph, Value w, int64_t begin, int64_t end) {
  if (!w.valid()) return w;
  return graph.Add(RowsOf(begin, end), {w});
}

}  // namespace

Result<Value> MultiHeadAttention::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "width"));
  const Shape shape = graph.shape(x);
  if (shape.rank() != 3)
    return Status::Invalid("takes (batch, tokens, width), not " + shape.ToString());
  const int64_t width = shape.channels(), heads = options_.heads;
  const int64_t key_heads = options_.key_heads == 0 ? heads : options_.key_heads;
  if (heads < 1 || width % heads != 0) {
    return Status::Invalid("a width of " + std::to_string(width) + " is not divided by " +
                           std::to_string(heads) + " heads");
  }
  if (key_heads < 1 || heads % key_heads != 0) {
    return Status::Invalid(std::to_string(heads) + " heads cannot share " +
                           std::to_string(key_heads) + " heads of keys: they must divide them");
  }
  if (!(options_.dropout >= 0.0 && options_.dropout < 1.0))
    return Status::Invalid("dropout must lie in [0, 1), not " + std::to_string(options_.dropout));
  const Value memory = values_.memory;
  if (memory.valid() && graph.shape(memory).channels() != width) {
    return Status::Invalid("the memory has a width of " +
                           std::to_string(graph.shape(memory).channels()) + ", x one of " +
                           std::to_string(width));
  }
  const bool turns = values_.rotary.table != nullptr;
  const int64_t head_size = width / heads;
  if (turns && memory.valid())
    return Status::Invalid("rotary positions are those of x: there are none of a memory");
  if (turns && values_.rotary.table->head_size() != head_size) {
    return Status::Invalid("rotary positions are for heads of " +
                           std::to_string(values_.rotary.table->head_size()) + ", not of " +
                           std::to_string(head_size));
  }

  // What no shape tells.
  std::string trait = "heads=" + std::to_string(heads);
  if (options_.causal) trait += " causal";
  if (turns) trait += " theta=" + std::to_string(values_.rotary.table->theta());
  graph.SetTrait("attention", trait);

  const int64_t rows = (heads + 2 * key_heads) * head_size;
  const auto uniform = [](double fan) { return Init::Uniform(static_cast<float>(std::sqrt(fan))); };
  const Init init = options_.init_sd > 0.0f ? Init::Normal(options_.init_sd)
                                            : uniform(6.0 / static_cast<double>(rows + width));
  LOCKSTEP_TRY_ASSIGN(const Value weight,
                      graph.AddParameter("in_proj_weight", {rows, width}, init, Decay::kYes));
  Value bias;
  if (options_.bias) {
    LOCKSTEP_TRY_ASSIGN(
        bias, graph.AddParameter("in_proj_bias", {rows}, Init::Constant(0.0f), Decay::kNo));
  }

  Value q, keys;
  if (memory.valid()) {
    LOCKSTEP_TRY_ASSIGN(const Value q_weight, AddRowsOf(graph, weight, 0, width));
    LOCKSTEP_TRY_ASSIGN(const Value q_bias, AddRowsOf(graph, bias, 0, width));
    LOCKSTEP_TRY_ASSIGN(const Value k_weight, AddRowsOf(graph, weight, width, rows));
    LOCKSTEP_TRY_ASSIGN(const Value k_bias, AddRowsOf(graph, bias, width, rows));
    LOCKSTEP_TRY_ASSIGN(q, AddProduct(graph, x, q_weight, q_bias));
    LOCKSTEP_TRY_ASSIGN(keys, AddProduct(graph, memory, k_weight, k_bias));
  } else {
    LOCKSTEP_TRY_ASSIGN(q, AddProduct(graph, x, weight, bias));
    if (turns) {
      LOCKSTEP_TRY_ASSIGN(q, Rotated(graph, q, heads + key_heads, values_.rotary));
    }
  }
  const AttentionSpec spec{.heads = heads,
                           .key_heads = key_heads,
                           .head_size = head_size,
                           .causal = options_.causal,
                           .dropout = options_.dropout,
                           .stream = graph.NewStream("attention")};
  const Value of_keys = memory.valid() ? values_.memory_segments : values_.segments;
  LOCKSTEP_TRY_ASSIGN(const Value seen,
                      graph.Add(AttentionOperation(spec), {q, keys, values_.segments, of_keys}));

  Graph::Scope scope(graph, "out_proj", "Linear", this, shape);
  LOCKSTEP_TRY(scope.status());
  const float out_sd = options_.out_init_sd > 0.0f ? options_.out_init_sd : options_.init_sd;
  const Init out_init =
      out_sd > 0.0f ? Init::Normal(out_sd) : uniform(1.0 / static_cast<double>(width));
  LOCKSTEP_TRY_ASSIGN(const Value out_weight,
                      graph.AddParameter("weight", {width, width}, out_init, Decay::kYes));
  Value out_bias;
  if (options_.bias) {
    LOCKSTEP_TRY_ASSIGN(out_bias,
                        graph.AddParameter("bias", {width}, Init::Constant(0.0f), Decay::kNo));
  }
  scope.SetOutput(shape);
  return AddProduct(graph, seen, out_weight, out_bias);
}

}  // namespace lockstep
