// layers/group_norm.cc — a sample is seen as (rows, C); a group is C / G neighbouring channels of
// all its rows.
//   forward   xhat = (x - mean) * rstd            mean and rstd = 1 / sqrt(var + eps) of each group
//   of each sample
//             y    = gamma * xhat + beta          gamma and beta per channel
//   backward  dbeta = sum dy,  dgamma = sum dy * xhat       over samples and rows, in shards
//             g = dy * gamma,  dx = rstd * (g - mean(g) - xhat * mean(g * xhat))      means over
//             the group
#include "layers/group_norm.h"

#include "layers/graph_ops.h"

namespace lockstep {

Result<Bound> GroupNorm::Bind(const Shape& in, Planner& plan) {
  if (in.rank() < 2 || in.channels() < 1)
    return Status::Invalid("takes (batch, ..., channels), not " + in.ToString());
  if (!(options_.eps > 0.0))
    return Status::Invalid("eps must be positive, not " + std::to_string(options_.eps));
  channels_ = in.channels();
  if (groups_ == 0) groups_ = channels_;
  if (groups_ < 0 || channels_ % groups_ != 0) {
    return Status::Invalid(std::to_string(groups_) + " groups do not divide the " +
                           std::to_string(channels_) + " channels of " + in.ToString());
  }
  rows_per_sample_ = in.rows_per_sample();
  shards_ = plan.shards();
  if (options_.affine) {
    gamma_ = plan.AddParameter("weight", {channels_}, Init::Constant(1.0f), Decay::kNo);
    beta_ = plan.AddParameter("bias", {channels_}, Init::Constant(0.0f), Decay::kNo);
  }
  mean_ = plan.Book(in.batch() * channels_, Life::kStep);
  mean_low_ = plan.Book(in.batch() * channels_, Life::kStep);
  rstd_ = plan.Book(in.batch() * channels_, Life::kStep);
  partials_ = plan.Book<double>(ops::GroupNormPartialsSize(GroupShape(), in.batch()), Life::kCall);
  return Bound{.out = in,
               .needs_x = true,
               .dx_may_be_dy = true,
               .flops = 8.0 * static_cast<double>(in.size())};
}

ops::GroupNormShape GroupNorm::GroupShape() const {
  return {.positions = rows_per_sample_, .channels = channels_, .groups = groups_};
}

void GroupNorm::Forward(const Step& step, ConstTensor x, Tensor y) {
  ops::GroupNormForward(step.ctx, BatchCut::Whole(x.shape().batch(), shards_), GroupShape(),
                        {.x = x.f32(),
                         .gamma = step.value(gamma_),
                         .beta = step.value(beta_),
                         .eps = options_.eps,
                         .y = y.f32(),
                         .mean = step[mean_],
                         .mean_low = step[mean_low_],
                         .inv_std = step[rstd_],
                         .partials = step[partials_]});
}

void GroupNorm::Backward(const Step& step, ConstTensor x, ConstTensor, ConstTensor dy, Tensor dx) {
  ops::GroupNormBackward(step.ctx, BatchCut::Whole(dy.shape().batch(), shards_), GroupShape(),
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

Result<Graph::Value> GroupNorm::Export(const Step& step, Graph& graph,
                                       const Graph::Value& x) const {
  const Shape groups{x.shape.batch(), rows_per_sample_, groups_, channels_ / groups_};
  const Graph::Value xhat = Standardize(graph, graph.Reshape(x, groups), {1, 3}, options_.eps);
  return ScaleAndShift(graph, graph.Reshape(xhat, x.shape), step.value(gamma_), step.value(beta_));
}

Result<Bound> InstanceNorm::Bind(const Shape& in, Planner& plan) {
  if (in.rank() < 3 || in.rows_per_sample() < 2) {
    return Status::Invalid(
        "takes (batch, ..., channels) with more than one value per channel of a sample, not " +
        in.ToString() + ": a single value has no variance");
  }
  return GroupNorm::Bind(in, plan);
}

}  // namespace lockstep
