// Tensors as files hold them: more kinds of numbers than the engine computes with.
#ifndef LOCKSTEP_ENGINE_IO_STORED_TENSOR_H_
#define LOCKSTEP_ENGINE_IO_STORED_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

struct NamedConstTensor {
  std::string name;
  ConstTensor tensor;

  NamedConstTensor() = default;
  NamedConstTensor(std::string name_of, ConstTensor view)
      : name(std::move(name_of)), tensor(view) {}
  NamedConstTensor(const NamedTensor& other)  // NOLINT: a writable one serves where this is asked
      : name(other.name), tensor(other.tensor) {}
};

// What safetensors and NPY files hold. The types of the engine (DType) are among them.
enum class StoredType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E5M2,
  kF8E4M3,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
};

size_t SizeOf(StoredType type);
// As safetensors spells it: "F32", "I64", "BOOL".
const char* NameOf(StoredType type);
std::optional<StoredType> StoredTypeFromName(std::string_view name);
StoredType StoredTypeOf(DType dtype);
// The engine's type with the same bits, where there is one.
std::optional<DType> DTypeOf(StoredType type);

// The bytes of a dense, row-major, little-endian tensor of `shape`, or nothing if that number (with
// extents of zero left out) does not fit into an int64: sizes that come from files must be asked
// here before a Shape is believed.
std::optional<int64_t> ByteCount(StoredType type, std::span<const int64_t> extents);

// A borrowed view: whoever made it keeps the memory alive.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  Shape shape;
  std::span<const std::byte> data;  // shape.size() * SizeOf(type) bytes

  StoredTensor() = default;
  StoredTensor(std::string name_of, StoredType type_of, Shape shape_of,
               std::span<const std::byte> bytes);
  StoredTensor(const NamedConstTensor& other);  // NOLINT: the engine's tensors are all storable
  StoredTensor(const NamedTensor& other) : StoredTensor(NamedConstTensor(other)) {}  // NOLINT

  // The same memory as a tensor of the engine; empty() where the engine has no such type.
  // Readers of this folder align the data of every tensor to a cache line.
  ConstTensor view() const;
  // "F32 (64, 20)"
  std::string Describe() const;
};

// Writes the values of `from` into `into`, which must have as many elements (the shape is not
// looked at). Any type becomes f64, f32 or (by way of f32) bf16, rounded to nearest; i32, i64 and
// u8 take integers and booleans only, and only values they can hold: the first that does not fit is
// named.
Status ConvertInto(const StoredTensor& from, Tensor into);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_STORED_TENSOR_H_
