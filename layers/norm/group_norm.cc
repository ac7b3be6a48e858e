// layers/norm/group_norm.cc — a sample is seen as (rows, C); a group is C / G neighbouring
// channels of all its rows.
//   forward   xhat = (x - mean) * inv_std      mean and inv_std = 1 / sqrt(var + eps) of each group
//                                              of each sample
//             y    = gamma * xhat + beta       gamma and beta per channel
//   backward  dbeta = sum dy,  dgamma = sum dy * xhat       over samples and rows, in shards
//             g = dy * gamma,  dx = inv_std * (g - mean(g) - xhat * mean(g * xhat))
//                                                           means over the group
#include "layers/norm/group_norm.h"

#include "engine/ops/group_norm.h"
#include "layers/norm/norm_parameters.h"
#include "layers/onnx_ops.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

// Inputs: x, gamma, beta (or nothing).
class GroupNormOperation final : public Operation {
 public:
  GroupNormOperation(int64_t groups, double eps) : eps_(eps) { shape_.groups = groups; }

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0]},
                       .reads_x = {true, true},
                       .dx_may_overwrite_dy = true,
                       .accumulates_dx = {false, true, true},
                       .flops = 8.0 * static_cast<double>(x[0].shape.size()),
                       .is_norm = true};
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    const Shape& shape = x[0].shape;
    shape_.positions = shape.rows_per_sample();
    shape_.channels = shape.channels();
    mean_ = booking.Book(shape.batch() * shape.channels(), Life::kStep);
    mean_low_ = booking.Book(shape.batch() * shape.channels(), Life::kStep);
    inv_std_ = booking.Book(shape.batch() * shape.channels(), Life::kStep);
    partials_ =
        booking.Book<double>(ops::GroupNormPartialsSize(shape_, shape.batch()), Life::kCall);
  }

  void Forward(const Step& step, const Operands& o) override {
    ops::GroupNormForward(step.ctx, step.cut, shape_,
                          {.x = o.x_f32(0),
                           .gamma = o.x_f32(1),
                           .beta = o.x_f32(2),
                           .eps = eps_,
                           .y = o.y_f32(),
                           .mean = step[mean_],
                           .mean_low = step[mean_low_],
                           .inv_std = step[inv_std_],
                           .partials = step[partials_]});
  }

  void Backward(const Step& step, const Operands& o) override {
    ops::GroupNormBackward(step.ctx, step.cut, shape_,
                           {.x = o.x_f32(0),
                            .dy = o.dy_f32(),
                            .mean = step[mean_],
                            .mean_low = step[mean_low_],
                            .inv_std = step[inv_std_],
                            .gamma = o.x_f32(1),
                            .dx = o.dx_f32(0),
                            .dgamma = o.dx_f32(1),
                            .dbeta = o.dx_f32(2),
                            .accumulate = AddsToParameters(o),
                            .partials = step[partials_]});
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const Shape groups{x[0].shape.batch(), shape_.positions, shape_.groups,
                       shape_.channels / shape_.groups};
    const OnnxGraph::Value xhat = Standardize(graph, graph.Reshape(x[0], groups), {1, 3}, eps_);
    return ScaleAndShift(graph, graph.Reshape(xhat, x[0].shape), x[1], x[2]);
  }

 private:
  ops::GroupNormShape shape_;
  double eps_;
  Buffer<float> mean_, mean_low_, inv_std_;
  Buffer<double> partials_;
};

}  // namespace

Result<Value> GroupNorm::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  LOCKSTEP_TRY(CheckEps(options_.eps));
  const int64_t channels = graph.shape(x).channels();
  const int64_t groups = groups_ == 0 ? channels : groups_;
  if (groups < 0 || channels % groups != 0) {
    return Status::Invalid(std::to_string(groups) + " groups do not divide the " +
                           std::to_string(channels) + " channels of " + graph.shape(x).ToString());
  }
  LOCKSTEP_TRY_ASSIGN(
      const NormParameters p,
      AddNormParameters(graph, x, options_.affine, options_.affine, options_.gamma, groups));
  return graph.Add(GroupNormOperation(groups, options_.eps), {x, p.gamma, p.beta});
}

Result<Value> InstanceNorm::Build(Graph& graph, Value x) const {
  const Shape& in = graph.shape(x);
  if (in.rank() < 3 || in.rows_per_sample() < 2) {
    return Status::Invalid(
        "takes (batch, ..., channels) with more than one value per channel of a sample, not " +
        in.ToString() + ": a single value has no variance");
  }
  return GroupNorm::Build(graph, x);
}

}  // namespace lockstep
