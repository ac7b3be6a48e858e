#include "engine/ops/shard_sums.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"

namespace lockstep::inline v0_1::ops {
namespace {

using testing_arrays::Bits;
using testing_arrays::kNan;
using testing_arrays::Normals;

constexpr int64_t kCount = 70;  // more than one tile of StoreGradient
constexpr int64_t kSlotSize = kCount + 3;

struct Sums {
  explicit Sums(const BatchCut& batch_cut) : cut(batch_cut) {
    const std::vector<float> values = Normals(std::max<int64_t>(1, cut.samples()) * kSlotSize, 1);
    // Digits that a float does not hold.
    for (const float v : values) slots.push_back(static_cast<double>(v) * (1.0 + 1e-9));
  }
  IndexRange operator()(int64_t shard) const { return cut.LocalShard(shard); }

  BatchCut cut;
  std::vector<double> slots;
};

TEST(ShardSumsTest, AGradientIsTheTreeOfTheShardsFloats) {
  for (const int64_t shards : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13}) {
    for (const int64_t samples : {0, 1, 3, 8, 29}) {
      SCOPED_TRACE(std::to_string(samples) + " samples, shards " + std::to_string(shards));
      Sums sums(BatchCut::Whole(samples, shards));
      // The same, with a slot of floats for each shard and MergeTree as it stands.
      std::vector<std::vector<float>> want;
      for (int64_t shard = 0; shard < shards; ++shard) {
        const IndexRange range = sums(shard);
        want.emplace_back(kCount, 0.0f);
        if (range.size() == 0) continue;
        std::vector<double> shard_sum(kCount);
        for (int64_t i = 0; i < kCount; ++i) {
          std::vector<double> column;
          for (int64_t s = range.begin; s < range.end; ++s) {
            column.push_back(sums.slots[static_cast<size_t>(s * kSlotSize + i)]);
          }
          MergeTree(0, range.size(), [&](int64_t into, int64_t from) {
            column[static_cast<size_t>(into)] += column[static_cast<size_t>(from)];
          });
          want.back()[static_cast<size_t>(i)] = static_cast<float>(column[0]);
        }
      }
      MergeTree(0, shards, [&](int64_t into, int64_t from) {
        for (size_t i = 0; i < kCount; ++i) {
          want[static_cast<size_t>(into)][i] += want[static_cast<size_t>(from)][i];
        }
      });

      MergeSlots(shards, sums, kSlotSize, kCount, sums.slots.data());
      std::vector<float> gradient(kCount + 1, kNan);
      StoreGradient(shards, sums, kSlotSize, kCount, sums.slots.data(), /*accumulate=*/false,
                    gradient.data());
      EXPECT_TRUE(std::isnan(gradient.back()));
      gradient.pop_back();
      EXPECT_EQ(Bits(gradient), Bits(want[0]));

      std::vector<float> old = Normals(kCount, 2), added = old;
      StoreGradient(shards, sums, kSlotSize, kCount, sums.slots.data(), /*accumulate=*/true,
                    added.data());
      for (size_t i = 0; i < kCount; ++i) old[i] += gradient[i];
      EXPECT_EQ(Bits(added), Bits(old));
    }
  }
}

// A rank without samples hands over +0, so a shard without samples has to count as one too: a sum
// that rounds to -0 shows the difference.
TEST(ShardSumsTest, AShardWithoutSamplesAddsZero) {
  std::vector<double> slots = {-1e-60};
  float gradient = kNan;
  const auto first_only = [](int64_t shard) { return IndexRange{shard > 0, 1}; };
  StoreGradient(2, first_only, 1, 1, slots.data(), /*accumulate=*/false, &gradient);
  EXPECT_EQ(gradient, 0.0f);
  EXPECT_FALSE(std::signbit(gradient));
}

TEST(ShardSumsTest, ShardsWithoutSamplesLeaveZeros) {
  std::vector<double> slots(3, NAN);
  MergeShardSums(
      4,
      [](int64_t) {
        return IndexRange{0, 0};
      },
      3, 3, slots.data());
  EXPECT_EQ(slots, std::vector<double>(3, 0.0));
}

}  // namespace
}  // namespace lockstep::ops
