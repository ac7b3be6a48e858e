// The extents of a tensor: at most five, the batch first, the channels last. Data is dense and
// row-major. A shape that makes no sense cannot be made: an extent below 0, or more elements than
// an int64_t counts (extents of 0 aside), throws ArgumentFailure, whose text has both numbers.
#ifndef LOCKSTEP_ENGINE_TENSOR_SHAPE_H_
#define LOCKSTEP_ENGINE_TENSOR_SHAPE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

#include "engine/base/check.h"

namespace lockstep::inline v0_1 {

class Shape {
 public:
  static constexpr int kMaxRank = 5;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
    if (dims.size() > size_t{kMaxRank}) RefuseRank(dims.size());
    for (size_t i = 0; i < dims.size(); ++i) dims_[i] = dims[i];
    Check();
  }

  int rank() const { return rank_; }
  // Extent i; negative i counts from the end.
  int64_t operator[](int i) const {
    if (i < 0) i += rank_;
    LOCKSTEP_CHECK(i >= 0 && i < rank_, "dimension out of range");
    return dims_[static_cast<size_t>(i)];
  }
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }

  // The number of elements; 1 for a scalar (rank 0).
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= dims_[static_cast<size_t>(i)];
    return n;
  }
  int64_t batch() const { return (*this)[0]; }
  int64_t channels() const { return (*this)[-1]; }
  // The tensor seen as a matrix (rows, channels).
  int64_t rows() const { return channels() == 0 ? 0 : size() / channels(); }
  // Elements, and rows of that matrix, that belong to one sample.
  int64_t sample_size() const {
    int64_t n = 1;
    for (int i = 1; i < rank_; ++i) n *= dims_[static_cast<size_t>(i)];
    return n;
  }
  int64_t rows_per_sample() const {
    return rank_ <= 1 || channels() == 0 ? 1 : sample_size() / channels();
  }

  Shape WithBatch(int64_t batch) const { return With(0, batch); }
  Shape WithChannels(int64_t channels) const { return With(-1, channels); }

  bool operator==(const Shape&) const = default;
  std::string ToString() const {  // "(32, 20)"
    std::string text = "(";
    for (int i = 0; i < rank_; ++i) {
      if (i > 0) text += ", ";
      text += std::to_string(dims_[static_cast<size_t>(i)]);
    }
    return text + ")";
  }

 private:
  Shape With(int i, int64_t extent) const {
    if (i < 0) i += rank_;
    LOCKSTEP_CHECK(i >= 0 && i < rank_, "dimension out of range");
    Shape changed = *this;
    changed.dims_[static_cast<size_t>(i)] = extent;
    changed.Check();
    return changed;
  }
  void Check() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) {
      const int64_t extent = dims_[static_cast<size_t>(i)];
      if (extent < 0 || (extent > 0 && __builtin_mul_overflow(n, extent, &n))) Refuse();
    }
  }
  [[noreturn]] void Refuse() const;
  [[noreturn]] static void RefuseRank(size_t rank);

  int rank_ = 0;
  std::array<int64_t, kMaxRank> dims_{};
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.ToString();
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TENSOR_SHAPE_H_
