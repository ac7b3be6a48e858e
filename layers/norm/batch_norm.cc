// layers/norm/batch_norm.cc — all tensors are seen as (R, C), R the rows of the global batch.
//   forward   xhat = (x - mean) * inv_std        mean, inv_std over R, per channel
//             y    = act(gamma * xhat + beta + add)         inv_std = 1 / sqrt(var + eps)
//   backward  dz   = dy where act let through,  d_add = dz
//             dbeta = sum dz,  dgamma = sum dz * xhat
//             dx   = gamma * inv_std * (dz - dbeta / R - xhat * dgamma / R)
//   By the running statistics, which are constants: dx = gamma * inv_std * dz.
//   add and act only where they were fused.
#include "layers/norm/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "engine/base/text.h"
#include "engine/ops/batch_moments.h"
#include "engine/ops/batch_norm.h"
#include "layers/norm/norm_parameters.h"
#include "layers/onnx_ops.h"
#include "layers/rows.h"

namespace lockstep::inline v0_1 {
namespace {

using kernels::Activation;

double MomentumOf(const BatchNormOptions& options) {
  return options.momentum.value_or(options.convention == Convention::kKeras ? 0.99 : 0.1);
}

struct RunningStates {
  State mean, var, batches;
};

// Inputs: x, gamma, beta (or nothing), then what was fused.
class NormOperation : public Operation {
 public:
  NormOperation(const BatchNormOptions& options, RunningStates running)
      : options_(options), running_(running) {}

 protected:
  Declaration DeclareNorm(const TensorSpec& x, const Fused& fused) const {
    Declaration declared{.outputs = {x},
                         .reads_x = {true, true, true},
                         // Without an added tensor the mask is computed again from x.
                         .reads_y = {fused.add >= 0 && fused.activation != Activation::kNone},
                         .dx_may_overwrite_dy = true,
                         .accumulates_dx = {false, true, true},
                         .flops = 8.0 * static_cast<double>(x.shape.size()),
                         .applies = {.add = true, .activation = true},
                         .is_norm = true};
    if (fused.add >= 0) {
      declared.passes_dy.resize(static_cast<size_t>(fused.add) + 1, false);
      declared.passes_dy.back() = fused.activation == Activation::kNone;
    }
    return declared;
  }

  void BookNorm(const TensorSpec& x, Booking& booking) {
    fused_ = booking.fused();
    channels_ = x.shape.channels();
    rows_ = booking.CutRows(x.shape);
    mean_ = booking.Book(channels_, Life::kStep);
    mean_low_ = booking.Book(channels_, Life::kStep);
    inv_std_ = booking.Book(channels_, Life::kStep);
    if (!booking.options().training) return;
    const int64_t blocks =
        RowGrid::MaxBlocks(x.shape.batch(), x.shape.rows_per_sample(), booking.options().shards);
    gradient_sums_ = booking.Book<double>(ops::MomentPartialsSize(blocks, channels_),
                                          fused_.finished_dy ? Life::kStep : Life::kCall);
    gradient_means_ = booking.Book(2 * channels_, Life::kCall);
  }

  ops::NormalizeArgs NormalizeArgs(const Step& step, const Operands& o) const {
    return {.x = o.x_f32(0),
            .affine = Affine(step, o),
            .epilogue = {.add = fused_.add < 0 ? nullptr : o.x_f32(fused_.add),
                         .add_stride = channels_,
                         .activation = fused_.activation},
            .y = o.y_f32()};
  }

  ops::BatchNormGradientArgs GradientArgs(const Step& step, const Operands& o,
                                          bool by_batch) const {
    float* d_add = fused_.add < 0 ? nullptr : o.dx_f32(fused_.add);
    const bool passed = d_add == o.dy_f32();  // its gradient lies there already
    return {.x = o.x_f32(0),
            .y = o.y_f32(),
            .dy = o.dy_f32(),
            .affine = Affine(step, o),
            .activation = fused_.activation,
            .training = by_batch,
            .dx = o.dx_f32(0),
            .d_add = passed ? nullptr : d_add,
            .dgamma = o.dx_f32(1),
            .dbeta = o.dx_f32(2),
            .accumulate = AddsToParameters(o)};
  }

  kernels::ChannelAffine Affine(const Step& step, const Operands& o) const {
    return {.mean = step[mean_],
            .mean_low = step[mean_low_],
            .inv_std = step[inv_std_],
            .gamma = o.x_f32(1),
            .beta = o.x_f32(2)};
  }
  using Operation::Affine;

