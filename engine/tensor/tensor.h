// Borrowed views of dense, row-major memory. A view owns nothing: whoever made it keeps the memory
// alive.
//
//   std::vector<float> x(32 * 20);
//   LOCKSTEP_TRY_ASSIGN(const ConstTensor view, ConstTensor::Of({32, 20}, x));  // the size checked
//   const ConstTensor same(x.data(), {32, 20});                                 // not checked
#ifndef LOCKSTEP_ENGINE_TENSOR_TENSOR_H_
#define LOCKSTEP_ENGINE_TENSOR_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace lockstep::inline v0_1 {

// Tensor (writable) and ConstTensor (read-only). Copies are shallow. A default-made view is empty:
// data() is null.
template <bool kConst>
class BasicTensor {
 public:
  using Void = std::conditional_t<kConst, const void, void>;
  template <class T>
  using Element = std::conditional_t<kConst, const T, T>;

  BasicTensor() = default;
  BasicTensor(Void* data, DType dtype, Shape shape) : data_(data), dtype_(dtype), shape_(shape) {}
  template <class T>
  requires(!std::is_void_v<T>) BasicTensor(T* data, Shape shape)
      : BasicTensor(data, kDTypeOf<std::remove_const_t<T>>, shape) {}
  // Of memory whose length is known (a vector, an array, a span): an error, with both numbers, if
  // it has not just the elements of the shape.
  template <class Elements>
  static Result<BasicTensor> Of(const Shape& shape, Elements&& elements) {
    const std::span view(std::forward<Elements>(elements));
    if (std::ssize(view) == shape.size()) return BasicTensor(view.data(), shape);
    return Status::Invalid("a tensor of shape " + shape.ToString() + " has " +
                           std::to_string(shape.size()) + " elements, not " +
                           std::to_string(view.size()));
  }
  // A writable view serves where a read-only one is asked for.
  operator BasicTensor<true>() const  // NOLINT: implicit
      requires(!kConst) {
    return {data_, dtype_, shape_};
  }

  Void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  bool empty() const { return data_ == nullptr; }
  int64_t size() const { return shape_.size(); }
  size_t bytes() const { return static_cast<size_t>(size()) * SizeOf(dtype_); }
  // Whether an element of one lies in the memory of the other.
  bool Overlaps(const BasicTensor<true>& other) const {
    const auto begin = reinterpret_cast<uintptr_t>(data_);
    const auto others = reinterpret_cast<uintptr_t>(other.data());
    const size_t count = bytes(), other_count = other.bytes();
    return begin < others + other_count && others < begin + count && count > 0 && other_count > 0;
  }

  // The elements; T must match dtype().
  template <class T>
  Element<T>* as() const {
    LOCKSTEP_CHECK(dtype_ == kDTypeOf<T>, NameOf(dtype_));
    return static_cast<Element<T>*>(data_);
  }
  Element<float>* f32() const { return as<float>(); }
  template <class T>
  std::span<Element<T>> span() const {
    return {as<T>(), static_cast<size_t>(size())};
  }

  // The samples [begin, end) of the batch.
  BasicTensor Samples(int64_t begin, int64_t end) const {
    LOCKSTEP_CHECK(begin >= 0 && begin <= end && end <= shape_.batch(), "samples out of range");
    using Byte = std::conditional_t<kConst, const std::byte, std::byte>;
    auto* start = static_cast<Byte*>(data_) +
                  static_cast<size_t>(begin * shape_.sample_size()) * SizeOf(dtype_);
    return {static_cast<Void*>(start), dtype_, shape_.WithBatch(end - begin)};
  }
  // The same elements under another shape of the same size.
  BasicTensor Reshaped(Shape shape) const {
    LOCKSTEP_CHECK_EQ(shape.size(), shape_.size());
    return {data_, dtype_, shape};
  }

 private:
  Void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  Shape shape_;
};

using Tensor = BasicTensor<false>;
using ConstTensor = BasicTensor<true>;

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TENSOR_TENSOR_H_
