// CIFAR's binary files, plain or compressed. The first byte chooses the kind; 3073 bytes are few
// records for a fuzzer, so the second one repeats what follows.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/data/image/cifar.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/require.h"

using namespace lockstep;  // NOLINT: a program of one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const CifarKind kind = data[0] % 2 == 0 ? CifarKind::kCifar10 : CifarKind::kCifar100;
  std::vector<uint8_t> bytes(data + 2, data + size);
  const size_t once = bytes.size();
  for (size_t i = 1; i < data[1] && bytes.size() < 10000; ++i) {
    bytes.insert(bytes.end(), data + 2, data + 2 + once);
  }
  const MemoryFile memory(bytes.data(), bytes.size());
  constexpr int64_t kLimit = 1 << 16;
  const std::vector<std::string> paths(1 + data[0] / 128, memory.path());
  const auto dataset = LoadCifarFiles(kind, paths, {.max_bytes = kLimit});
  if (!dataset.ok()) {
    Require(dataset.status().message().size() < 1000);
    Require(dataset.status().message().find('\n') == std::string::npos);
    return 0;
  }
  const InMemoryDataset& samples = *dataset.value();
  Require(samples.size() >= 1 && samples.size() * 3072 <= kLimit);
  const int32_t classes = kind == CifarKind::kCifar10 ? 10 : 100;
  for (int64_t i = 0; i < samples.size(); ++i) {
    const int32_t label = samples.StoredTarget(i).span<int32_t>()[0];
    Require(label >= 0 && label < classes);
    Require(samples.StoredX(i).bytes() == 3072);
  }
  return 0;
}
