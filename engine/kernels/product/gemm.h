// The fp32 matrix product of one block, serial.
//
//   C = epilogue(C_old + A B)        C (m, n), A (m, k), B (k, n)
//
// The order of every sum is that of engine/ops/product.h: it depends on k and on the segments
// alone, so a block of a larger product has the bits that the larger product would give it.
#ifndef LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_H_
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_H_

#include <atomic>
#include <cstdint>
#include <span>

#include "engine/kernels/epilogue.h"
#include "engine/kernels/product/matrix.h"

namespace lockstep::inline v0_1::kernels {

struct GemmArgs {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  ConstMatrix a = {};    // (m, k)
  ConstMatrix b = {};    // (k, n)
  float* c = nullptr;    // (m, n), rows c_stride floats apart; overlaps no operand
  int64_t c_stride = 0;  // >= n
  bool accumulate = false;
  Epilogue epilogue = {};                  // add: C itself, with its stride, or overlaps none of it
  std::span<const int64_t> segments = {};  // 0 = s[0] <= ... <= s[S] = k; empty: one segment
  std::atomic<bool>* not_finite = nullptr;  // set to true if any element of C is not finite

  int64_t segment_count() const {
    return segments.size() > 2 ? static_cast<int64_t>(segments.size()) - 1 : 1;
  }
};

// Blocks of about this size keep what they touch in the caches; larger ones are correct but slower.
// (Columns 1024 instead of 512: the same speed, and twice the scratch.)
inline constexpr int64_t kGemmBlockRows = 1024;
inline constexpr int64_t kGemmBlockCols = 512;

// Floats of scratch for any block with no larger m, n, k and number of segments.
int64_t GemmScratch(int64_t m, int64_t n, int64_t k, int64_t segments);

// Reads and writes the elements of the block only. `scratch` is best aligned to 64 bytes.
void Gemm(const GemmArgs& args, float* scratch);

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_GEMM_H_
