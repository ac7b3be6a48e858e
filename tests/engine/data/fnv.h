// A number that stands for bytes, so that a test can say that they are the same everywhere.
#ifndef LOCKSTEP_TESTS_ENGINE_DATA_FNV_H_
#define LOCKSTEP_TESTS_ENGINE_DATA_FNV_H_

#include <bit>
#include <cstdint>
#include <cstring>

#include "engine/data/dataset.h"

namespace lockstep::inline v0_1 {

// FNV-1a over the samples as stored (as little-endian words of 1, 4 or 4 bytes) and their targets.
inline uint64_t HashOf(const InMemoryDataset& dataset) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t hash = 0xCBF29CE484222325;
  const auto add = [&](ConstTensor tensor) {
    const auto* bytes = static_cast<const unsigned char*>(tensor.data());
    for (size_t i = 0; i < tensor.bytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001B3;
  };
  for (int64_t i = 0; i < dataset.size(); ++i) {
    add(dataset.StoredX(i));
    add(dataset.StoredTarget(i));
  }
  return hash;
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_DATA_FNV_H_
