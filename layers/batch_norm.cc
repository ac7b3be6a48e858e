// layers/batch_norm.cc — all tensors are seen as (R, C).
//   forward   xhat = (x - mean) * inv_std        mean, inv_std over R, per channel; inv_std = 1 /
//   sqrt(var + eps)
//             y    = act(gamma * xhat + beta (+ add))
//   backward  dz   = dy where act let through,  d_add = dz
//             dbeta = sum dz,  dgamma = sum dz * xhat
//             dx   = gamma * inv_std * (dz - dbeta / R - xhat * dgamma / R)
//   running statistics are constants: dx = gamma * inv_std * dz
#include "layers/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "engine/base/check.h"
#include "engine/ops/batch_moments.h"
#include "engine/ops/batch_norm.h"
#include "layers/graph_ops.h"

namespace lockstep {

const char* NameOf(Convention convention) {
  switch (convention) {
    case Convention::kTorch:
      return "torch";
    case Convention::kKeras:
      return "keras";
    case Convention::kLesson:
      return "lesson";
  }
  return "?";
}

Result<Bound> BatchNorm::Bind(const Shape& in, Planner& plan) {
  if (in.rank() < 2) return Status::Invalid("takes (batch, ..., channels), not " + in.ToString());
  const double momentum = Momentum();
  if (!(momentum >= 0.0 && momentum <= 1.0)) {
    return Status::Invalid("momentum must lie in [0, 1], not " + std::to_string(momentum));
  }
  if (!(options_.eps > 0.0))
    return Status::Invalid("eps must be positive, not " + std::to_string(options_.eps));
  if (!options_.track_running_stats && options_.single_value == SingleValuePolicy::kRunning) {
    return Status::Invalid("single-value policy 'running' needs track_running_stats");
  }
  channels_ = in.channels();
  rows_per_sample_ = in.rows_per_sample();
  const Shape channel{channels_};
  if (options_.affine) {
    gamma_ = plan.AddParameter("weight", channel, Init::Constant(1.0f), Decay::kNo);
    beta_ = plan.AddParameter("bias", channel, Init::Constant(0.0f), Decay::kNo);
  }
  if (options_.track_running_stats) {
    running_mean_ = plan.AddState("running_mean", channel, 0.0f);
    running_var_ = plan.AddState("running_var", channel, 1.0f);
    batches_ = plan.AddState("num_batches_tracked", {}, 0.0f);
  }
  plan.RecordNorm(NameOf(options_.convention), Momentum(), options_.eps);
  grid_ = std::make_unique<RowGrid>(in.batch(), rows_per_sample_, plan.shards());
  const int64_t partials = ops::MomentPartialsSize(
      RowGrid::MaxBlocks(in.batch(), rows_per_sample_, plan.shards()), channels_);
  mean_ = plan.Book(channels_, Life::kStep);
  mean_low_ = plan.Book(channels_, Life::kStep);
  inv_std_ = plan.Book(channels_, Life::kStep);
  variance_ = plan.Book<double>(channels_, Life::kCall);
  // The layer in front may fill these while it runs, so they live from its time on.
  moments_ =
      plan.BookBetween<double>(partials, {plan.previous_begin(), false}, {plan.now(), false});
  if (plan.training()) {
    gradient_sums_ = plan.Book<double>(partials, Life::kCall);
    gradient_means_ = plan.Book(2 * channels_, Life::kCall);
  }
  const bool relu = activation_ != kernels::Activation::kNone;
  return Bound{
      .out = in,
      .needs_x = true,
      .needs_y = adds_ && relu,  // without an added tensor the mask is computed again from x
      .dx_may_be_dy = true,
      .flops = 8.0 * static_cast<double>(in.size())};
}

double BatchNorm::Momentum() const {
  return options_.momentum.value_or(options_.convention == Convention::kKeras ? 0.99 : 0.1);
}

bool BatchNorm::UsesBatch(const Step& step, int64_t samples) const {
  if (!step.training()) return !options_.track_running_stats;
  return samples * rows_per_sample_ >
         1;  // Admit let a single value through only under policy kRunning
}

void BatchNorm::Forward(const Step& step, ConstTensor x, Tensor y) { Run(step, x, nullptr, y); }

void BatchNorm::ForwardAdd(const Step& step, ConstTensor x, ConstTensor add, Tensor y) {
  Run(step, x, add.f32(), y);
}

void BatchNorm::Run(const Step& step, ConstTensor x, const float* add, Tensor y) {
  const int64_t samples = x.shape().batch();
  grid_->SetSamples(samples);
  ops::NormalizeArgs args{
      .x = x.f32(),
      .affine = {.mean = step[mean_],
                 .mean_low = step[mean_low_],
                 .inv_std = step[inv_std_],
                 .gamma = step.value(gamma_),
                 .beta = step.value(beta_)},
      .epilogue = {.add = add, .add_stride = channels_, .activation = activation_},
      .y = y.f32()};
  if (!UsesBatch(step, samples)) {
    const float* mean = step[running_mean_];
    const float* var = step[running_var_];
    for (int64_t c = 0; c < channels_; ++c) {
      step[mean_][c] = mean[c];
      step[mean_low_][c] = 0.0f;
      step[inv_std_][c] =
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(var[c]) + options_.eps));
    }
    ops::NormalizeBatch(step.ctx, *grid_, channels_, args);
    return;
  }
  const ops::BatchStatistics statistics{.mean = step[mean_],
                                        .mean_low = step[mean_low_],
                                        .inv_std = step[inv_std_],
                                        .variance = step[variance_]};
  if (moments_taken_) {
    ops::MergeMoments(step.ctx, *grid_, channels_, step[moments_]);
    ops::FinishMoments(step.ctx, grid_->rows(), channels_, step[moments_], options_.eps,
                       statistics);
    ops::NormalizeBatch(step.ctx, *grid_, channels_, args);
  } else {
    ops::BatchNormForward(step.ctx, *grid_, channels_, options_.eps, args, statistics,
                          step[moments_]);
  }
  moments_taken_ = false;
  if (step.training() && options_.track_running_stats) UpdateRunning(step, grid_->rows());
}

