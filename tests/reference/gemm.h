// The matrix product as it is defined, one element at a time.
#ifndef LOCKSTEP_TESTS_REFERENCE_GEMM_H_
#define LOCKSTEP_TESTS_REFERENCE_GEMM_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "engine/kernels/epilogue.h"
#include "engine/kernels/product/matrix.h"

namespace lockstep::inline v0_1::reference {

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

// The tree over the chains [lo, hi) of the `chains` into which the segment [begin, end) is cut.
template <class T>
T GemmChains(const kernels::ConstMatrix& a, const kernels::ConstMatrix& b, int64_t i, int64_t j,
             int64_t begin, int64_t end, int64_t chains, int64_t lo, int64_t hi) {
  if (hi - lo == 1) {
    return GemmChain<T>(a, b, i, j, begin + (end - begin) * lo / chains,
                        begin + (end - begin) * hi / chains);
  }
  const auto mid = lo + static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(hi - lo - 1)));
  return GemmChains<T>(a, b, i, j, begin, end, chains, lo, mid) +
         GemmChains<T>(a, b, i, j, begin, end, chains, mid, hi);
}

// The tree over the segments [lo, hi) whose boundaries are given; each is cut into equal chains of
// at most 256.
template <class T>
T GemmTree(const kernels::ConstMatrix& a, const kernels::ConstMatrix& b, int64_t i, int64_t j,
           std::span<const int64_t> bounds, size_t lo, size_t hi) {
  if (hi - lo == 1) {
    const int64_t length = bounds[hi] - bounds[lo];
    const int64_t chains = length <= 256 ? 1 : (length + 255) / 256;
    return GemmChains<T>(a, b, i, j, bounds[lo], bounds[hi], chains, 0, chains);
  }
  const size_t mid = lo + std::bit_floor(hi - lo - 1);
  return GemmTree<T>(a, b, i, j, bounds, lo, mid) + GemmTree<T>(a, b, i, j, bounds, mid, hi);
}

// What becomes of the sum of element (i, j): + old if it is not null, then the epilogue.
template <class T>
T GemmFinish(T v, const float* old, const kernels::Epilogue& epilogue, int64_t i, int64_t j) {
  const auto scale = [&] { return static_cast<T>(epilogue.scale[j]); };
  const auto bias = [&] { return static_cast<T>(epilogue.bias[j]); };
  if (old != nullptr) v = static_cast<T>(*old) + v;
  if (epilogue.scale != nullptr) {
    v = epilogue.bias != nullptr ? std::fma(scale(), v, bias()) : scale() * v;
  } else if (epilogue.bias != nullptr) {
    v = v + bias();
  }
  if (epilogue.add != nullptr) v = v + static_cast<T>(epilogue.add[i * epilogue.add_stride + j]);
  return epilogue.activation == kernels::Activation::kRelu && v < 0 ? 0 : v;
}

}  // namespace lockstep::reference

#endif  // LOCKSTEP_TESTS_REFERENCE_GEMM_H_
