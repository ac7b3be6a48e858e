// The matrix product as it is defined, one element at a time.
#ifndef LOCKSTEP_TESTS_REFERENCE_GEMM_H_
#define LOCKSTEP_TESTS_REFERENCE_GEMM_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "engine/kernels/elementwise/activation_kind.h"
#include "engine/kernels/product/matrix.h"

namespace lockstep::reference {

// sum of a[i, p] * b[p, j] over p in [begin, end), ascending, each multiply-add rounded once.
template <class T>
T GemmChain(const kernels::ConstMatrix& a, const kernels::ConstMatrix& b, int64_t i, int64_t j,
            int64_t begin, int64_t end) {
  T sum = 0;
  for (int64_t p = begin; p < end; ++p) {
    sum = std::fma(static_cast<T>(a.data[i * a.row_stride + p * a.col_stride]),
                   static_cast<T>(b.data[p * b.row_stride + j * b.col_stride]), sum);
  }
  return sum;
}

// The tree over the segments [lo, hi) whose boundaries are given.
template <class T>
T GemmTree(const kernels::ConstMatrix& a, const kernels::ConstMatrix& b, int64_t i, int64_t j,
           std::span<const int64_t> bounds, size_t lo, size_t hi) {
  if (hi - lo == 1) return GemmChain<T>(a, b, i, j, bounds[lo], bounds[hi]);
  const size_t mid = lo + std::bit_floor(hi - lo - 1);
  return GemmTree<T>(a, b, i, j, bounds, lo, mid) + GemmTree<T>(a, b, i, j, bounds, mid, hi);
}

// What becomes of an element's sum: + old, + bias, activation. Null: not there.
template <class T>
T GemmFinish(T sum, const float* old, const float* bias, kernels::Activation activation) {
  if (old != nullptr) sum = static_cast<T>(*old) + sum;
  if (bias != nullptr) sum = sum + static_cast<T>(*bias);
  return activation == kernels::Activation::kRelu && sum < 0 ? 0 : sum;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_GEMM_H_