void BatchNorm::UpdateRunning(const Step& step, int64_t rows) {
  double rate = options_.convention == Convention::kKeras ? 1.0 - Momentum() : Momentum();
  float& batches = *step[batches_];
  batches += 1.0f;
  if (options_.cumulative) rate = 1.0 / static_cast<double>(batches);
  const bool unbiased = options_.convention == Convention::kTorch;
  const double correction =
      unbiased ? static_cast<double>(rows) / static_cast<double>(rows - 1) : 1.0;
  const float* mean = step[mean_];
  const double* variance = step[variance_];
  float* running_mean = step[running_mean_];
  float* running_var = step[running_var_];
  for (int64_t c = 0; c < channels_; ++c) {
    running_mean[c] = static_cast<float>((1.0 - rate) * running_mean[c] + rate * mean[c]);
    running_var[c] =
        static_cast<float>((1.0 - rate) * running_var[c] + rate * correction * variance[c]);
  }
}

void BatchNorm::Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                         Tensor dx) {
  RunBackward(step, x, y, dy, dx, nullptr);
}

void BatchNorm::BackwardAdd(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                            Tensor dx, Tensor d_add) {
  RunBackward(step, x, y, dy, dx, d_add.f32());
}

void BatchNorm::RunBackward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy,
                            Tensor dx, float* d_add) {
  const int64_t samples = dy.shape().batch();
  grid_->SetSamples(samples);
  ops::BatchNormBackward(step.ctx, *grid_, channels_,
                         {.x = x.f32(),
                          .y = y.empty() ? nullptr : y.f32(),
                          .dy = dy.f32(),
                          .affine = {.mean = step[mean_],
                                     .mean_low = step[mean_low_],
                                     .inv_std = step[inv_std_],
                                     .gamma = step.value(gamma_),
                                     .beta = step.value(beta_)},
                          .activation = activation_,
                          .training = UsesBatch(step, samples),
                          .dx = dx.empty() ? nullptr : dx.f32(),
                          .d_add = d_add,
                          .dgamma = step.gradient(gamma_),
                          .dbeta = step.gradient(beta_),
                          .accumulate = step.accumulate},
                         step[gradient_sums_], step[gradient_means_]);
}

