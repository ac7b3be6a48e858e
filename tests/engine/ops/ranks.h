// Several ranks within one test: which parts of a batch they hold, and how the floats that each of
// them has become those of all, as Communicator::AllReduce adds them up.
#ifndef LOCKSTEP_TESTS_ENGINE_OPS_RANKS_H_
#define LOCKSTEP_TESTS_ENGINE_OPS_RANKS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1::testing_ranks {

struct Division {
  int64_t shards;
  int ranks;
};

// Every way for 2 to 6 ranks to hold a power of two of 4 to 12 shards each.
inline std::vector<Division> Divisions() {
  std::vector<Division> divisions;
  for (const int64_t shards : {4, 6, 8, 12}) {
    for (const int ranks : {2, 3, 4, 6}) {
      const int64_t local = shards / ranks;
      if (local * ranks == shards && (local & (local - 1)) == 0) {
        divisions.push_back({shards, ranks});
      }
    }
  }
  return divisions;
}

// Batches below and above the numbers of shards, odd ones too.
inline constexpr int64_t kSamples[] = {1, 2, 3, 5, 7, 8, 12, 13, 50};

inline std::vector<float> AllReduce(std::vector<std::vector<float>> of_ranks) {
  MergeTree(0, static_cast<int64_t>(of_ranks.size()), [&](int64_t into, int64_t from) {
    std::vector<float>& a = of_ranks[static_cast<size_t>(into)];
    const std::vector<float>& b = of_ranks[static_cast<size_t>(from)];
    for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  });
  return of_ranks[0];
}

}  // namespace lockstep::testing_ranks

#endif  // LOCKSTEP_TESTS_ENGINE_OPS_RANKS_H_
