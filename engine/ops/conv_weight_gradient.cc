#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/conv/weight_gradient.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/ops/conv.h"
#include "engine/ops/conv_depthwise.h"
#include "engine/ops/winograd.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::PixelChains;

kernels::WeightGradientShape GroupOf(const ConvShape& s) {
  return {.in_h = s.in_h,
          .in_w = s.in_w,
          .in_c = s.group_in(),
          .x_pixel = s.in_c,
          .out_h = s.out_h,
          .out_w = s.out_w,
          .out_c = s.group_out(),
          .dy_pixel = s.out_c,
          .kernel_h = s.kernel_h,
          .kernel_w = s.kernel_w,
          .stride_h = s.stride_h,
          .stride_w = s.stride_w,
          .pad_top = s.pad_top,
          .pad_left = s.pad_left,
          .dilation_h = s.dilation_h,
          .dilation_w = s.dilation_w};
}

// How a weight gradient is spread: blocks of it, times pieces of the batch that are subtrees of its
// sum and are merged at the end. Neither reaches a bit of the result.
struct Tasks {
  int64_t groups = 1, in_blocks = 1, out_blocks = 1, kernel_blocks = 1;
  int64_t wanted = 1;  // pieces

  int64_t blocks() const { return groups * in_blocks * out_blocks * kernel_blocks; }
  int64_t MostPieces() const { return std::max<int64_t>(1, 2 * wanted - 1); }
};

// A block's share of the operands must leave room for several chains in the L2 cache.
constexpr int64_t kBlockChannels = 64, kBlockChannelsOfOneTap = 256;
// Pieces are a power of two of chains, and the last one may be short: many make the threads finish
// together. But each costs a copy of dw, and a task at least this many multiply-adds.
constexpr int64_t kTasksPerThread = 12;
constexpr int64_t kLeastTask = int64_t{1} << 18;
constexpr int64_t kMostCopies = int64_t{1} << 22;  // floats

Tasks TasksOf(const ConvShape& shape, int64_t threads, int64_t batch) {
  const kernels::WeightGradientShape group = GroupOf(shape);
  const int64_t taps = shape.kernel_h * shape.kernel_w;
  const int64_t most = taps > 3 ? kBlockChannels : kBlockChannelsOfOneTap;
  Tasks tasks;
  tasks.groups = shape.groups;
  tasks.in_blocks = group.joins_taps() ? 1 : CeilDiv(group.in_c, most);
  tasks.out_blocks = CeilDiv(group.out_c, most);
  if (threads == 1) return tasks;
  const int64_t wanted = kTasksPerThread * threads;
  if (tasks.blocks() < wanted) tasks.kernel_blocks = shape.kernel_h;
  if (tasks.blocks() < wanted) {
    const int64_t copy = shape.groups * group.rows() * group.sums_width();
    const int64_t madds = batch * shape.out_h * shape.out_w * shape.weights();
    tasks.wanted = std::min({CeilDiv(wanted, tasks.blocks()),
                             std::max<int64_t>(1, kMostCopies / std::max<int64_t>(1, copy)),
                             std::max<int64_t>(1, madds / (kLeastTask * tasks.blocks()))});
  }
  return tasks;
}

// Part of the batch: as in kernels::WeightGradientBlock.
struct Piece {
  int64_t segment, segment_end, chain, chain_end;
};