  void UseRunning(const Step& step) const {
    const float *mean = step.state(running_.mean), *var = step.state(running_.var);
    for (int64_t c = 0; c < channels_; ++c) {
      step[mean_][c] = mean[c];
      step[mean_low_][c] = 0.0f;
      step[inv_std_][c] =
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(var[c]) + options_.eps));
    }
  }

  BatchNormOptions options_;
  RunningStates running_;
  Fused fused_;
  int64_t channels_ = 0;
  Rows rows_;
  // Of the step: the batch's, or the running ones. The mean is mean_ + mean_low_, see normalize.h.
  Buffer<float> mean_, mean_low_, inv_std_;
  Buffer<double> gradient_sums_;
  Buffer<float> gradient_means_;
};

// ---- By the statistics of the batch: training, and evaluation where none are kept.
class NormByBatch final : public NormOperation {
 public:
  using NormOperation::NormOperation;

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override {
    Declaration declared = DeclareNorm(x[0], fused);
    const int64_t blocks =
        RowGrid::MaxBlocks(x[0].shape.batch(), x[0].shape.rows_per_sample(), options.shards);
    declared.takes_moments =
        TensorSpec{Shape{ops::MomentPartialsSize(blocks, x[0].shape.channels())}, DType::kF64};
    declared.takes_finished_dy = true;
    declared.ignores_shift = true;
    declared.states_differ_by_rank = !options_.sync;
    return declared;
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override {
    BookNorm(x[0], booking);
    rows_per_sample_ = x[0].shape.rows_per_sample();
    training_ = booking.options().training;
    variance_ = booking.Book<double>(channels_, Life::kCall);
    if (fused_.moments_of_x < 0) {
      const int64_t blocks =
          RowGrid::MaxBlocks(x[0].shape.batch(), rows_per_sample_, booking.options().shards);
      moments_ = booking.Book<double>(ops::MomentPartialsSize(blocks, channels_), Life::kCall);
    }
    const int ranks = booking.options().ranks;
    if (ranks > 1 && options_.sync) {
      all_ranks_ = booking.Book<double>(ranks * 2 * channels_, Life::kCall);
      rank_rows_.resize(static_cast<size_t>(ranks));
    }
  }

  Result<Admission> Admit(const BatchCut& cut) const override {
    if (!training_ || FewestRows(cut) > 1) return Admission::kRun;
    switch (options_.single_value) {
      case SingleValuePolicy::kError:
        break;
      case SingleValuePolicy::kSkip:
        return Admission::kSkip;
      case SingleValuePolicy::kRunning:
        return Admission::kRun;
    }
    return Status::Invalid(
        "training over a single value per channel (batch of 1) has no variance to normalise by; "
        "use batches of 2 or more, drop the last partial batch, or set the single-value policy to "
        "'skip' or 'running'");
  }

  void Forward(const Step& step, const Operands& o) override {
    const RowGrid& rows = step.rows(rows_);
    if (!ByBatch(step)) {
      UseRunning(step);
      return ops::NormalizeBatch(step.ctx, rows, channels_, NormalizeArgs(step, o));
    }
    double* moments = fused_.moments_of_x < 0 ? step[moments_] : Moments(o);
    if (fused_.moments_of_x < 0) ops::BatchMoments(step.ctx, o.x_f32(0), channels_, rows, moments);
    ops::MergeMoments(step.ctx, rows, channels_, moments);
    if (const double* all = Gather(step, moments); all != moments) {
      for (size_t r = 0; r < rank_rows_.size(); ++r)
        rank_rows_[r] = step.cut.SamplesOfRank(static_cast<int64_t>(r)) * rows_per_sample_;
      ops::MergeRankMoments(step[all_ranks_], rank_rows_, channels_);
      moments = step[all_ranks_];
    }
    const int64_t count = RowsOf(step.cut);
    ops::FinishMoments(step.ctx, count, channels_, moments, options_.eps,
                       {.mean = step[mean_],
                        .mean_low = step[mean_low_],
                        .inv_std = step[inv_std_],
                        .variance = step[variance_]});
    ops::NormalizeBatch(step.ctx, rows, channels_, NormalizeArgs(step, o));
    if (training_ && options_.track_running_stats) UpdateRunning(step, count);
  }

  void Backward(const Step& step, const Operands& o) override {
    const RowGrid& rows = step.rows(rows_);
    const ops::BatchNormGradientArgs args = GradientArgs(step, o, ByBatch(step));
    double* sums = step[gradient_sums_];
    if (!fused_.finished_dy) ops::GradientSums(step.ctx, rows, channels_, args, sums);
    ops::MergeGradientSums(step.ctx, rows, channels_, args, sums);
    if (args.training) {
      if (const double* all = Gather(step, sums); all != sums) {
        ops::MergeRankSums(step[all_ranks_], static_cast<int64_t>(rank_rows_.size()), channels_);
        sums = step[all_ranks_];
      }
      ops::GradientMeans(step.ctx, RowsOf(step.cut), channels_, sums, step[gradient_means_]);
    }
    ops::InputGradient(step.ctx, rows, channels_, args, step[gradient_means_]);
  }

  void FinishedDy(const Step& step, const Operands& o, int64_t block,
                  IndexRange columns) const override {
    ops::BlockGradientSums(step.rows(rows_), channels_, GradientArgs(step, o, ByBatch(step)), block,
                           columns, step[gradient_sums_]);
  }

  Result<OnnxGraph::Value> Export(const Step&, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    std::vector<int64_t> axes(static_cast<size_t>(x[0].shape.rank()) - 1);
    std::iota(axes.begin(), axes.end(), 0);
    return ScaleAndShift(graph, Standardize(graph, x[0], axes, options_.eps), x[1], x[2]);
  }

 private:
  // A single value gets here in training only under policy kRunning.
  bool ByBatch(const Step& step) const { return !training_ || FewestRows(step.cut) > 1; }
  // That the statistics here are taken over.
  int64_t RowsOf(const BatchCut& cut) const {
    return (options_.sync ? cut.step_samples() : cut.samples()) * rows_per_sample_;
  }
  // The same on the rank that has the fewest, so that all ranks decide alike.
  int64_t FewestRows(const BatchCut& cut) const {
    if (options_.sync) return RowsOf(cut);
    int64_t fewest = cut.SamplesOfRank(0);
    for (int64_t rank = 1; rank < cut.ranks; ++rank)
      fewest = std::min(fewest, cut.SamplesOfRank(rank));
    return fewest * rows_per_sample_;
  }
  double* Moments(const Operands& o) const {
    return static_cast<double*>(const_cast<void*>(o.x(fused_.moments_of_x).data()));
  }

  // (2, C) of every rank; of this process alone where there is no other.
  const double* Gather(const Step& step, const double* mine) const {
    if (step.ranks == nullptr || step.ranks->size() == 1 || !options_.sync) return mine;
    const auto count = static_cast<size_t>(2 * channels_);
    double* all = step[all_ranks_];
    step.Expect(
        step.ranks->AllGather(std::as_bytes(std::span(mine, count)),
                              std::as_writable_bytes(std::span(all, count * rank_rows_.size()))));
    return all;
  }

  void UpdateRunning(const Step& step, int64_t rows) const {
    double rate = options_.convention == Convention::kKeras ? 1.0 - MomentumOf(options_)
                                                            : MomentumOf(options_);
    const int64_t batches = ++*step.state<int64_t>(running_.batches);
    if (options_.cumulative) rate = 1.0 / static_cast<double>(batches);
    const bool unbiased = options_.convention == Convention::kTorch;
    const double correction =
        unbiased ? static_cast<double>(rows) / static_cast<double>(rows - 1) : 1.0;
    const float *mean = step[mean_], *mean_low = step[mean_low_];
    const double* variance = step[variance_];
    float *running_mean = step.state(running_.mean), *running_var = step.state(running_.var);
    for (int64_t c = 0; c < channels_; ++c) {
      const double batch_mean = static_cast<double>(mean[c]) + static_cast<double>(mean_low[c]);
      running_mean[c] = static_cast<float>((1.0 - rate) * running_mean[c] + rate * batch_mean);
      running_var[c] =
          static_cast<float>((1.0 - rate) * running_var[c] + rate * correction * variance[c]);
    }
  }

  int64_t rows_per_sample_ = 1;
  bool training_ = true;
  Buffer<double> variance_;  // of the batch, biased
  Buffer<double> moments_;   // of each row block, where no producer takes them
  Buffer<double> all_ranks_;
  std::vector<int64_t> rank_rows_;
};

// ---- By the running statistics: evaluation, and training where it is frozen.
class NormByRunning final : public NormOperation {
 public:
  using NormOperation::NormOperation;

  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                              const PlanOptions& options) const override {
    Declaration declared = DeclareNorm(x[0], fused);
    declared.is_affine = !options.training;
    return declared;
  }

