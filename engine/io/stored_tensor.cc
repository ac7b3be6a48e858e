#include "engine/io/stored_tensor.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace lockstep::inline v0_1 {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the formats are little endian and read as they lie in memory");

struct TypeInfo {
  const char* name;
  size_t size;
};

constexpr TypeInfo kTypes[] = {
    // in the order of StoredType
    {"F64", 8},     {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E5M2", 1},
    {"F8_E4M3", 1}, {"I64", 8}, {"I32", 4}, {"I16", 2},  {"I8", 1},
    {"U64", 8},     {"U32", 4}, {"U16", 2}, {"U8", 1},   {"BOOL", 1},
};
static_assert(std::size(kTypes) == static_cast<size_t>(StoredType::kBool) + 1);

template <class T>
T Load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// A small float of kMantissa bits, with infinities and NaN at the largest exponent as IEEE 754 has
// them, or (E4M3) with all bits set as the only NaN. Exact in double.
template <int kExponent, int kMantissa, bool kIeee>
double DecodeFloat(unsigned bits) {
  const unsigned mantissa_mask = (1u << kMantissa) - 1;
  const unsigned exponent_mask = (1u << kExponent) - 1;
  const unsigned mantissa = bits & mantissa_mask;
  const unsigned exponent = bits >> kMantissa & exponent_mask;
  const int bias = (1 << (kExponent - 1)) - 1;
  double value;
  if (kIeee && exponent == exponent_mask) {
    value = mantissa == 0 ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
  } else if (!kIeee && exponent == exponent_mask && mantissa == mantissa_mask) {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, 1 - bias - kMantissa);
  } else {
    value = std::ldexp(mantissa | 1u << kMantissa, static_cast<int>(exponent) - bias - kMantissa);
  }
  return bits >> (kExponent + kMantissa) & 1 ? -value : value;
}

// Calls visit(i, value) for every element, value as double or as an integer type, until it returns
// false.
template <class Visit>
void ForEachValue(const StoredTensor& from, Visit visit) {
  const auto run = [&](auto decode) {
    const size_t size = SizeOf(from.type);
    const size_t count = from.data.size() / size;
    for (size_t i = 0; i < count; ++i) {
      if (!visit(i, decode(from.data.data() + i * size))) return;
    }
  };
  switch (from.type) {
    case StoredType::kF64:
      return run(Load<double>);
    case StoredType::kF32:
      return run([](const std::byte* p) { return double{Load<float>(p)}; });
    case StoredType::kF16:
      return run([](const std::byte* p) { return DecodeFloat<5, 10, true>(Load<uint16_t>(p)); });
    case StoredType::kBF16:
      return run([](const std::byte* p) { return double{static_cast<float>(Load<BFloat16>(p))}; });
    case StoredType::kF8E5M2:
      return run([](const std::byte* p) { return DecodeFloat<5, 2, true>(Load<uint8_t>(p)); });
    case StoredType::kF8E4M3:
      return run([](const std::byte* p) { return DecodeFloat<4, 3, false>(Load<uint8_t>(p)); });
    case StoredType::kI64:
      return run(Load<int64_t>);
    case StoredType::kI32:
      return run(Load<int32_t>);
    case StoredType::kI16:
      return run(Load<int16_t>);
    case StoredType::kI8:
      return run(Load<int8_t>);
    case StoredType::kU64:
      return run(Load<uint64_t>);
    case StoredType::kU32:
      return run(Load<uint32_t>);
    case StoredType::kU16:
      return run(Load<uint16_t>);
    case StoredType::kU8:
      return run(Load<uint8_t>);
    case StoredType::kBool:
      return run([](const std::byte* p) { return static_cast<uint8_t>(*p != std::byte{0}); });
  }
}

template <class T>
Status ConvertIntegers(const StoredTensor& from, std::span<T> into) {
  Status status;
  ForEachValue(from, [&](size_t i, auto value) {
    if constexpr (!std::is_integral_v<decltype(value)>) {
      status = Status::Invalid("tensor of " + from.Describe() + " cannot become " +
                               NameOf(kDTypeOf<T>) + "; it must hold integers");
      return false;
    } else {
      if (!std::in_range<T>(value)) {
        status = Status::Invalid("value " + std::to_string(value) + " of element " +
                                 std::to_string(i) + " does not fit into " + NameOf(kDTypeOf<T>));
        return false;
      }
      into[i] = static_cast<T>(value);
      return true;
    }
  });
  return status;
}

