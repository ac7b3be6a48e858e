// The fp32 matrix product, spread over the threads of a Context.
//
//   C = epilogue(C_old + A B)        C (m, n), A (m, k), B (k, n)
//
// where C_old and all parts of the epilogue are optional. The bits of C depend on the arguments
// alone: not on the number of threads, not on blocking, not on the SIMD target among those with
// fused multiply-add.
// The order of every sum:
//   - K is cut into segments (by default one), and a segment of length L into
//     n = max(1, ceil(L / 256)) chains, of which chain i begins at L * i / n. A chain is a row of
//     fused multiply-adds over ascending k that starts from +0; an empty one gives +0.
//   - The chains [lo, hi) of a segment merge as a fixed binary tree: merge(lo, hi) =
//     merge(lo, mid) + merge(mid, hi) with mid = lo + the largest power of two below hi - lo. Then
//     so do segments.
//   - Then, where they are there, v = C_old + v (accumulate); v = scale * v + bias, fused, or
//     v = v + bias; v = v + add; v = act(v).
// So the weight gradient of a batch in shards is the tree over its shards' gradients, and a second
// micro-batch adds its whole gradient to the first's in one addition.
#ifndef LOCKSTEP_ENGINE_OPS_PRODUCT_H_
#define LOCKSTEP_ENGINE_OPS_PRODUCT_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/kernels/epilogue.h"
#include "engine/kernels/product/matrix.h"
#include "engine/parallel/context.h"
#include "engine/parallel/function_ref.h"

namespace lockstep::inline v0_1::ops {

// Called once for each finished block of C, by the thread that finished it and while the block is
// in that thread's cache: rows [row_begin, row_end), columns [col_begin, col_end). Several threads
// call at the same time, for different blocks. Together the blocks cover C exactly once. col_begin
// is a multiple of 16.
using BlockFinished =
    FunctionRef<void(int64_t row_begin, int64_t row_end, int64_t col_begin, int64_t col_end)>;

struct ProductArgs {
  int64_t m = 0;  // each may be 0; k = 0 means A B = 0
  int64_t n = 0;
  int64_t k = 0;
  kernels::ConstMatrix a = {};  // (m, k), any strides; dy^T is RowMajor(dy, m).Transposed()
  kernels::ConstMatrix b = {};  // (k, n), any strides; W^T is RowMajor(w, k).Transposed()
  float* c = nullptr;           // (m, n), row-major; overlaps no operand but epilogue.add
  int64_t c_stride = 0;         // floats from one row of C to the next, >= n
  bool accumulate = false;
  kernels::Epilogue epilogue = {};  // add: C itself, with its stride, or overlaps none of it
  // Boundaries of the segments of K: 0 = s[0] <= s[1] <= ... <= s[S] = k. Empty: one segment.
  std::span<const int64_t> segments = {};
  // Set to true if any element that is written to C is not finite; never set to false. Or null.
  std::atomic<bool>* not_finite = nullptr;
  // Boundaries of rows, 0 = r[0] < r[1] < ... < r[G] = m: then each call of `finished` covers the
  // rows of exactly one cell [r[g], r[g + 1]). Empty: blocks of the product's own choice.
  std::span<const int64_t> row_grid = {};
  std::optional<BlockFinished> finished = {};
};

// Floats of scratch that Product needs on a Context of `threads` threads for any m, n, k and number
// of segments no larger than these. Book it once at bind, for the largest batch.
int64_t ProductScratch(int threads, int64_t m, int64_t n, int64_t k, int64_t segments = 1);

// `scratch`: at least ProductScratch(...) floats, best aligned to 64 bytes; contents are lost.
void Product(Context& ctx, const ProductArgs& args, std::span<float> scratch);

// Several products at once, at most kMostProducts, none of which reads what another writes: threads
// that are done with one go on with the next. `scratch`: as much as the most demanding needs alone.
inline constexpr size_t kMostProducts = 4;
void Products(Context& ctx, std::span<const ProductArgs> all, std::span<float> scratch);

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_PRODUCT_H_
