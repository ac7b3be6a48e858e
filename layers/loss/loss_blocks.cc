#include "layers/loss/loss_blocks.h"

#include <algorithm>
#include <cstddef>

namespace lockstep {

Result<Declaration> BlockwiseLoss::Declare(std::span<const TensorSpec> x, const Fused&,
                                           const PlanOptions&) const {
  if (x[0].dtype != DType::kF32)
    return Status::Invalid(std::string("takes f32, not ") + NameOf(x[0].dtype));
  return Declaration{.outputs = {{Shape{1}, DType::kF64}},
                     .reads_x = {true, true},
                     .flops = static_cast<double>(work_ * x[0].shape.size())};
}

void BlockwiseLoss::Book(std::span<const TensorSpec> x, Booking& booking) {
  const Shape& y = x[0].shape;
  channels_ = y.rank() == 1 ? 1 : y.channels();
  const int64_t rows_per_sample = y.sample_size() / std::max<int64_t>(1, channels_);
  const int64_t rows = y.batch() * rows_per_sample;
  targets_per_row_ = rows == 0 ? 0 : x[1].shape.size() / rows;
  rows_ = booking.CutRows(rows_per_sample);
  sums_ = booking.Book<double>(
      RowGrid::MaxBlocks(y.batch(), rows_per_sample, booking.options().shards), Life::kCall);
}

double BlockwiseLoss::SumOverBlocks(const Step& step, int64_t work,
                                    FunctionRef<double(IndexRange)> body) const {
  const RowGrid& rows = step.rows(rows_);
  double* sums = step[sums_];
  if (rows.blocks() == 0) return 0.0;
  step.ctx.For(rows.blocks(), work,
               [&](int64_t block) { sums[block] = body(rows.BlockRows(block)); });
  const auto add = [&](int64_t into, int64_t, int64_t from, int64_t) { sums[into] += sums[from]; };
  for (int64_t shard = 0; shard < rows.shards(); ++shard) MergeBlocks(rows, shard, add);
  MergeShards(rows, add);
  return sums[0];
}

BlockwiseLoss::Block BlockwiseLoss::BlockOf(const Operands& o, IndexRange rows) const {
  const ConstTensor target = o.x(1);
  const auto* targets = static_cast<const std::byte*>(target.data());
  return {.y = o.x_f32(0) + rows.begin * channels_,
          .target =
              targets + static_cast<size_t>(rows.begin * targets_per_row_) * SizeOf(target.dtype()),
          .rows = rows.size(),
          .channels = channels_,
          .scale = 0.0f,
          .dy = nullptr};
}

void BlockwiseLoss::Forward(const Step& step, const Operands& o) {
  *o.y().as<double>() = SumOverBlocks(step, work_ * o.x(0).size(), [&](IndexRange rows) {
    return Run(step, rows.begin, BlockOf(o, rows));
  });
}

void BlockwiseLoss::Backward(const Step& step, const Operands& o) {
  const RowGrid& rows = step.rows(rows_);
  const auto scale = static_cast<float>(*o.dy().as<double>());
  float* dy = o.dx_f32(0);
  step.ctx.For(rows.blocks(), work_ * o.x(0).size(), [&](int64_t i) {
    const IndexRange range = rows.BlockRows(i);
    Block block = BlockOf(o, range);
    block.scale = scale;
    block.dy = dy + range.begin * channels_;
    Run(step, range.begin, block);
  });
}

double BlockwiseLoss::Weight(const Step&, const Operands& o) const {
  return static_cast<double>(o.x(1).size());
}

}  // namespace lockstep
