#include "layers/loss_blocks.h"

namespace lockstep {

void LossBlocks::Bind(const Shape& out, Planner& plan) {
  grid_ = std::make_unique<RowGrid>(out.batch(), out.rows_per_sample(), plan.shards());
  sums_ = plan.Book<double>(RowGrid::MaxBlocks(out.batch(), out.rows_per_sample(), plan.shards()),
                            Life::kCall);
}

double LossBlocks::Sum(const Step& step, int64_t samples, int64_t work,
                       FunctionRef<double(IndexRange)> body) {
  double* sums = step[sums_];
  grid_->SetSamples(samples);
  if (grid_->blocks() == 0) return 0.0;
  step.ctx.For(grid_->blocks(), work,
               [&](int64_t block) { sums[block] = body(grid_->BlockRows(block)); });
  const auto add = [&](int64_t into, int64_t, int64_t from, int64_t) { sums[into] += sums[from]; };
  for (int64_t shard = 0; shard < grid_->shards(); ++shard) MergeBlocks(*grid_, shard, add);
  MergeShards(*grid_, add);
  return sums[0];
}

void LossBlocks::ForEach(const Step& step, int64_t samples, int64_t work,
                         FunctionRef<void(IndexRange)> body) {
  grid_->SetSamples(samples);
  step.ctx.For(grid_->blocks(), work, [&](int64_t block) { body(grid_->BlockRows(block)); });
}

}  // namespace lockstep