  void Book(std::span<const TensorSpec> x, Booking& booking) override { BookNorm(x[0], booking); }

  void Forward(const Step& step, const Operands& o) override {
    UseRunning(step);
    ops::NormalizeBatch(step.ctx, step.rows(rows_), channels_, NormalizeArgs(step, o));
  }

  void Backward(const Step& step, const Operands& o) override {
    const RowGrid& rows = step.rows(rows_);
    const ops::BatchNormGradientArgs args = GradientArgs(step, o, /*by_batch=*/false);
    if (args.dgamma != nullptr || args.dbeta != nullptr) {
      ops::GradientSums(step.ctx, rows, channels_, args, step[gradient_sums_]);
      ops::MergeGradientSums(step.ctx, rows, channels_, args, step[gradient_sums_]);
    }
    ops::InputGradient(step.ctx, rows, channels_, args, step[gradient_means_]);
  }

  // gamma (x - mean) inv_std + beta = scale x + shift
  void Affine(const Step& step, const Operands& o, float* scale, float* shift) const override {
    const float *gamma = o.x_f32(1), *beta = o.x_f32(2);
    const float *mean = step.state(running_.mean), *var = step.state(running_.var);
    const int64_t channels = o.y().shape().size();
    for (int64_t c = 0; c < channels; ++c) {
      const double inv_std = 1.0 / std::sqrt(static_cast<double>(var[c]) + options_.eps);
      const double factor = inv_std * (gamma == nullptr ? 1.0 : gamma[c]);
      scale[c] = static_cast<float>(factor);
      shift[c] = static_cast<float>((beta == nullptr ? 0.0 : beta[c]) - factor * mean[c]);
    }
  }

