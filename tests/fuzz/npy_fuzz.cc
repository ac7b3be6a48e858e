// NPY files. What is accepted must have as many bytes as its shape and type say, and convert.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/io/npy.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Result<NpyArray> array = ParseNpy(std::as_bytes(std::span(data, size)));
  const MemoryFile memory(data, size);
  Require(ReadNpy(memory.path()).ok() == array.ok());
  if (!array.ok()) {
    Require(array.status().message().size() < 1000);
    Require(array.status().message().find('\n') == std::string::npos);
    return 0;
  }
  const StoredTensor& tensor = array->tensor;
  Require(tensor.data.size() == static_cast<size_t>(tensor.shape.size()) * SizeOf(tensor.type));
  Require(tensor.data.size() <= size);
  std::vector<float> floats(static_cast<size_t>(tensor.shape.size()));
  Require(ConvertInto(tensor, Tensor(floats.data(), tensor.shape)).ok());
  std::vector<int32_t> integers(floats.size());
  (void)ConvertInto(tensor, Tensor(integers.data(), tensor.shape));
  return 0;
}