// The pieces: whole segments, `segments_each` (a power of two) to a piece; or where that is 1,
// `chains_each` chains of a segment, likewise.
class Pieces {
 public:
  Pieces(const kernels::PixelLines& lines, std::span<const int64_t> bounds, int64_t wanted)
      : lines_(lines), bounds_(bounds), segments_(static_cast<int64_t>(bounds.size()) - 1) {
    segments_each_ = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(segments_)));
    while (segments_each_ > 1 && Count() < wanted) segments_each_ /= 2;
    for (int64_t s = 0; s < segments_; ++s) {
      chains_each_ = std::max(chains_each_, ChainsIn(s).count());
    }
    most_chains_ = chains_each_;
    chains_each_ = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(chains_each_)));
    while (chains_each_ > 1 && Count() < wanted) chains_each_ /= 2;
  }

  int64_t Count() const {
    if (segments_each_ > 1 || chains_each_ == 0) return CeilDiv(segments_, segments_each_);
    int64_t count = 0;
    for (int64_t s = 0; s < segments_; ++s) count += InSegment(s);
    return count;
  }
  Piece At(int64_t i) const {
    if (segments_each_ > 1) {
      const int64_t end = std::min(segments_, (i + 1) * segments_each_);
      const int64_t begin = i * segments_each_;
      return {begin, end, 0, ChainsIn(begin).count()};
    }
    int64_t s = 0;
    for (; i >= InSegment(s); ++s) i -= InSegment(s);
    return {s, s + 1, i * chains_each_, std::min(ChainsIn(s).count(), (i + 1) * chains_each_)};
  }
  // Merges the slots of all pieces into slot 0, by merge(into, from).
  template <class Merge>
  void MergeAll(Merge&& merge) const {
    if (segments_each_ > 1) return MergeTree(0, Count(), merge);
    // The slots of a segment become one, the first of them; then the segments.
    for (int64_t s = 0, first = 0; s < segments_; first += InSegment(s++)) {
      MergeTree(first, first + InSegment(s), merge);
    }
    const auto slot = [&](int64_t of) {
      int64_t first = 0;
      for (int64_t s = 0; s < of; ++s) first += InSegment(s);
      return first;
    };
    MergeTree(0, segments_, [&](int64_t into, int64_t from) { merge(slot(into), slot(from)); });
  }
  int64_t most_chains() const { return most_chains_; }

 private:
  PixelChains ChainsIn(int64_t s) const {
    const int64_t begin = bounds_[static_cast<size_t>(s)];
    return {lines_, begin, bounds_[static_cast<size_t>(s) + 1] - begin};
  }
  int64_t InSegment(int64_t s) const { return CeilDiv(ChainsIn(s).count(), chains_each_); }

  kernels::PixelLines lines_;
  std::span<const int64_t> bounds_;
  int64_t segments_;
  int64_t segments_each_ = 1, chains_each_ = 0, most_chains_ = 0;
};

int64_t BlockScratch(const ConvShape& shape, const Tasks& tasks, int64_t chains, int64_t segments) {
  const kernels::WeightGradientShape group = GroupOf(shape);
  return RoundUp(
      kernels::WeightGradientScratch(
          group, CeilDiv(shape.kernel_h, tasks.kernel_blocks), CeilDiv(group.in_c, tasks.in_blocks),
          RoundUp(CeilDiv(group.out_c, tasks.out_blocks), kernels::kWeightGradientOutputs), chains,
          segments),
      16);
}
int64_t CopyFloats(const ConvShape& shape) {
  const kernels::WeightGradientShape group = GroupOf(shape);
  return RoundUp(shape.groups * group.rows() * group.sums_width(), 16);
}

// Where every pixel is read as it is, one segment is a product of matrices, of the same order. With
// many weights and few pixels ops::Product is faster: it packs what it reads (Zen 4, 512 -> 2048 at
// 7x7, batch 16: 0.87 of the peak rate, not 0.73), with few weights slower (256 -> 64 at 56x56:
// 0.77, not 0.91).
bool IsProduct(const ConvShape& shape, int64_t threads) {
  constexpr int64_t kEnough = 128 * 128;  // to keep a thread busy with blocks of its own
  return shape.groups == 1 && GroupOf(shape).dense() && std::min(shape.in_c, shape.out_c) >= 128 &&
         shape.in_c * shape.out_c >= kEnough * threads;
}

}  // namespace

int64_t ConvWeightGradientScratch(int threads, const ConvShape& shape, int64_t batch,
                                  int64_t segments) {
  if (shape.depthwise()) return DepthwiseWeightGradientScratch(threads, shape, batch, segments);
  if (UsesWinograd(shape)) return WinogradWeightGradientScratch(threads, shape, batch, segments);
  segments = std::max<int64_t>(1, segments);
  int64_t floats = 0;
  if (IsProduct(shape, threads)) {
    const int64_t pixels = batch * shape.out_h * shape.out_w;
    floats = ProductScratch(threads, shape.out_c, shape.in_c, pixels);
  }
  // What is too small for several threads runs on one, which cuts it otherwise.
  for (const int64_t team : {int64_t{1}, int64_t{threads}}) {
    const Tasks tasks = TasksOf(shape, team, batch);
    const int64_t chains = PixelChains(GroupOf(shape).lines(), 0, batch).count();
    const int64_t block = BlockScratch(shape, tasks, chains, segments);
    floats = std::max(floats, tasks.MostPieces() * CopyFloats(shape) + team * block);
  }
  return floats;
}