  Result<OnnxGraph::Value> Export(const Step& step, const Operands&, OnnxGraph& graph,
                                  std::span<const OnnxGraph::Value> x) const override {
    const Shape channel{channels_};
    const std::vector<float> ones(static_cast<size_t>(channels_), 1.0f), zeros(ones.size(), 0.0f);
    const auto given = [&](const OnnxGraph::Value& value, const char* name,
                           const std::vector<float>& instead) {
      return value.name.empty() ? graph.AddConstant(name, channel, instead) : value;
    };
    // The operator wants the channels second.
    const OnnxGraph::Value rows = graph.Reshape(x[0], {x[0].shape.rows(), channels_});
    const OnnxGraph::Value y =
        graph.Add("BatchNormalization",
                  {rows, given(x[1], "weight", ones), given(x[2], "bias", zeros),
                   graph.AddConstant("running_mean", channel, step.state(running_.mean)),
                   graph.AddConstant("running_var", channel, step.state(running_.var))},
                  {{"epsilon", static_cast<float>(options_.eps)}});
    return graph.Reshape(y, x[0].shape);
  }
};

}  // namespace

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

Result<Value> BatchNorm::Build(Graph& graph, Value x) const {
  LOCKSTEP_TRY(CheckRows(graph.spec(x), "channels"));
  LOCKSTEP_TRY(CheckEps(options_.eps));
  const double momentum = MomentumOf(options_);
  if (!(momentum >= 0.0 && momentum <= 1.0))
    return Status::Invalid("momentum must lie in [0, 1], not " + std::to_string(momentum));
  if (!options_.track_running_stats && options_.single_value == SingleValuePolicy::kRunning)
    return Status::Invalid("single-value policy 'running' needs track_running_stats");
  if (!options_.track_running_stats && graph.options().evaluates) {
    return Status::Invalid(
        "normalises by the samples of the batch, so that what it gives depends on all of them: "
        "there are no derivatives of one sample; keep running statistics");
  }
  const Shape channel{graph.shape(x).channels()};
  LOCKSTEP_TRY_ASSIGN(const NormParameters p, AddNormParameters(graph, x, options_.affine,
                                                                options_.affine, options_.gamma));
  RunningStates running;
  if (options_.track_running_stats) {
    const FileLayout layout = LayoutOfFeatures(graph.spec(x));
    LOCKSTEP_TRY_ASSIGN(running.mean,
                        graph.AddState("running_mean", channel, DType::kF32, 0.0, layout));
    LOCKSTEP_TRY_ASSIGN(running.var,
                        graph.AddState("running_var", channel, DType::kF32, 1.0, layout));
    LOCKSTEP_TRY_ASSIGN(running.batches,
                        graph.AddState("num_batches_tracked", {}, DType::kI64, 0.0));
  }
  graph.SetTrait("batch_norm", std::string(NameOf(options_.convention)) + " momentum=" +
                                   TextOf(momentum) + " eps=" + TextOf(options_.eps));
  const bool by_batch =
      !options_.track_running_stats || (graph.training() && !graph.IsFrozen("weight"));
  if (by_batch) return graph.Add(NormByBatch(options_, running), {x, p.gamma, p.beta});
  return graph.Add(NormByRunning(options_, running), {x, p.gamma, p.beta});
}

}  // namespace lockstep
