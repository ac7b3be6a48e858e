// layers/rms_norm.cc — x is seen as (R, C).
//   forward   y  = gamma * x * rstd               rstd = 1 / sqrt(mean(x^2) + eps) of each row
//   backward  dgamma = sum dy * x * rstd          over rows, in shards
//             g = dy * gamma,  dx = rstd * (g - x * rstd^2 * mean(g * x))
#include "layers/rms_norm.h"

#include "engine/ops/row_norm.h"
#include "layers/graph_ops.h"

namespace lockstep {

Result<Bound> RmsNorm::Bind(const Shape& in, Planner& plan) {
  if (in.rank() < 2 || in.channels() < 1)
    return Status::Invalid("takes (batch, ..., channels), not " + in.ToString());
  if (!(options_.eps > 0.0))
    return Status::Invalid("eps must be positive, not " + std::to_string(options_.eps));
  channels_ = in.channels();
  grid_ = std::make_unique<RowGrid>(in.batch(), in.rows_per_sample(), plan.shards());
  if (options_.affine) {
    gamma_ = plan.AddParameter("weight", {channels_}, Init::Constant(1.0f), Decay::kNo);
  }

  rstd_ = plan.Book(in.rows(), Life::kStep);
  if (plan.training()) {
    const int64_t blocks = RowGrid::MaxBlocks(in.batch(), in.rows_per_sample(), plan.shards());
    partials_ = plan.Book<double>(ops::RowNormPartialsSize(blocks, channels_), Life::kCall);
  }
  return Bound{.out = in,
               .needs_x = true,
               .dx_may_be_dy = true,
               .flops = 8.0 * static_cast<double>(in.size())};
}

void RmsNorm::Forward(const Step& step, ConstTensor x, Tensor y) {
  grid_->SetSamples(x.shape().batch());
  ops::RmsNormForward(step.ctx, *grid_, channels_,
                      {.x = x.f32(),
                       .gamma = step.value(gamma_),

                       .eps = options_.eps,
                       .y = y.f32(),

                       .inv_std = step[rstd_]});
}

void RmsNorm::Backward(const Step& step, ConstTensor x, ConstTensor, ConstTensor dy, Tensor dx) {
  grid_->SetSamples(dy.shape().batch());
  ops::RmsNormBackward(step.ctx, *grid_, channels_,
                       {.x = x.f32(),
                        .dy = dy.f32(),

                        .inv_std = step[rstd_],
                        .gamma = step.value(gamma_),
                        .dx = dx.empty() ? nullptr : dx.f32(),
                        .dgamma = step.gradient(gamma_),

                        .accumulate = step.accumulate,
                        .partials = step[partials_]});
}

Result<Graph::Value> RmsNorm::Export(const Step& step, Graph& graph, const Graph::Value& x) const {
  const Graph::Value scaled = DivideByRootMeanSquare(graph, x, {x.shape.rank() - 1}, options_.eps);
  return ScaleAndShift(graph, scaled, step.value(gamma_), nullptr);
}

}  // namespace lockstep
