#include "engine/ops/product.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/base/check.h"
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

// C is cut into blocks of rows x cols, one task each.
struct Blocks {
  int64_t rows, cols;
};

// Large blocks spend less on packing operands (about 1 / 3 cycle for each element, once in every
// block, against cols / 16 or rows / 16 cycles of multiply-adds for it); small ones spread more
// evenly. The cheapest in units of one multiply-add on the thread that has the most to do.
Blocks ChooseBlocks(int64_t m, int64_t n, int64_t threads) {
  Blocks best{kernels::kGemmBlockRows, kernels::kGemmBlockCols};
  if (threads == 1) return best;
  double least = 0.0;
  for (int64_t rows = kernels::kGemmBlockRows; rows >= 32; rows /= 2) {
    for (int64_t cols = kernels::kGemmBlockCols; cols >= 64; cols /= 2) {
      const int64_t tasks = CeilDiv(m, rows) * CeilDiv(n, cols);
      const double r = static_cast<double>(std::min(m, rows));
      const double c = static_cast<double>(std::min(n, cols));
      const double cost =
          static_cast<double>(CeilDiv(tasks, threads)) * (r * c + 5.0 * r + 5.0 * c);
      if (least == 0.0 || cost < least) {
        least = cost;
        best = {rows, cols};
      }
      if (cols >= 2 * n) continue;
    }
  }
  return best;
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

  const Blocks blocks = ChooseBlocks(m, n, threads);
  const int64_t col_blocks = CeilDiv(n, blocks.cols);
  // A task takes whole cells of the grid, about as many rows of them as it would choose itself.
  const int64_t cells = static_cast<int64_t>(args.row_grid.size()) - 1;
  const bool gridded = cells >= 1;
  const int64_t cells_each = gridded ? std::max<int64_t>(1, blocks.rows * cells / m) : 1;
  const int64_t row_blocks = gridded ? CeilDiv(cells, cells_each) : CeilDiv(m, blocks.rows);
  const auto boundary = [&](int64_t cell) { return args.row_grid[static_cast<size_t>(cell)]; };

  ctx.ForWithThread(row_blocks * col_blocks, work, [&](int64_t task, int thread) {
    const int64_t row_block = task % row_blocks;
    const int64_t col = task / row_blocks * blocks.cols;
    const int64_t cols = std::min(blocks.cols, n - col);
    const int64_t first_cell = row_block * cells_each;
    const int64_t last_cell = std::min(first_cell + cells_each, cells);
    const int64_t row_begin = gridded ? boundary(first_cell) : row_block * blocks.rows;
    const int64_t row_end = gridded ? boundary(last_cell) : std::min(row_begin + blocks.rows, m);
    const int64_t parts = CeilDiv(row_end - row_begin, kernels::kGemmBlockRows);
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t row = row_begin + (row_end - row_begin) * part / parts;
      const int64_t next_row = row_begin + (row_end - row_begin) * (part + 1) / parts;
      kernels::Gemm({.m = next_row - row,
                     .n = cols,
                     .k = k,
                     .a = args.a.From(row, 0),
                     .b = args.b.From(0, col),
                     .c = args.c + row * args.c_stride + col,
                     .c_stride = args.c_stride,
                     .accumulate = args.accumulate,
                     .bias = args.bias == nullptr ? nullptr : args.bias + col,
                     .activation = args.activation,
                     .segments = args.segments},
                    scratch.data() + thread * thread_scratch);
    }
    if (!args.finished) return;
    if (!gridded) return (*args.finished)(row_begin, row_end, col, col + cols);
    for (int64_t cell = first_cell; cell < last_cell; ++cell) {
      (*args.finished)(boundary(cell), boundary(cell + 1), col, col + cols);
    }
  });
}

}  // namespace lockstep::ops
