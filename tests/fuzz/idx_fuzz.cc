// IDX files, plain or compressed. What is accepted must have as many elements as its shape says.
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "engine/data/image/idx.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile memory(data, size);
  // A few compressed bytes may stand for a gigabyte: the limit must hold.
  constexpr int64_t kLimit = 1 << 20;
  const Result<IdxArray> array = LoadIdx(memory.path(), kLimit);
  if (!array.ok()) {
    Require(array.status().message().size() < 1000);
    Require(array.status().message().find('\n') == std::string::npos);
    return 0;
  }
  std::visit(
      [&](const auto& elements) {
        Require(static_cast<int64_t>(elements.size()) == array->shape.size());
        Require(static_cast<int64_t>(elements.size() * sizeof(elements[0])) <= kLimit);
      },
      array->elements);
  return 0;
}
