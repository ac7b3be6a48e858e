// Which weights of an attention are dropped: a pure function of where they stand, so that nothing
// is stored and backward draws the same again.
//
// A head of a sample has a stream of its own; in it, query i and key j draw word j % 4 of the
// Philox block (j / 4) 2^32 + i (engine/base/random.h): lanes of neighbouring queries then take
// neighbouring blocks, whatever the first of them is.
#ifndef LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_MASK_H_
#define LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_MASK_H_

#include <cmath>
#include <cstdint>

#include "engine/base/random.h"

namespace lockstep::inline v0_1::kernels {

// The stream of one head of one sample in one step. sample: within the global batch.
inline uint64_t AttentionMaskStream(uint64_t seed, uint64_t stream, uint64_t step, int64_t sample,
                                    int64_t head) {
  const auto words = [seed](uint64_t from, uint64_t index) {
    const auto block = Philox(seed, from, index);
    return uint64_t{block[0]} << 32 | block[1];
  };
  return words(words(stream, step),
               static_cast<uint64_t>(sample) << 16 ^ static_cast<uint64_t>(head));
}

// Words below it drop: word < p 2^32 if and only if word < ceil(p 2^32). 0: none. p in [0, 1).
inline uint32_t AttentionMaskThreshold(double p) {
  return static_cast<uint32_t>(std::fmin(std::ceil(p * 0x1p32), 0x1p32 - 1.0));
}

// Whether the weight of query i and key j is dropped. What the kernels draw in SIMD lanes.
inline bool AttentionDrops(uint64_t seed, uint64_t mask_stream, uint32_t threshold, int64_t i,
                           int64_t j) {
  const uint64_t index = static_cast<uint64_t>(j / 4) << 32 | static_cast<uint64_t>(i);
  return Philox(seed, mask_stream, index)[static_cast<size_t>(j % 4)] < threshold;
}

}  // namespace lockstep::kernels

#endif  // LOCKSTEP_ENGINE_KERNELS_ATTENTION_ATTENTION_MASK_H_
