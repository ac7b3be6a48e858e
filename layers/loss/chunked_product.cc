#include "layers/loss/chunked_product.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/ops/elementwise.h"

namespace lockstep::inline v0_1 {

using kernels::RowMajor;

Shape ChunkedProduct::ProductShape(std::span<const TensorSpec> x, const Fused& fused) {
  return x[0].shape.WithChannels(x[static_cast<size_t>(fused.product)].shape[0]);
}

void ChunkedProduct::Declare(std::span<const TensorSpec> x, const Fused& fused,
                             Declaration& declared) {
  const auto weight = static_cast<size_t>(fused.product);
  const auto set = [&](std::vector<bool>& flags, size_t i) {
    flags.resize(std::max(flags.size(), i + 1), false);
    flags[i] = true;
  };
  for (const size_t i : {size_t{0}, weight, weight + 1}) {
    set(declared.reads_x, i);
    set(declared.accumulates_dx, i);
    if (i > 0) set(declared.reports_dx, i);
  }
  declared.flops += 2.0 * static_cast<double>(ProductShape(x, fused).size()) *
                    static_cast<double>(x[0].shape.channels());
}

void ChunkedProduct::Book(std::span<const TensorSpec> x, Booking& booking) {
  const PlanOptions& options = booking.options();
  weight_ = booking.fused().product;
  in_ = x[0].shape.channels();
  out_ = ProductShape(x, booking.fused()).channels();
  learns_ = booking.wants_dx(0) || booking.wants_dx(weight_) || booking.wants_dx(weight_ + 1);
  const int64_t rows_per_sample = x[0].shape.rows_per_sample();
  rows_ = booking.CutRows(rows_per_sample);
  shard_rows_.resize(static_cast<size_t>(options.shards) + 1);
  chunks_ = RowChunks(x[0].shape.batch(), rows_per_sample, options.shards, kChunkFloats / out_);
  const int64_t rows = chunks_.largest();
  y_ = booking.Book(rows * out_, Life::kCall);
  scratch_floats_ = ops::ProductScratch(options.threads, rows, out_, in_);
  if (learns_) {
    scratch_floats_ =
        std::max({scratch_floats_, ops::ProductScratch(options.threads, rows, in_, out_),
                  ops::ProductScratch(options.threads, out_, in_, rows, chunks_.most_segments()),
                  ops::ProductScratch(options.threads, 1, out_, rows, chunks_.most_segments())});
    const int64_t slots = rows < x[0].shape.rows() ? chunks_.depth() : 0;
    if (booking.wants_dx(weight_)) slots_[0] = booking.Book(slots * out_ * in_, Life::kCall);
    if (booking.wants_dx(weight_ + 1)) slots_[1] = booking.Book(slots * out_, Life::kCall);
  }
  scratch_ = booking.Book(scratch_floats_, Life::kCall);
}

void ChunkedProduct::Run(const Step& step, const Operands& o, bool backward,
                         FunctionRef<void(IndexRange, float*)> loss) {
  const RowGrid& grid = step.rows(rows_);
  for (int64_t s = 0; s < grid.shards(); ++s)
    shard_rows_[static_cast<size_t>(s) + 1] = grid.ShardRows(s).end;
  chunks_.Set({shard_rows_.data(), static_cast<size_t>(grid.shards()) + 1});
  float* y = step[y_];
  while (!chunks_.done()) {
    const RowChunks::Chunk chunk = chunks_.Next();
    const ops::ProductArgs args{.m = chunk.rows.size(),
                                .n = out_,
                                .k = in_,
                                .a = RowMajor(o.x_f32(0) + chunk.rows.begin * in_, in_),
                                .b = RowMajor(o.x_f32(weight_), in_).Transposed(),
                                .c = y,
                                .c_stride = out_,
                                .epilogue = {.bias = o.x_f32(weight_ + 1)}};
    ops::Product(step.ctx, args, {step[scratch_], static_cast<size_t>(scratch_floats_)});
    loss(chunk.rows, y);
    if (backward) Gradients(step, o, chunk, chunks_.done());
  }
}

ChunkedProduct::Stack ChunkedProduct::StackOf(const Step& step, const Operands& o, int i) const {
  const bool several = step.rows(rows_).rows() > chunks_.largest();
  const Buffer<float> slots = slots_[i - weight_];
  return {.gradient = o.dx_f32(i),
          .slots = slots.valid() ? step[slots] : nullptr,
          .size = i == weight_ ? out_ * in_ : out_,
          .first_in_slot = several && o.accumulate(i)};
}

void ChunkedProduct::Gradients(const Step& step, const Operands& o, const RowChunks::Chunk& chunk,
                               bool last) {
  static constexpr float kOne = 1.0f;
  const float* dy = step[y_];
  const int64_t rows = chunk.rows.size();
  std::array<ops::ProductArgs, 3> products;
  size_t count = 0;
  // Of the weight and of the bias, which is a product with a row of ones.
  for (const int i : {weight_, weight_ + 1}) {
    if (o.dx_f32(i) == nullptr) continue;
    const Stack stack = StackOf(step, o, i);
    const bool only = chunk.waiting == 0 && last;
    ops::ProductArgs& product = products[count++];
    product = {.k = rows,
               .c = stack.at(std::max(0, chunk.waiting - (chunk.merges > 0))),
               .accumulate = chunk.merges > 0 || (only && o.accumulate(i)),
               .segments = chunk.segments,
               .not_finite = step.gradient_not_finite};
    if (i == weight_) {
      product.m = out_;
      product.n = product.c_stride = in_;
      product.a = RowMajor(dy, out_).Transposed();
      product.b = RowMajor(o.x_f32(0) + chunk.rows.begin * in_, in_);
    } else {
      product.m = 1;
      product.n = product.c_stride = out_;
      product.a = {.data = &kOne, .row_stride = 0, .col_stride = 0};
      product.b = RowMajor(dy, out_);
    }
  }
  if (float* dx = o.dx_f32(0); dx != nullptr) {
    products[count++] = {.m = rows,
                         .n = in_,
                         .k = out_,
                         .a = RowMajor(dy, out_),
                         .b = RowMajor(o.x_f32(weight_), in_),
                         .c = dx + chunk.rows.begin * in_,
                         .c_stride = in_,
                         .accumulate = o.accumulate(0)};
  }
  ops::Products(step.ctx, {products.data(), count},
                {step[scratch_], static_cast<size_t>(scratch_floats_)});
  for (const int i : {weight_, weight_ + 1}) {
    if (o.dx_f32(i) != nullptr) MergeOlder(step, chunk, StackOf(step, o, i), last);
  }
}

// The sum of this chunk is part of the youngest that waits: that goes on to older ones, and at last
// to the gradient that was there before.
void ChunkedProduct::MergeOlder(const Step& step, const RowChunks::Chunk& chunk, const Stack& stack,
                                bool last) const {
  const auto add = [&](const float* from, float* to) {
    ops::ForStretches(step.ctx, stack.size, 2, [&](int64_t begin, int64_t end) {
      kernels::AddTo(from + begin, to + begin, end - begin);
      if (step.gradient_not_finite == nullptr || !last) return;
      if (!std::isfinite(kernels::SumOfSquares(to + begin, end - begin)))
        step.gradient_not_finite->store(true, std::memory_order_relaxed);
    });
  };
  int top = chunk.waiting - 1;  // where the chunk's own sum was added
  for (int merge = 1; merge < chunk.merges; ++merge, --top) add(stack.at(top), stack.at(top - 1));
  if (last && stack.first_in_slot) add(stack.at(0), stack.gradient);
}

}  // namespace lockstep
