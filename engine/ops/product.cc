#include "engine/ops/product.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/base/check.h"
#include "engine/base/denormals.h"
#include "engine/kernels/gemm.h"

namespace lockstep::ops {
namespace {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t kCacheLineFloats = 16;

int64_t ThreadScratch(int64_t m, int64_t n, int64_t k, int64_t segments) {
  const int64_t floats = kernels::GemmScratch(std::min(m, kernels::kGemmBlockRows),
                                              std::min(n, kernels::kGemmBlockCols), k, segments);
  return CeilDiv(floats, kCacheLineFloats) * kCacheLineFloats;
}

// C is cut into a grid of blocks, one task each: `rows` x `cols` of them, as equal as they can be.
struct Blocks {
  int64_t rows = 1, cols = 1;
  int64_t width = 0;  // of a column of blocks: a multiple of kBlockAlign, but for the last
};
constexpr int64_t kLargestBlock = kernels::kGemmBlockRows * kernels::kGemmBlockCols;
constexpr int64_t kCachedBlock = 65536;  // what is to be looked at again: half of a small L2 cache
constexpr int64_t kBlockAlign = 32;  // whole panels on every target, whole cache lines of moments

// Large blocks spend less on packing their operands (about 1 / 3 cycle for each element of a row or
// column, against cols / 16 or rows / 16 cycles of multiply-adds for it); small ones spread more
// evenly. Takes the grid that is cheapest for the thread with the most to do, in multiply-adds.
// No block has more than `largest` elements, if that can be had.
Blocks ChooseBlocks(int64_t m, int64_t n, int64_t threads, int64_t largest) {
  Blocks best;
  int64_t least = 0;
  const int64_t fewest_rows = CeilDiv(m, kernels::kGemmBlockRows);
  const int64_t fewest_cols = CeilDiv(n, kernels::kGemmBlockCols);
  constexpr int64_t kSmallest = 32;
  for (int64_t rows = fewest_rows;; rows *= 2) {
    const int64_t height = CeilDiv(m, rows);
    for (int64_t cols = fewest_cols;; cols *= 2) {
      const int64_t width = CeilDiv(CeilDiv(n, cols), kBlockAlign) * kBlockAlign;
      const int64_t used = CeilDiv(n, width);  // columns of blocks, after rounding
      constexpr int64_t kPacking = 5;
      const int64_t cost =
          CeilDiv(rows * used, threads) * (height * width + kPacking * height + kPacking * width);
      const bool fits = height * width <= largest;
      if (fits && (least == 0 || cost < least)) {
        least = cost;
        best = {rows, used, width};
      }
      if ((threads == 1 && fits) || width <= kSmallest) break;
    }
    if ((threads == 1 && least != 0) || height <= kSmallest) break;
  }
  return best;
}

kernels::GemmArgs BlockOf(const ProductArgs& args, int64_t row, int64_t row_end, int64_t col,
                          int64_t col_end) {
  return {.m = row_end - row,
          .n = col_end - col,
          .k = args.k,
          .a = args.a.From(row, 0),
          .b = args.b.From(0, col),
          .c = args.c + row * args.c_stride + col,
          .c_stride = args.c_stride,
          .accumulate = args.accumulate,
          .bias = args.bias == nullptr ? nullptr : args.bias + col,
          .activation = args.activation,
          .segments = args.segments};
}

}  // namespace

int64_t ProductScratch(int threads, int64_t m, int64_t n, int64_t k, int64_t segments) {
  return threads * ThreadScratch(m, n, k, segments);
}

void Product(Context& ctx, const ProductArgs& args, std::span<float> scratch) {
  const int64_t m = args.m, n = args.n, k = args.k;
  if (m == 0 || n == 0) return;
  const int64_t segments = std::max<int64_t>(1, static_cast<int64_t>(args.segments.size()) - 1);
  const int64_t thread_scratch = ThreadScratch(m, n, k, segments);
  const int64_t work = m * n * std::max<int64_t>(k, 1) / 8;
  const int64_t threads = work < Context::kInlineWork ? 1 : ctx.threads();
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), threads * thread_scratch);

  if (threads == 1 && !args.finished && m <= kernels::kGemmBlockRows &&
      n <= kernels::kGemmBlockCols) {
    // One block on the caller: no loop to set up, which takes as long as a small product.
    ScopedFlushDenormals flush;
    return kernels::Gemm(BlockOf(args, 0, m, 0, n), scratch.data());
  }

  const Blocks blocks = ChooseBlocks(m, n, threads, args.finished ? kCachedBlock : kLargestBlock);
  // With a grid a task takes whole cells, about as many rows of them as it would take without.
  const int64_t cells = static_cast<int64_t>(args.row_grid.size()) - 1;
  const bool gridded = cells >= 1;
  const int64_t row_blocks = gridded ? std::min(blocks.rows, cells) : blocks.rows;
  const auto cell_row = [&](int64_t cell) { return args.row_grid[static_cast<size_t>(cell)]; };

  ctx.ForWithThread(row_blocks * blocks.cols, work, [&](int64_t task, int thread) {
    const int64_t row_block = task % row_blocks;
    const int64_t col = task / row_blocks * blocks.width;
    const int64_t cols = std::min(blocks.width, n - col);
    const int64_t first_cell = cells * row_block / row_blocks;
    const int64_t last_cell = cells * (row_block + 1) / row_blocks;
    const int64_t row_begin = gridded ? cell_row(first_cell) : m * row_block / row_blocks;
    const int64_t row_end = gridded ? cell_row(last_cell) : m * (row_block + 1) / row_blocks;
    const int64_t parts = CeilDiv(row_end - row_begin, kernels::kGemmBlockRows);
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t row = row_begin + (row_end - row_begin) * part / parts;
      const int64_t next_row = row_begin + (row_end - row_begin) * (part + 1) / parts;
      kernels::Gemm(BlockOf(args, row, next_row, col, col + cols),
                    scratch.data() + thread * thread_scratch);
    }
    if (!args.finished) return;
    if (!gridded) return (*args.finished)(row_begin, row_end, col, col + cols);
    for (int64_t cell = first_cell; cell < last_cell; ++cell) {
      (*args.finished)(cell_row(cell), cell_row(cell + 1), col, col + cols);
    }
  });
}

}  // namespace lockstep::ops
