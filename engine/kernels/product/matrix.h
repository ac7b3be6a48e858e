// A borrowed matrix with any strides: what the operands of a product are.
#ifndef LOCKSTEP_ENGINE_KERNELS_PRODUCT_MATRIX_H_
#define LOCKSTEP_ENGINE_KERNELS_PRODUCT_MATRIX_H_

#include <cstdint>

namespace lockstep::inline v0_1::kernels {

// Element (i, j) lies at data[i * row_stride + j * col_stride].
struct ConstMatrix {
  const float* data = nullptr;
  int64_t row_stride = 0;
  int64_t col_stride = 1;

  ConstMatrix Transposed() const { return {data, col_stride, row_stride}; }
  ConstMatrix From(int64_t row, int64_t col) const {
    return {data + row * row_stride + col * col_stride, row_stride, col_stride};
  }
};

// A dense row-major matrix with `cols` columns.
inline ConstMatrix RowMajor(const float* data, int64_t cols) { return {data, cols, 1}; }

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_PRODUCT_MATRIX_H_
