// layers/layer_norm.cc — x is seen as (R, C).
//   forward   xhat = (x - mean) * rstd            mean and rstd = 1 / sqrt(var + eps) of each row
//             y    = gamma * xhat + beta
//   backward  dbeta = sum dy,  dgamma = sum dy * xhat       over rows, in shards
//             g = dy * gamma,  dx = rstd * (g - mean(g) - xhat * mean(g * xhat))
#include "layers/layer_norm.h"

#include "engine/ops/row_norm.h"
#include "layers/graph_ops.h"

namespace lockstep {

Result<Bound> LayerNorm::Bind(const Shape& in, Planner& plan) {
  if (in.rank() < 2 || in.channels() < 1)
    return Status::Invalid("takes (batch, ..., channels), not " + in.ToString());
  if (!(options_.eps > 0.0))
    return Status::Invalid("eps must be positive, not " + std::to_string(options_.eps));
  channels_ = in.channels();
  grid_ = std::make_unique<RowGrid>(in.batch(), in.rows_per_sample(), plan.shards());
  if (options_.affine) {
    gamma_ = plan.AddParameter("weight", {channels_}, Init::Constant(1.0f), Decay::kNo);
    beta_ = plan.AddParameter("bias", {channels_}, Init::Constant(0.0f), Decay::kNo);
  }
  mean_ = plan.Book(in.rows(), Life::kStep);
  mean_low_ = plan.Book(in.rows(), Life::kStep);
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

void LayerNorm::Forward(const Step& step, ConstTensor x, Tensor y) {
  grid_->SetSamples(x.shape().batch());
  ops::LayerNormForward(step.ctx, *grid_, channels_,
                        {.x = x.f32(),
                         .gamma = step.value(gamma_),
                         .beta = step.value(beta_),
                         .eps = options_.eps,
                         .y = y.f32(),
                         .mean = step[mean_],
                         .mean_low = step[mean_low_],
                         .inv_std = step[rstd_]});
}

void LayerNorm::Backward(const Step& step, ConstTensor x, ConstTensor, ConstTensor dy, Tensor dx) {
  grid_->SetSamples(dy.shape().batch());
  ops::LayerNormBackward(step.ctx, *grid_, channels_,
                         {.x = x.f32(),
                          .dy = dy.f32(),
                          .mean = step[mean_],
                          .mean_low = step[mean_low_],
                          .inv_std = step[rstd_],
                          .gamma = step.value(gamma_),
                          .dx = dx.empty() ? nullptr : dx.f32(),
                          .dgamma = step.gradient(gamma_),
                          .dbeta = step.gradient(beta_),
                          .accumulate = step.accumulate,
                          .partials = step[partials_]});
}

Result<Graph::Value> LayerNorm::Export(const Step& step, Graph& graph,
                                       const Graph::Value& x) const {
  const Graph::Value xhat = Standardize(graph, x, {x.shape.rank() - 1}, options_.eps);
  return ScaleAndShift(graph, xhat, step.value(gamma_), step.value(beta_));
}

}  // namespace lockstep
