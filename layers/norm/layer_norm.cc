// layers/norm/layer_norm.cc — x is seen as (R, C).
//   forward   xhat = (x - mean) * inv_std      mean and inv_std = 1 / sqrt(var + eps) of each row
//             y    = gamma * xhat + beta
//   backward  dbeta = sum dy,  dgamma = sum dy * xhat       over rows, in shards
//             g = dy * gamma,  dx = inv_std * (g - mean(g) - xhat * mean(g * xhat))
#include "layers/norm/layer_norm.h"

#include "engine/ops/row_norm.h"
#include "layers/norm/norm_parameters.h"
#include "layers/onnx_ops.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

// Inputs: x, gamma, beta (or nothing).
class LayerNormOperation final : public Operation {
 public:
  explicit LayerNormOperation(double eps) : eps_(eps) {}

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0]},
                       .reads_x = {true, true},
                       .dx_may_overwrite_dy = true,
                       .accumulates_dx = {true, true, true},
                       .flops = 8.0 * static_cast<double>(x[0].shape.size()),
                       .is_norm = true};
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    const Shape& shape = x[0].shape;
    channels_ = shape.channels();
    rows_ = booking.CutRows(shape.rows_per_sample());
    if (!booking.options().training) return;
    mean_ = booking.Book(shape.rows(), Life::kStep);
    mean_low_ = booking.Book(shape.rows(), Life::kStep);
    inv_std_ = booking.Book(shape.rows(), Life::kStep);
    const int64_t blocks =
        RowGrid::MaxBlocks(shape.batch(), shape.rows_per_sample(), booking.options().shards);
    partials_ = booking.Book<double>(ops::RowNormPartialsSize(blocks, channels_), Life::kCall);
  }

  void Forward(const Step& step, const Operands& o) override {
    ops::LayerNormForward(step.ctx, step.rows(rows_), channels_,
                          {.x = o.x_f32(0),
                           .gamma = o.x_f32(1),
                           .beta = o.x_f32(2),
                           .eps = eps_,
                           .y = o.y_f32(),
                           .mean = mean_.valid() ? step[mean_] : nullptr,
                           .mean_low = mean_low_.valid() ? step[mean_low_] : nullptr,
                           .inv_std = inv_std_.valid() ? step[inv_std_] : nullptr});
  }

  void Backward(const Step& step, const Operands& o) override {
    ops::LayerNormBackward(step.ctx, step.rows(rows_), channels_,
                           {.x = o.x_f32(0),
                            .dy = o.dy_f32(),
                            .mean = step[mean_],
                            .mean_low = step[mean_low_],
                            .inv_std = step[inv_std_],
                            .gamma = o.x_f32(1),
                            .dx = o.dx_f32(0),
                            .accumulate_dx = o.accumulate(0),
                            .dgamma = o.dx_f32(1),
                            .dbeta = o.dx_f32(2),
                            .accumulate = AddsToParameters(o),
                            .partials = step[partials_]});
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    return ScaleAndShift(graph, Standardize(graph, x[0], {x[0].shape.rank() - 1}, eps_), x[1],
                         x[2]);
  }

 private:
  double eps_;
  int64_t channels_ = 0;
  Rows rows_;
  Buffer<float> mean_, mean_low_, inv_std_;
  Buffer<double> partials_;
};

}  // namespace

Result<Value> LayerNorm::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  LOCKSTEP_TRY(CheckEps(options_.eps));
  LOCKSTEP_TRY_ASSIGN(const NormParameters p,
                      AddNormParameters(graph, x, options_.affine, options_.affine));
  return graph.Add(LayerNormOperation(options_.eps), {x, p.gamma, p.beta});
}

}  // namespace lockstep
