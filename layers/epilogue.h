// What products and convolutions have in common beside the sums themselves: they finish each
// element by an epilogue, whatever the rules fused into it.
//   forward   z  = scale v + shift + add,  y = act(z)    v the sums, shift the bias where none was
//             fused; ReLU in the epilogue itself, others (curves) while a block is in cache
//   backward  dz = dy act'(z), from y for ReLU; where whoever finishes dy can, in its place
//             d_add = dz,  d_bias = sum dz over the batch in shards
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

namespace lockstep::inline v0_1 {

// One for each operation whose inputs are x, weight, bias or nothing, and then what was fused. Its
// gradient with respect to v is called dz.
class LayerEpilogue {
 public:
  static constexpr int kBias = 2;

  // Completes `declared`, whose first output is y, for what has been fused.
  static void Declare(const Fused& fused, const PlanOptions& options, Declaration& declared) {
    const Shape y = declared.outputs[0].shape;
    declared.reads_y = {fused.activation != kernels::Activation::kNone};
    if (fused.before_curve >= 0) {
      declared.outputs.push_back(declared.outputs[0]);
      declared.reads_y = {false, true};
      declared.takes_finished_dy = true;
    }
    declared.bias = kBias;
    if (fused.add >= 0) {
      const auto add = static_cast<size_t>(fused.add);
      declared.accumulates_dx.resize(add + 1, false);
      declared.accumulates_dx[add] = true;
      declared.passes_dy.resize(add + 1, false);
      declared.passes_dy[add] = fused.activation == kernels::Activation::kNone && !fused.curve;
    }
    if (fused.moments_of_y >= 0) {
      const int64_t blocks = RowGrid::MaxBlocks(y.batch(), y.rows_per_sample(), options.shards);
      declared.outputs.push_back(
          {Shape{ops::MomentPartialsSize(blocks, y.channels())}, DType::kF64});
    }
  }

  void Book(const Shape& x, const Shape& y, Booking& booking) {
    fused_ = booking.fused();
    channels_ = y.channels();
    rows_ = booking.CutRows(y);
    x_rows_ = booking.CutRows(x);
    if (!booking.options().training) return;
    shard_rows_.resize(static_cast<size_t>(booking.options().shards) + 1);
    if (MakesDz()) dz_ = booking.Book(y.size(), Life::kCall);
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

  // Where the product goes: to y, unless Backward needs what y is a curve of.
  float* Product(const Operands& o) const { return o.y_f32(std::max(0, fused_.before_curve)); }

  // Calls run(args) once, with args (ProductArgs, ConvArgs) told what to do with each finished
  // block: to make y a curve of it, or to take the moments of y of each cell of rows.
  template <class Args, class Run>
  void Finishing(const Step& step, const Operands& o, Args args, Run&& run) const {
    const RowGrid& grid = rows(step);
    if (fused_.curve) {
      const float* z = Product(o);
      float* y = o.y_f32();
      const auto bend = [&](int64_t row_begin, int64_t row_end, int64_t col_begin,
                            int64_t col_end) {
        for (int64_t row = row_begin; row < row_end; ++row) {
          const int64_t at = row * channels_ + col_begin;
          kernels::ActivationForward(*fused_.curve, z + at, y + at, col_end - col_begin);
        }
      };
      args.finished.emplace(bend);
      return run(args);
    }
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

  // What is called for each finished cell of dx(0), and `args` of what computes it, told to call
  // that, where someone sums dx(0).
  auto TellerOfDx(const Step& step, const Operands& o) const {
    return [this, &step, &o](int64_t row_begin, int64_t, int64_t col_begin, int64_t col_end) {
      o.FinishedDx(step, step.rows(x_rows_).BlockAt(row_begin), {col_begin, col_end});
    };
  }
  template <class Args, class Teller>
  void TellOfDx(const Step& step, const Teller& teller, Args& args) const {
    const RowGrid& grid = step.rows(x_rows_);
    if (!fused_.finishes_dx || grid.blocks() == 0) return;
    args.row_grid = grid.boundaries();
    args.finished.emplace(teller);
  }

  // dz, which is dy itself where no activation was fused, or where it lies there already.
  const float* MaskedGradient(const Step& step, const Operands& o) const {
    if (!MakesDz()) return o.dy_f32();
    const kernels::ActivationSpec spec =
        fused_.curve.value_or(kernels::ActivationSpec{.kind = kernels::ActivationKind::kRelu});
    const float* saved = fused_.curve ? Product(o) : o.y_f32();
    const float* dy = o.dy_f32();
    float* masked = step[dz_];
    ops::ForStretches(
        step.ctx, o.dy().size(), fused_.curve ? 4 : 1, [&](int64_t begin, int64_t end) {
          kernels::ActivationBackward(spec, saved + begin, dy + begin, masked + begin, end - begin);
        });
    return masked;
  }

  // What FinishedDy does where a curve was fused: dz in the place of dy.
  void BendFinished(const Step& step, const Operands& o, int64_t block, IndexRange columns) const {
    const IndexRange of_block = rows(step).BlockRows(block);
    const float* z = Product(o);
    auto* dy = const_cast<float*>(o.dy_f32());  // which is this operation's own by now
    for (int64_t row = of_block.begin; row < of_block.end; ++row) {
      const int64_t at = row * channels_ + columns.begin;
      kernels::ActivationBackward(*fused_.curve, z + at, dy + at, dy + at, columns.size());
    }
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
  bool MakesDz() const {
    return fused_.activation != kernels::Activation::kNone || (fused_.curve && !fused_.finished_dy);
  }

  Fused fused_;
  int64_t channels_ = 0;
  Rows rows_, x_rows_;
  Buffer<float> dz_;                 // dy behind a fused activation
  std::vector<int64_t> shard_rows_;  // boundaries of the batch's shards
};

}  // namespace lockstep

#endif  // LOCKSTEP_LAYERS_EPILOGUE_H_
