// What products and convolutions have in common beside the sums themselves: they finish each
// element by an epilogue, whatever the rules fused into it.
//   forward   y  = act(scale v + shift + add)      v the sums, shift the bias where none was fused
//   backward  dz = dy where act let through,  d_add = dz,  d_bias = sum dz over the batch in shards
#ifndef LOCKSTEP_LAYERS_EPILOGUE_H_
#define LOCKSTEP_LAYERS_EPILOGUE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/kernels/elementwise/activation.h"
#include "engine/kernels/epilogue.h"
#include "engine/ops/batch_moments.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/product.h"
#include "engine/plan/operation.h"

namespace lockstep {

// One for each operation whose inputs are x, weight, bias or nothing, and then what was fused. Its
// gradient with respect to v is called dz.
class LayerEpilogue {
 public:
  static constexpr int kBias = 2;

  // Completes `declared`, whose first output is y, for what has been fused.
  static void Declare(const Fused& fused, const PlanOptions& options, Declaration& declared) {
    const Shape y = declared.outputs[0].shape;
    declared.reads_y = {fused.activation != kernels::Activation::kNone};
    declared.bias = kBias;
    if (fused.add >= 0) {
      const auto add = static_cast<size_t>(fused.add);
      declared.accumulates_dx.resize(add + 1, false);
      declared.accumulates_dx[add] = true;
      declared.passes_dy.resize(add + 1, false);
      declared.passes_dy[add] = fused.activation == kernels::Activation::kNone;
    }
    if (fused.moments_of_y >= 0) {
      const int64_t blocks = RowGrid::MaxBlocks(y.batch(), y.rows_per_sample(), options.shards);
      declared.outputs.push_back(
          {Shape{ops::MomentPartialsSize(blocks, y.channels())}, DType::kF64});
    }
  }

  void Book(const Shape& y, Booking& booking) {
    fused_ = booking.fused();
    channels_ = y.channels();
    rows_ = booking.CutRows(y);
    if (!booking.options().training) return;
    shard_rows_.resize(static_cast<size_t>(booking.options().shards) + 1);
    if (fused_.activation != kernels::Activation::kNone) dz_ = booking.Book(y.size(), Life::kCall);
  }

  const Fused& fused() const { return fused_; }
  // How the rows of y are cut.
  const RowGrid& rows(const Step& step) const { return step.rows(rows_); }

  kernels::Epilogue Of(const Operands& o) const {
    const auto part = [&](int i) { return i < 0 ? nullptr : o.x_f32(i); };
    return {.scale = part(fused_.scale),
            .bias = fused_.shift >= 0 ? part(fused_.shift) : o.x_f32(kBias),
            .add = part(fused_.add),
            .add_stride = channels_,
            .activation = fused_.activation};
  }

  // Calls run(args) once, with args (ProductArgs, ConvArgs) told to take the moments of y, if it is
  // to, of each finished cell of rows.
  template <class Args, class Run>
  void TakingMoments(const Step& step, const Operands& o, Args args, Run&& run) const {
    const RowGrid& grid = rows(step);
    if (fused_.moments_of_y < 0 || grid.blocks() == 0) return run(args);
    double* moments = o.y(fused_.moments_of_y).as<double>();
    const float* y = o.y_f32();
    const auto take = [&](int64_t row_begin, int64_t, int64_t col_begin, int64_t col_end) {
      ops::BlockMoments(y, channels_, channels_, grid, grid.BlockAt(row_begin),
                        {col_begin, col_end}, moments);
    };
    args.row_grid = grid.boundaries();
    args.finished.emplace(take);
    run(args);
  }

  // dz, which is dy itself where no activation was fused.
  const float* MaskedGradient(const Step& step, const Operands& o) const {
    if (fused_.activation == kernels::Activation::kNone) return o.dy_f32();
    const float *y = o.y_f32(), *dy = o.dy_f32();
    float* masked = step[dz_];
    ops::ForStretches(step.ctx, o.dy().size(), 1, [&](int64_t begin, int64_t end) {
      kernels::ActivationBackward({.kind = kernels::ActivationKind::kRelu}, y + begin, dy + begin,
                                  masked + begin, end - begin);
    });
    return masked;
  }

  // d_add, if something was added and its gradient is wanted.
  void PassToAdd(const Step& step, const Operands& o, const float* dz) const {
    if (fused_.add < 0) return;
    float* d_add = o.dx_f32(fused_.add);
    const bool accumulate = o.accumulate(fused_.add);
    if (d_add == nullptr || (d_add == dz && !accumulate)) return;
    ops::CopyOrAdd(step.ctx, dz, o.dy().size(), accumulate, d_add);
  }

  // Boundaries of the batch's shards, in units of `rows_per_unit` rows of y: 1, or a sample's.
  // Until the next call.
  std::span<const int64_t> Shards(const Step& step, int64_t rows_per_unit) {
    const RowGrid& grid = rows(step);
    for (int64_t s = 0; s < grid.shards(); ++s)
      shard_rows_[static_cast<size_t>(s) + 1] = grid.ShardRows(s).end / rows_per_unit;
    return {shard_rows_.data(), static_cast<size_t>(grid.shards()) + 1};
  }

  // d_bias as a product, of a row of ones.
  ops::ProductArgs BiasGradient(const Step& step, const Operands& o, const float* dz,
                                std::span<const int64_t> shard_rows) const {
    static constexpr float kOne = 1.0f;
    return {.m = 1,
            .n = channels_,
            .k = o.dy().shape().rows(),
            .a = {.data = &kOne, .row_stride = 0, .col_stride = 0},
            .b = kernels::RowMajor(dz, channels_),
            .c = o.dx_f32(kBias),
            .c_stride = channels_,
            .accumulate = o.accumulate(kBias),
            .segments = shard_rows,
            .not_finite = step.gradient_not_finite};
  }

 private:
  Fused fused_;
  int64_t channels_ = 0;
  Rows rows_;
  Buffer<float> dz_;                 // dy behind a fused activation
  std::vector<int64_t> shard_rows_;  // boundaries of the batch's shards
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_EPILOGUE_H_
