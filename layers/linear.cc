// layers/linear.cc — x is seen as (R, K), y as (R, N).
//   forward   y  = act(x W^T + b)
//   backward  dz = dy where act let through
//             dW = dz^T x,  db = sum dz      both summed over the batch in shards
//             dx = dz W
#include "layers/linear.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/kernels/elementwise/activation.h"
#include "engine/ops/product.h"
#include "engine/parallel/shards.h"

namespace lockstep {
namespace {

using kernels::Activation;
using kernels::RowMajor;

constexpr float kOne = 1.0f;

Init WeightInit(const LinearOptions& options, int64_t in, int64_t out) {
  const auto fan_in = static_cast<double>(in);
  const auto fan_out = static_cast<double>(out);
  switch (options.init) {
    case LinearOptions::WeightInit::kTorch:
      break;
    case LinearOptions::WeightInit::kKaimingNormal:  // He et al., 2015
      return Init::Normal(static_cast<float>(std::sqrt(2.0 / fan_in)) * options.init_scale);
    case LinearOptions::WeightInit::kXavierUniform:  // Glorot and Bengio, 2010
      return Init::Uniform(static_cast<float>(std::sqrt(6.0 / (fan_in + fan_out))) *
                           options.init_scale);
    case LinearOptions::WeightInit::kNormal:
      return Init::Normal(options.init_scale);
  }
  return Init::Uniform(static_cast<float>(1.0 / std::sqrt(fan_in)) * options.init_scale);
}

}  // namespace

Result<Bound> Linear::Bind(const Shape& in, Planner& plan) {
  if (in.rank() < 2) return Status::Invalid("takes (batch, ..., features), not " + in.ToString());
  if (out_ <= 0) return Status::Invalid("needs at least one output, not " + std::to_string(out_));
  in_ = in.channels();
  if (in_ <= 0) return Status::Invalid("needs at least one input feature, not " + in.ToString());
  const int64_t rows = in.rows();
  const Init weight_init = WeightInit(options_, in_, out_);
  weight_ = plan.AddParameter("weight", {out_, in_}, weight_init, Decay::kYes);
  if (options_.bias) {
    const bool torch = options_.init == LinearOptions::WeightInit::kTorch;
    bias_ =
        plan.AddParameter("bias", {out_}, torch ? weight_init : Init::Constant(0.0f), Decay::kNo);
    if (norm_ != nullptr)
      plan.Note("its bias has no effect: the batch norm behind it subtracts it again");
  }
  const int threads = plan.threads();
  scratch_floats_ = ops::ProductScratch(threads, rows, out_, in_);
  if (plan.training()) {
    scratch_floats_ =
        std::max({scratch_floats_, ops::ProductScratch(threads, out_, in_, rows, plan.shards()),
                  ops::ProductScratch(threads, 1, out_, rows, plan.shards()),
                  ops::ProductScratch(threads, rows, in_, out_)});
    if (activation_ != Activation::kNone) dz_ = plan.Book(rows * out_, Life::kCall);
    shard_rows_.resize(static_cast<size_t>(plan.shards()) + 1);
  }
  scratch_ = plan.Book(scratch_floats_, Life::kCall);
  if (norm_ != nullptr) {
    folded_bias_ = plan.Book(out_, Life::kBound);
    fold_scale_ = plan.Book(out_, Life::kCall);
  }
  if (norm_ != nullptr || !plan.training()) {
    folded_weight_ = plan.Book(out_ * in_, Life::kBound);
  }
  return Bound{.out = in.WithChannels(out_),
               .needs_x = true,
               .needs_y = activation_ != Activation::kNone,
               .flops = 2.0 * static_cast<double>(rows) * static_cast<double>(out_) *
                        static_cast<double>(in_)};
}

void Linear::Forward(const Step& step, ConstTensor x, Tensor y) {
  if (norm_ == nullptr && folded_weight_.valid()) return ForwardFolded(step, x, activation_, y);
  float* out = y.f32();
  ops::ProductArgs args{.m = x.shape().rows(),
                        .n = out_,
                        .k = in_,
                        .a = RowMajor(x.f32(), in_),
                        .b = RowMajor(step.value(weight_), in_).Transposed(),
                        .c = out,
                        .c_stride = out_,
                        .epilogue = {.bias = step.value(bias_), .activation = activation_}};
  const auto take_moments = [&](int64_t row_begin, int64_t row_end, int64_t col_begin,
                                int64_t col_end) {
    norm_->TakeMoments(step, out, row_begin, row_end, col_begin, col_end);
  };
  if (norm_ != nullptr) args.row_grid = norm_->MomentRows(step, x.shape().batch());
  if (!args.row_grid.empty()) args.finished.emplace(take_moments);
  ops::Product(step.ctx, args, {step[scratch_], static_cast<size_t>(scratch_floats_)});
}

void Linear::Backward(const Step& step, ConstTensor x, ConstTensor y, ConstTensor dy, Tensor dx) {
  const std::span<float> scratch(step[scratch_], static_cast<size_t>(scratch_floats_));
  const int64_t rows = dy.shape().rows();
  const float* dz = dy.f32();
  if (activation_ != Activation::kNone) {
    constexpr int64_t kRun = 8192;
    float* masked = step[dz_];
    const int64_t size = rows * out_;
    step.ctx.For((size + kRun - 1) / kRun, size, [&](int64_t run) {
      const int64_t begin = run * kRun;
      kernels::ActivationBackward({.kind = kernels::ActivationKind::kRelu}, y.f32() + begin,
                                  dy.f32() + begin, masked + begin, std::min(kRun, size - begin));
    });
    dz = masked;
  }

  const int64_t samples = dy.shape().batch();
  const auto shards = static_cast<int64_t>(shard_rows_.size()) - 1;
  for (int64_t s = 0; s < shards; ++s) {
    shard_rows_[static_cast<size_t>(s) + 1] = ShardRange(samples, shards, s).end * (rows / samples);
  }
  const ops::ProductArgs dw{.m = out_,
                            .n = in_,
                            .k = rows,
                            .a = RowMajor(dz, out_).Transposed(),
                            .b = RowMajor(x.f32(), in_),
                            .c = step.gradient(weight_),
                            .c_stride = in_,
                            .accumulate = step.accumulate,
                            .segments = shard_rows_};
  ops::ProductArgs db, dx_product;
  if (bias_.valid()) {
    db = {.m = 1,
          .n = out_,
          .k = rows,
          .a = {.data = &kOne, .row_stride = 0, .col_stride = 0},
          .b = RowMajor(dz, out_),
          .c = step.gradient(bias_),
          .c_stride = out_,
          .accumulate = step.accumulate,
          .segments = shard_rows_};
  }
  if (!dx.empty()) {
    dx_product = {.m = rows,
                  .n = in_,
                  .k = out_,
                  .a = RowMajor(dz, out_),
                  .b = RowMajor(step.value(weight_), in_),
                  .c = dx.f32(),
                  .c_stride = in_};
  }
  ops::Products(step.ctx, std::array{dw, dx_product, db}, scratch);
}

bool Linear::FuseActivation(kernels::Activation activation) {
  if (norm_ != nullptr || activation_ != Activation::kNone) return false;
  activation_ = activation;
  return true;
}

bool Linear::FuseNorm(ChannelNorm* norm) {
  if (norm_ != nullptr || activation_ != Activation::kNone) return false;
  norm_ = norm;
  return true;
}

// y = scale * (x W^T + b) + shift = x (scale W)^T + (scale b + shift)
// The weight is kept as (in, out), which a product reads in place: a single sample must not wait
// for it to be rearranged. So it is without a norm too, where the network is for prediction alone.
void Linear::FoldWeight(const Step& step) {
  if (folded_version_ == step.version) return;
  folded_version_ = step.version;
  const float* weight = step.value(weight_);
  const float* scale = nullptr;
  if (norm_ != nullptr) {
    const float* bias = step.value(bias_);
    float* shift = step[folded_bias_];
    norm_->Fold(step, step[fold_scale_], shift);
    scale = step[fold_scale_];
    for (int64_t n = 0; bias != nullptr && n < out_; ++n) shift[n] += scale[n] * bias[n];
  }
  float* folded = step[folded_weight_];
  constexpr int64_t kLine = 16;
  step.ctx.For((out_ + kLine - 1) / kLine, out_ * in_, [&](int64_t line) {
    const int64_t begin = line * kLine, end = std::min(begin + kLine, out_);
    for (int64_t k = 0; k < in_; ++k) {
      for (int64_t n = begin; n < end; ++n) {
        folded[k * out_ + n] = (scale == nullptr ? 1.0f : scale[n]) * weight[n * in_ + k];
      }
    }
  });
}

void Linear::ForwardFolded(const Step& step, ConstTensor x, Activation activation, Tensor y) {
  FoldWeight(step);
  ops::Product(step.ctx,
               {.m = x.shape().rows(),
                .n = out_,
                .k = in_,
                .a = RowMajor(x.f32(), in_),
                .b = RowMajor(step[folded_weight_], out_),
                .c = y.f32(),
                .c_stride = out_,
                .epilogue = {.bias = norm_ != nullptr ? step[folded_bias_] : step.value(bias_),
                             .activation = activation}},
               {step[scratch_], static_cast<size_t>(scratch_floats_)});
}

Result<Graph::Value> Linear::Export(const Step& step, Graph& graph, const Graph::Value& x) const {
  std::vector<float> weight(step.value(weight_), step.value(weight_) + out_ * in_);
  std::vector<float> bias;
  if (bias_.valid()) bias.assign(step.value(bias_), step.value(bias_) + out_);
  if (norm_ != nullptr && graph.fold_norms()) {
    std::vector<float> scale(static_cast<size_t>(out_)), shift(scale.size());
    norm_->Fold(step, scale.data(), shift.data());
    for (size_t i = 0; i < weight.size(); ++i) weight[i] *= scale[i / static_cast<size_t>(in_)];
    for (size_t i = 0; i < bias.size(); ++i) shift[i] += scale[i] * bias[i];
    bias = std::move(shift);
  }
  const bool has_bias = !bias.empty();
  const Graph::Value w = graph.AddConstant("weight", {out_, in_}, std::move(weight));
  // Gemm takes matrices only.
  const Graph::Value rows = graph.Reshape(x, {x.shape.rows(), in_});
  const Shape out{x.shape.rows(), out_};
  const Graph::Attributes transposed = {{"transB", int64_t{1}}};
  Graph::Value y;
  if (has_bias) {
    y = graph.Add("Gemm", {rows, w, graph.AddConstant("bias", {out_}, std::move(bias))}, out,
                  transposed);
  } else {
    y = graph.Add("Gemm", {rows, w}, out, transposed);
  }
  return graph.Reshape(y, x.shape.WithChannels(out_));
}

}  // namespace lockstep