void ConvWeightGradient(Context& ctx, const ConvShape& shape, const ConvWeightGradientArgs& args,
                        std::span<float> scratch) {
  if (shape.depthwise()) return DepthwiseWeightGradient(ctx, shape, args, scratch);
  if (UsesWinograd(shape)) return WinogradWeightGradient(ctx, shape, args, scratch);
  const kernels::WeightGradientShape group = GroupOf(shape);
  const int64_t work = args.batch * shape.out_h * shape.out_w * shape.weights() / 8;
  const int64_t threads = work < Context::kInlineWork ? 1 : ctx.threads();
  const Tasks tasks = TasksOf(shape, threads, args.batch);

  const int64_t whole[] = {0, args.batch};
  const std::span<const int64_t> segments =
      args.segments.size() > 2 ? args.segments : std::span<const int64_t>(whole);
  if (segments.size() == 2 && IsProduct(shape, ctx.threads())) {
    return Product(ctx,
                   {.m = shape.out_c,
                    .n = shape.in_c,
                    .k = args.batch * shape.out_h * shape.out_w,
                    .a = kernels::RowMajor(args.dy, shape.out_c).Transposed(),
                    .b = kernels::RowMajor(args.x, shape.in_c),
                    .c = args.dw,
                    .c_stride = shape.in_c,
                    .accumulate = args.accumulate,
                    .not_finite = args.not_finite},
                   scratch);
  }
  const Pieces pieces(group.lines(), segments, tasks.wanted);
  const int64_t count = pieces.Count();
  const int64_t copy = CopyFloats(shape);
  const int64_t block_scratch =
      BlockScratch(shape, tasks, pieces.most_chains(), static_cast<int64_t>(segments.size()) - 1);
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), count * copy + threads * block_scratch);
  float* sums = scratch.data();
  float* of_threads = sums + count * copy;
  const int64_t group_floats = group.rows() * group.sums_width();

  ctx.ForWithThread(count * tasks.blocks(), work, [&](int64_t task, int thread) {
    const Piece piece = pieces.At(task / tasks.blocks());
    float* to = sums + task / tasks.blocks() * copy;
    task %= tasks.blocks();
    const int64_t kernel_block = task % tasks.kernel_blocks;
    task /= tasks.kernel_blocks;
    const int64_t out_block = task % tasks.out_blocks;
    task /= tasks.out_blocks;
    const int64_t in_block = task % tasks.in_blocks;
    const int64_t g = task / tasks.in_blocks;
    constexpr int64_t kUnit = kernels::kWeightGradientOutputs;
    const int64_t units = CeilDiv(group.out_c, kUnit);
    kernels::WeightGradient(
        group,
        {.x = args.x + g * group.in_c,
         .dy = args.dy + g * group.out_c,
         .segments = segments.data(),
         .segment = piece.segment,
         .segment_end = piece.segment_end,
         .chain = piece.chain,
         .chain_end = piece.chain_end,
         .kh = shape.kernel_h * kernel_block / tasks.kernel_blocks,
         .kh_end = shape.kernel_h * (kernel_block + 1) / tasks.kernel_blocks,
         .in = group.in_c * in_block / tasks.in_blocks,
         .in_end = group.in_c * (in_block + 1) / tasks.in_blocks,
         .out = std::min(group.out_c, units * out_block / tasks.out_blocks * kUnit),
         .out_end = std::min(group.out_c, units * (out_block + 1) / tasks.out_blocks * kUnit),
         .sums = to + g * group_floats},
        of_threads + thread * block_scratch);
  });

  // Then the pieces become one, and dw: a task takes some rows of a group.
  constexpr int64_t kRows = 16;
  const int64_t row_tasks = CeilDiv(group.rows(), kRows);
  ctx.ForWithThread(shape.groups * row_tasks, shape.weights() * count, [&](int64_t task, int) {
    const int64_t g = task / row_tasks, row = task % row_tasks * kRows;
    const int64_t row_end = std::min(group.rows(), row + kRows);
    float* of_group = sums + g * group_floats;
    pieces.MergeAll([&](int64_t into, int64_t from) {
      const int64_t at = row * group.sums_width();
      kernels::AddTo(of_group + from * copy + at, of_group + into * copy + at,
                     (row_end - row) * group.sums_width());
    });
    kernels::FinishWeightGradient({.sums = of_group,
                                   .sums_width = group.sums_width(),
                                   .dw = args.dw + g * group.out_c * group.rows(),
                                   .rows = group.rows(),
                                   .outputs = group.out_c,
                                   .accumulate = args.accumulate,
                                   .not_finite = args.not_finite},
                                  row, row_end);
  });
}

}  // namespace lockstep::ops
