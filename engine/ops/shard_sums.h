// How the norms' sums over a batch become one number for each channel. A slot of doubles holds the
// sums of each row block, or of each sample; the slots of a shard merge in double into its first
// one. From there on
//
//   the gradient of a parameter   a shard's sum is rounded to float, and the shards merge by
//                                 MergeTree in float additions, +0 for a shard without samples:
//                                 what an AllReduce of floats over ranks goes on with. An old
//                                 gradient is added last, gradient = old + total.
//   what dx needs                 shards, then ranks, merge by the same tree as doubles.
//
// `slots_of(shard)` is the range of a shard's slots, empty where it has no samples. Serial, for
// `count` neighbouring numbers of every slot; allocates nothing.
#ifndef LOCKSTEP_ENGINE_OPS_SHARD_SUMS_H_
#define LOCKSTEP_ENGINE_OPS_SHARD_SUMS_H_

#include <algorithm>
#include <cstdint>

#include "engine/kernels/norm/normalize.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::ops {

// The slots of every shard into its first one.
//   slots      of every slot the numbers to merge: `count` of them, slots slot_size doubles apart
template <class SlotsOf>
void MergeSlots(int64_t shards, const SlotsOf& slots_of, int64_t slot_size, int64_t count,
                double* slots) {
  for (int64_t shard = 0; shard < shards; ++shard) {
    const IndexRange range = slots_of(shard);
    MergeTree(range.begin, range.end, [&](int64_t into, int64_t from) {
      kernels::AddSums(slots + from * slot_size, count, slots + into * slot_size);
    });
  }
}

// The gradient of a parameter from the shards' sums.
//   slots      as MergeSlots left them; not changed
//   gradient   (count)
template <class SlotsOf>
void StoreGradient(int64_t shards, const SlotsOf& slots_of, int64_t slot_size, int64_t count,
                   const double* slots, bool accumulate, float* gradient) {
  // The tree in the order of the shards, which needs one row of floats for each of its levels
  // instead of one for each shard: like a carry, the subtree that a shard completes is merged at
  // once.
  constexpr int64_t kTile = 64, kLevels = 64;
  float level[kLevels][kTile];
  for (int64_t begin = 0; begin < count; begin += kTile) {
    const int64_t n = std::min(kTile, count - begin);
    int64_t depth = 0;
    const auto merge_top = [&] {
      --depth;
      for (int64_t i = 0; i < n; ++i) level[depth - 1][i] += level[depth][i];
    };
    for (int64_t shard = 0; shard < shards; ++shard) {
      const IndexRange range = slots_of(shard);
      const double* sum = slots + range.begin * slot_size + begin;
      float* top = level[depth++];
      for (int64_t i = 0; i < n; ++i) {
        top[i] = range.size() == 0 ? 0.0f : static_cast<float>(sum[i]);
      }
      for (int64_t done = shard + 1; done % 2 == 0; done /= 2) merge_top();
    }
    while (depth > 1) merge_top();
    float* to = gradient + begin;
    for (int64_t i = 0; i < n; ++i) to[i] = accumulate ? to[i] + level[0][i] : level[0][i];
  }
}

// The shards' sums into the first slot, as doubles: zeros where no shard has samples.
//   slots      as MergeSlots left them
template <class SlotsOf>
void MergeShardSums(int64_t shards, const SlotsOf& slots_of, int64_t slot_size, int64_t count,
                    double* slots) {
  if (slots_of(0).begin == slots_of(shards - 1).end) std::fill_n(slots, count, 0.0);
  MergeTree(0, shards, [&](int64_t into, int64_t from) {
    // Shards without samples have nothing to add; where they begin, the next one does.
    const int64_t end = std::min(from + (from - into), shards);
    const int64_t slot_into = slots_of(into).begin, slot_from = slots_of(from).begin;
    if (slot_into == slot_from || slot_from == slots_of(end - 1).end) return;
    kernels::AddSums(slots + slot_from * slot_size, count, slots + slot_into * slot_size);
  });
}

}  // namespace lockstep::ops

#endif  // LOCKSTEP_ENGINE_OPS_SHARD_SUMS_H_
