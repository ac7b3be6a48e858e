#include "layers/loss/loss_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "engine/base/integers.h"

namespace lockstep::inline v0_1 {
namespace {

// A third input that is not the weight of a product.
bool HasWeights(std::span<const TensorSpec> x, const Fused& fused) {
  return x.size() > 2 && fused.product != 2;
}

}  // namespace

Result<Declaration> BlockwiseLoss::Declare(std::span<const TensorSpec> x, const Fused& fused,
                                           const PlanOptions&) const {
  if (x[0].dtype != DType::kF32)
    return Status::Invalid(std::string("takes f32, not ") + NameOf(x[0].dtype));
  Declaration declared{.outputs = {{Shape{1}, DType::kF64}},
                       .reads_x = {true, true},
                       .flops = static_cast<double>(work_ * x[0].shape.size())};
  if (HasWeights(x, fused)) declared.reads_x.push_back(true);
  return declared;
}

void BlockwiseLoss::Book(std::span<const TensorSpec> x, Booking& booking) {
  BookSums(x[0].shape, x, booking);
}

void BlockwiseLoss::BookSums(const Shape& y, std::span<const TensorSpec> x, Booking& booking) {
  channels_ = y.rank() == 1 ? 1 : y.channels();
  rows_per_sample_ = y.sample_size() / std::max<int64_t>(1, channels_);
  const int64_t rows = y.batch() * rows_per_sample_;
  targets_per_row_ = rows == 0 ? 0 : x[1].shape.size() / rows;
  weighted_ = HasWeights(x, booking.fused());
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

BlockwiseLoss::Block BlockwiseLoss::BlockOf(const Operands& o, IndexRange rows, double scale,
                                            float* dy) const {
  const ConstTensor target = o.x(1);
  const auto* targets = static_cast<const std::byte*>(target.data());
  return {.y = o.x_f32(0) + rows.begin * channels_,
          .target =
              targets + static_cast<size_t>(rows.begin * targets_per_row_) * SizeOf(target.dtype()),
          .rows = rows.size(),
          .channels = channels_,
          .scale = static_cast<float>(scale),
          .dy = dy == nullptr ? nullptr : dy + rows.begin * channels_};
}

float BlockwiseLoss::SampleWeight(const Operands& o, int64_t row) const {
  return weighted_ ? o.x_f32(2)[row / rows_per_sample_] : 1.0f;
}

// The sum of body over the rows of one sample after another.
double BlockwiseLoss::WeightedSum(const Operands& o, IndexRange rows,
                                  FunctionRef<double(IndexRange, double)> body) const {
  double sum = 0.0;
  for (int64_t begin = rows.begin; begin < rows.end;) {
    const int64_t end = std::min((begin / rows_per_sample_ + 1) * rows_per_sample_, rows.end);
    sum += body({begin, end}, static_cast<double>(SampleWeight(o, begin)));
    begin = end;
  }
  return sum;
}

double BlockwiseLoss::RunWeighted(const Step& step, const Operands& o, IndexRange rows,
                                  double scale, float* dy) const {
  if (!weighted_) return Run(step, rows.begin, BlockOf(o, rows, scale, dy));
  return WeightedSum(o, rows, [&](IndexRange of_sample, double weight) {
    return weight * Run(step, of_sample.begin, BlockOf(o, of_sample, scale * weight, dy));
  });
}

void BlockwiseLoss::Forward(const Step& step, const Operands& o) {
  *o.y().as<double>() = SumOverBlocks(step, work_ * o.x(0).size(), [&](IndexRange rows) {
    return RunWeighted(step, o, rows, 0.0, nullptr);
  });
}

void BlockwiseLoss::Backward(const Step& step, const Operands& o) {
  const RowGrid& rows = step.rows(rows_);
  const double scale = *o.dy().as<double>();
  float* dy = o.dx_f32(0);
  step.ctx.For(rows.blocks(), work_ * o.x(0).size(),
               [&](int64_t i) { RunWeighted(step, o, rows.BlockRows(i), scale, dy); });
}

Status BlockwiseLoss::Check(const Step&, const Operands& o) const {
  if (!weighted_) return Status::Ok();
  const std::span<const float> weights = o.x(2).span<float>();
  const auto bad = std::find_if_not(weights.begin(), weights.end(),
                                    [](float w) { return w >= 0.0f && std::isfinite(w); });
  if (bad == weights.end()) return Status::Ok();
  return Status::Invalid("the weight of sample " + std::to_string(bad - weights.begin()) +
                         " of the batch is " + std::to_string(*bad) +
                         ": weights are finite numbers from 0");
}

double BlockwiseLoss::WeightOf(const Operands&, IndexRange rows) const {
  return static_cast<double>(rows.size() * targets_per_row_);
}

double BlockwiseLoss::Weight(const Step& step, const Operands& o) const {
  return SumOverBlocks(step, o.x(1).size(), [&](IndexRange rows) {
    if (!weighted_) return WeightOf(o, rows);
    return WeightedSum(o, rows, [&](IndexRange of_sample, double weight) {
      return weight * WeightOf(o, of_sample);
    });
  });
}

}  // namespace lockstep
