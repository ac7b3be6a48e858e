// The kinds of numbers a tensor holds.
#ifndef LOCKSTEP_ENGINE_TENSOR_DTYPE_H_
#define LOCKSTEP_ENGINE_TENSOR_DTYPE_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace lockstep::inline v0_1 {

enum class DType : uint8_t { kF32, kBF16, kI32, kU8, kF64, kI64 };

// bfloat16: the upper half of a float. Conversion rounds to nearest even and keeps NaN a NaN.
struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  explicit BFloat16(float value) {
    const auto word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7FFFFFFF) > 0x7F800000) {
      bits = static_cast<uint16_t>(word >> 16 | 0x40);
    } else {
      bits = static_cast<uint16_t>((word + 0x7FFF + (word >> 16 & 1)) >> 16);
    }
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
  bool operator==(const BFloat16&) const = default;
};

constexpr size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
      return 2;
    case DType::kU8:
      return 1;
  }
  return 0;
}

constexpr const char* NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "f64";
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kI32:
      return "i32";
    case DType::kI64:
      return "i64";
    case DType::kU8:
      return "u8";
  }
  return "?";
}

template <class T>
struct DTypeOfT;
template <>
struct DTypeOfT<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOfT<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOfT<BFloat16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOfT<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOfT<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOfT<uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <class T>
inline constexpr DType kDTypeOf = DTypeOfT<T>::value;

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TENSOR_DTYPE_H_
