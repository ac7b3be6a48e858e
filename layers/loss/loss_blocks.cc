#include "layers/loss/loss_blocks.h"

#include <algorithm>
#include <cstddef>

#include "engine/base/integers.h"

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
  BookSums(x[0].shape, x[1].shape, booking);
}

void BlockwiseLoss::BookSums(const Shape& y, const Shape& target, Booking& booking) {
  channels_ = y.rank() == 1 ? 1 : y.channels();
  rows_per_sample_ = y.sample_size() / std::max<int64_t>(1, channels_);
  const int64_t rows = y.batch() * rows_per_sample_;
  targets_per_row_ = rows == 0 ? 0 : target.size() / rows;
  rows_ = booking.CutRows(rows_per_sample_);
  samples_ = booking.CutRows(1);
  sums_ =
      booking.Book<double>(RowGrid::MaxBlocks(y.batch(), 1, booking.options().shards), Life::kCall);
  if (rows_per_sample_ > 1)
    parts_ = booking.Book<double>(y.batch() * CeilDiv(rows_per_sample_, kPartRows), Life::kCall);
}

double BlockwiseLoss::SumOverBlocks(const Step& step, int64_t work,
                                    FunctionRef<double(IndexRange)> body) const {
  const RowGrid& samples = step.rows(samples_);
  double* sums = step[sums_];
  if (samples.blocks() == 0 || rows_per_sample_ == 0) return 0.0;
  if (rows_per_sample_ == 1) {
    step.ctx.For(samples.blocks(), work,
                 [&](int64_t block) { sums[block] = body(samples.BlockRows(block)); });
  } else {
    double* parts = step[parts_];
    const int64_t of_sample = CeilDiv(rows_per_sample_, kPartRows);
    const int64_t count = samples.samples() * of_sample;
    constexpr int64_t kWorkOfTask = 8192;
    const int64_t tasks = std::clamp<int64_t>(work / kWorkOfTask, 1, count);
    step.ctx.For(tasks, work, [&](int64_t task) {
      for (int64_t i = count * task / tasks; i < count * (task + 1) / tasks; ++i) {
        const int64_t first = i / of_sample * rows_per_sample_, begin = i % of_sample * kPartRows;
        parts[i] = body({first + begin, first + std::min(begin + kPartRows, rows_per_sample_)});
      }
    });
    for (int64_t block = 0; block < samples.blocks(); ++block) {
      const IndexRange of_block = samples.BlockRows(block);
      sums[block] = 0.0;
      for (int64_t s = of_block.begin; s < of_block.end; ++s) {
        double sum = 0.0;
        for (int64_t i = s * of_sample; i < (s + 1) * of_sample; ++i) sum += parts[i];
        sums[block] += sum;
      }
    }
  }
  const auto add = [&](int64_t into, int64_t, int64_t from, int64_t) { sums[into] += sums[from]; };
  for (int64_t shard = 0; shard < samples.shards(); ++shard) MergeBlocks(samples, shard, add);
  MergeShards(samples, add);
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
