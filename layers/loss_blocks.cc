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
  const auto add = [&](int64_t into, int64_t from) { sums[into] += sums[from]; };
  int64_t filled = 0;  // shards that hold rows, packed to the front
  for (int64_t shard = 0; shard < grid_->shards(); ++shard) {
    const IndexRange blocks = grid_->ShardBlocks(shard);
    MergeTree(blocks.begin, blocks.end, add);
    sums[filled] = blocks.size() > 0 ? sums[blocks.begin] : 0.0;
    ++filled;
  }
  MergeTree(0, filled, add);
  return sums[0];
}

void LossBlocks::ForEach(const Step& step, int64_t samples, int64_t work,
                         FunctionRef<void(IndexRange)> body) {
  grid_->SetSamples(samples);
  step.ctx.For(grid_->blocks(), work, [&](int64_t block) { body(grid_->BlockRows(block)); });
}

}  // namespace lockstep
