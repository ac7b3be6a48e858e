#include "engine/ops/product.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "engine/base/check.h"
#include "engine/base/float_mode.h"
#include "engine/kernels/product/gemm.h"

namespace lockstep::inline v0_1::ops {
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
  const kernels::Epilogue& epilogue = args.epilogue;
  const auto from = [](const float* p, int64_t at) { return p == nullptr ? nullptr : p + at; };
  return {.m = row_end - row,
          .n = col_end - col,
          .k = args.k,
          .a = args.a.From(row, 0),
          .b = args.b.From(0, col),
          .c = args.c + row * args.c_stride + col,
          .c_stride = args.c_stride,
          .accumulate = args.accumulate,
          .epilogue = {.scale = from(epilogue.scale, col),
                       .bias = from(epilogue.bias, col),
                       .add = from(epilogue.add, row * epilogue.add_stride + col),
                       .add_stride = epilogue.add_stride,
                       .activation = epilogue.activation},
          .segments = args.segments,
          .not_finite = args.not_finite};
}

// How a product is spread: tasks of one block, or with a grid of rows of several cells.
struct Tasks {
  Blocks blocks;
  int64_t row_blocks = 1;
  int64_t count() const { return row_blocks * blocks.cols; }
};

int64_t CellsOf(const ProductArgs& args) { return static_cast<int64_t>(args.row_grid.size()) - 1; }

Tasks TasksOf(const ProductArgs& args, int64_t threads) {
  if (args.m == 0 || args.n == 0) return {.blocks = {}, .row_blocks = 0};
  if (threads == 1 && !args.finished && args.m <= kernels::kGemmBlockRows &&
      args.n <= kernels::kGemmBlockCols) {
    return {.blocks = {.width = args.n}};  // to choose would take as long as a small product
  }
  Tasks tasks;
  tasks.blocks =
      ChooseBlocks(args.m, args.n, threads, args.finished ? kCachedBlock : kLargestBlock);
  // With a grid a task takes whole cells, about as many rows of them as it would take without.
  const int64_t rows = tasks.blocks.rows, cells = CellsOf(args);
  tasks.row_blocks = cells >= 1 ? std::min(rows, cells) : rows;
  return tasks;
}

void RunTask(const ProductArgs& args, const Tasks& tasks, int64_t task, float* scratch) {
  const int64_t row_block = task % tasks.row_blocks;
  const int64_t col = task / tasks.row_blocks * tasks.blocks.width;
  const int64_t col_end = std::min(col + tasks.blocks.width, args.n);
  const int64_t cells = CellsOf(args);
  const bool gridded = cells >= 1;
  const auto cell_row = [&](int64_t cell) { return args.row_grid[static_cast<size_t>(cell)]; };
  const int64_t first_cell = cells * row_block / tasks.row_blocks;
  const int64_t last_cell = cells * (row_block + 1) / tasks.row_blocks;
  const int64_t row_begin = gridded ? cell_row(first_cell) : args.m * row_block / tasks.row_blocks;
  const int64_t row_end =
      gridded ? cell_row(last_cell) : args.m * (row_block + 1) / tasks.row_blocks;
  const int64_t parts = CeilDiv(row_end - row_begin, kernels::kGemmBlockRows);
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t row = row_begin + (row_end - row_begin) * part / parts;
    const int64_t next_row = row_begin + (row_end - row_begin) * (part + 1) / parts;
    kernels::Gemm(BlockOf(args, row, next_row, col, col_end), scratch);
  }
  if (!args.finished) return;
  if (!gridded) return (*args.finished)(row_begin, row_end, col, col_end);
  for (int64_t cell = first_cell; cell < last_cell; ++cell) {
    (*args.finished)(cell_row(cell), cell_row(cell + 1), col, col_end);
  }
}

}  // namespace

int64_t ProductScratch(int threads, int64_t m, int64_t n, int64_t k, int64_t segments) {
  return threads * ThreadScratch(m, n, k, segments);
}

void Product(Context& ctx, const ProductArgs& args, std::span<float> scratch) {
  Products(ctx, {&args, 1}, scratch);
}

void Products(Context& ctx, std::span<const ProductArgs> all, std::span<float> scratch) {
  LOCKSTEP_CHECK_LE(all.size(), kMostProducts);
  // The largest product decides whether there is work for a second thread: by their sum, a step of
  // the clinical network at batch 32 took 30 microseconds on two threads, not 22.
  int64_t work = 0, thread_scratch = 0;
  for (const ProductArgs& args : all) {
    const int64_t segments = std::max<int64_t>(1, static_cast<int64_t>(args.segments.size()) - 1);
    work = std::max(work, args.m * args.n * std::max<int64_t>(args.k, 1) / 8);
    thread_scratch = std::max(thread_scratch, ThreadScratch(args.m, args.n, args.k, segments));
  }
  const int64_t threads = work < Context::kInlineWork ? 1 : ctx.threads();
  LOCKSTEP_CHECK_GE(static_cast<int64_t>(scratch.size()), threads * thread_scratch);

  std::array<Tasks, kMostProducts> tasks;
  int64_t count = 0;
  for (size_t p = 0; p < all.size(); ++p) {
    tasks[p] = TasksOf(all[p], threads);
    count += tasks[p].count();
  }
  if (threads == 1) {
    ScopedFloatMode flush;
    for (size_t p = 0; p < all.size(); ++p) {
      for (int64_t task = 0; task < tasks[p].count(); ++task)
        RunTask(all[p], tasks[p], task, scratch.data());
    }
    return;
  }
  ctx.ForWithThread(count, work, [&](int64_t task, int thread) {
    // Each thread has its share of every product: of the rows, for instance, that it made itself.
    for (int64_t share = 0;; ++share) {
      for (size_t p = 0; p < all.size(); ++p) {
        const int64_t begin = tasks[p].count() * share / threads;
        const int64_t end = tasks[p].count() * (share + 1) / threads;
        if (task < end - begin) {
          return RunTask(all[p], tasks[p], begin + task, scratch.data() + thread * thread_scratch);
        }
        task -= end - begin;
      }
    }
  });
}

}  // namespace lockstep::ops