template <class T>
void ConvertFloats(const StoredTensor& from, std::span<T> into) {
  ForEachValue(from, [&](size_t i, auto value) {
    if constexpr (std::is_same_v<T, BFloat16>) {
      into[i] = BFloat16(static_cast<float>(value));
    } else {
      into[i] = static_cast<T>(value);
    }
    return true;
  });
}

}  // namespace

size_t SizeOf(StoredType type) { return kTypes[static_cast<size_t>(type)].size; }

const char* NameOf(StoredType type) { return kTypes[static_cast<size_t>(type)].name; }

std::optional<StoredType> StoredTypeFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (name == kTypes[i].name) return static_cast<StoredType>(i);
  }
  return std::nullopt;
}

StoredType StoredTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return StoredType::kF32;
    case DType::kBF16:
      return StoredType::kBF16;
    case DType::kI32:
      return StoredType::kI32;
    case DType::kU8:
      return StoredType::kU8;
    case DType::kF64:
      return StoredType::kF64;
    case DType::kI64:
      return StoredType::kI64;
  }
  LOCKSTEP_CHECK(false, "unknown dtype");
  return StoredType::kF32;
}

std::optional<DType> DTypeOf(StoredType type) {
  switch (type) {
    case StoredType::kF64:
      return DType::kF64;
    case StoredType::kF32:
      return DType::kF32;
    case StoredType::kBF16:
      return DType::kBF16;
    case StoredType::kI32:
      return DType::kI32;
    case StoredType::kI64:
      return DType::kI64;
    case StoredType::kU8:
      return DType::kU8;
    default:
      return std::nullopt;
  }
}

std::optional<int64_t> ByteCount(StoredType type, std::span<const int64_t> extents) {
  int64_t bytes = static_cast<int64_t>(SizeOf(type));
  bool any_zero = false;
  for (const int64_t extent : extents) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      any_zero = true;  // the others must fit all the same: Shape multiplies them in any order
    } else if (bytes > std::numeric_limits<int64_t>::max() / extent) {
      return std::nullopt;
    } else {
      bytes *= extent;
    }
  }
  return any_zero ? 0 : bytes;
}

StoredTensor::StoredTensor(std::string name_of, StoredType type_of, Shape shape_of,
                           std::span<const std::byte> bytes)
    : name(std::move(name_of)), type(type_of), shape(shape_of), data(bytes) {
  LOCKSTEP_CHECK_EQ(data.size(), static_cast<size_t>(shape.size()) * SizeOf(type));
}

StoredTensor::StoredTensor(const NamedConstTensor& other)
    : StoredTensor(other.name, StoredTypeOf(other.tensor.dtype()), other.tensor.shape(),
                   {static_cast<const std::byte*>(other.tensor.data()), other.tensor.bytes()}) {}

ConstTensor StoredTensor::view() const {
  const std::optional<DType> dtype = DTypeOf(type);
  return dtype ? ConstTensor(static_cast<const void*>(data.data()), *dtype, shape) : ConstTensor();
}

std::string StoredTensor::Describe() const {
  return std::string(NameOf(type)) + " " + shape.ToString();
}

Status ConvertInto(const StoredTensor& from, Tensor into) {
  LOCKSTEP_CHECK_EQ(from.shape.size(), into.size());
  switch (into.dtype()) {
    case DType::kF64:
      ConvertFloats(from, into.span<double>());
      return Status::Ok();
    case DType::kF32:
      ConvertFloats(from, into.span<float>());
      return Status::Ok();
    case DType::kBF16:
      ConvertFloats(from, into.span<BFloat16>());
      return Status::Ok();
    case DType::kI32:
      return ConvertIntegers(from, into.span<int32_t>());
    case DType::kI64:
      return ConvertIntegers(from, into.span<int64_t>());
    case DType::kU8:
      return ConvertIntegers(from, into.span<uint8_t>());
  }
  return Status::Ok();
}

}  // namespace lockstep