Result<Admission> BatchNorm::Admit(int64_t samples, Mode mode) const {
  if (mode != Mode::kTrain || samples * rows_per_sample_ > 1) return Admission::kRun;
  switch (options_.single_value) {
    case SingleValuePolicy::kError:
      break;
    case SingleValuePolicy::kSkip:
      return Admission::kSkip;
    case SingleValuePolicy::kRunning:
      return Admission::kRun;
  }
  return Status::Invalid(
      "training over a single value per channel (batch of 1) has no variance to normalise by; use "
      "batches of 2 or more, "
      "drop the last partial batch, or set the single-value policy to 'skip' or 'running'");
}

bool BatchNorm::FuseActivation(kernels::Activation activation) {
  if (activation_ != kernels::Activation::kNone) return false;
  activation_ = activation;
  return true;
}

bool BatchNorm::FuseAdd() {
  if (activation_ != kernels::Activation::kNone) return false;
  adds_ = true;
  return true;
}

std::span<const int64_t> BatchNorm::MomentRows(const Step& step, int64_t samples) {
  if (!UsesBatch(step, samples)) return {};
  grid_->SetSamples(samples);
  moments_taken_ = true;
  return grid_->boundaries();
}

void BatchNorm::TakeMoments(const Step& step, const float* y, int64_t row_begin, int64_t row_end,
                            int64_t col_begin, int64_t col_end) {
  const std::span<const int64_t> rows = grid_->boundaries();
  auto block = std::lower_bound(rows.begin(), rows.end(), row_begin) - rows.begin();
  for (; grid_->BlockRows(block).begin < row_end; ++block) {
    ops::BlockMoments(y, channels_, channels_, *grid_, block, {col_begin, col_end}, step[moments_]);
    if (grid_->BlockRows(block).end >= row_end) break;
  }
}

// gamma * (x - mean) * inv_std + beta = scale * x + shift, with the running statistics
void BatchNorm::Fold(const Step& step, float* scale, float* shift) const {
  const float* gamma = step.value(gamma_);
  const float* beta = step.value(beta_);
  for (int64_t c = 0; c < channels_; ++c) {
    const double inv_std =
        1.0 / std::sqrt(static_cast<double>(step[running_var_][c]) + options_.eps);
    const double factor = inv_std * (gamma == nullptr ? 1.0 : gamma[c]);
    scale[c] = static_cast<float>(factor);
    shift[c] =
        static_cast<float>((beta == nullptr ? 0.0 : beta[c]) - factor * step[running_mean_][c]);
  }
}

Result<Graph::Value> BatchNorm::Export(const Step& step, Graph& graph,
                                       const Graph::Value& x) const {
  const Shape channel{channels_};
  if (!options_.track_running_stats) {
    std::vector<int64_t> axes(static_cast<size_t>(x.shape.rank()) - 1);
    std::iota(axes.begin(), axes.end(), 0);
    const Graph::Value xhat = Standardize(graph, x, axes, options_.eps);
    return ScaleAndShift(graph, xhat, step.value(gamma_), step.value(beta_));
  }
  const float* gamma = step.value(gamma_);
  const float* beta = step.value(beta_);
  const std::vector<float> ones(static_cast<size_t>(channels_), 1.0f), zeros(ones.size(), 0.0f);
  // The operator wants the channels second.
  const Graph::Value rows = graph.Reshape(x, {x.shape.rows(), channels_});
  const Graph::Value y =
      graph.Add("BatchNormalization",
                {rows, graph.AddConstant("weight", channel, gamma == nullptr ? ones.data() : gamma),
                 graph.AddConstant("bias", channel, beta == nullptr ? zeros.data() : beta),
                 graph.AddConstant("running_mean", channel, step[running_mean_]),
                 graph.AddConstant("running_var", channel, step[running_var_])},
                {{"epsilon", static_cast<float>(options_.eps)}});
  return graph.Reshape(y, x.shape);
}

}  // namespace lockstep
