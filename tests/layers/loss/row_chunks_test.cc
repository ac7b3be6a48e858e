// Sums over chunks of rows against the sum over all rows, bit by bit.
#include "layers/loss/row_chunks.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "engine/base/random.h"
#include "engine/kernels/product/chains.h"
#include "engine/parallel/shards.h"

namespace lockstep::inline v0_1 {
namespace {

// The sum of values in the order of a product over them.
float SumOf(std::span<const float> values, std::span<const int64_t> segments) {
  kernels::Chains chains(segments.data(), static_cast<int64_t>(segments.size()) - 1);
  std::vector<float> waiting(128);
  size_t at = 0;
  float sum = 0.0f;
  while (!chains.done()) {
    const kernels::Chain chain = chains.Next();
    sum = 0.0f;
    for (int32_t i = 0; i < chain.length; ++i) sum += values[at++];
    auto slot = static_cast<size_t>(chain.waiting);
    for (int32_t merge = 0; merge < chain.merges; ++merge) sum = waiting[--slot] + sum;
    waiting[slot] = sum;
  }
  return sum;
}

struct Sums {
  float sum = 0.0f;
  int chunks = 0, deepest = 0;
  int64_t largest = 0, most_segments = 0;
};
Sums SumInChunks(std::span<const float> values, std::span<const int64_t> shards,
                 RowChunks& chunks) {
  Sums all;
  std::vector<float> stack;
  chunks.Set(shards);
  int64_t next_row = 0;
  while (!chunks.done()) {
    const RowChunks::Chunk chunk = chunks.Next();
    EXPECT_EQ(chunk.rows.begin, next_row);
    EXPECT_EQ(chunk.segments.front(), 0);
    EXPECT_EQ(chunk.segments.back(), chunk.rows.size());
    EXPECT_EQ(chunk.waiting, static_cast<int>(stack.size()));
    next_row = chunk.rows.end;
    float sum = SumOf(values.subspan(static_cast<size_t>(chunk.rows.begin),
                                     static_cast<size_t>(chunk.rows.size())),
                      chunk.segments);
    for (int merge = 0; merge < chunk.merges; ++merge) {
      sum = stack.back() + sum;
      stack.pop_back();
    }
    stack.push_back(sum);
    ++all.chunks;
    all.deepest = std::max(all.deepest, static_cast<int>(stack.size()));
    all.largest = std::max(all.largest, chunk.rows.size());
    all.most_segments =
        std::max(all.most_segments, static_cast<int64_t>(chunk.segments.size()) - 1);
  }
  EXPECT_EQ(stack.size(), 1u);
  EXPECT_EQ(next_row, static_cast<int64_t>(values.size()));
  all.sum = stack.back();
  return all;
}

TEST(RowChunksTest, TheirSumsAreThoseOfAllRowsAndFitWhatIsBooked) {
  Random random(1, StreamOf("row_chunks_test"));
  int several = 0;
  for (const int64_t rows_per_sample : {1, 3, 64, 257, 1000}) {
    for (const int64_t shards : {1, 2, 3, 4, 7, 8, 12}) {
      for (const int64_t most : {1, 256, 511, 600, 1024, 2500}) {
        const int64_t samples = rows_per_sample == 1 ? 5000 : 5000 / rows_per_sample;
        RowChunks chunks(samples, rows_per_sample, shards, most);
        for (const int64_t n : {samples, samples - 1, samples / 2, int64_t{1}}) {
          std::vector<int64_t> bounds{0};
          for (int64_t s = 0; s < shards; ++s)
            bounds.push_back(ShardRange(n, shards, s).end * rows_per_sample);
          std::vector<float> values(static_cast<size_t>(n * rows_per_sample));
          for (float& v : values) v = static_cast<float>(random.Normal());
          const Sums got = SumInChunks(values, bounds, chunks);
          EXPECT_EQ(got.sum, SumOf(values, bounds))
              << n << " samples of " << rows_per_sample << " in " << shards << ", at most " << most;
          EXPECT_LE(got.largest, chunks.largest());
          EXPECT_LE(got.most_segments, chunks.most_segments());
          EXPECT_LE(got.deepest, chunks.depth());
          EXPECT_LE(got.largest, std::max<int64_t>(most, 256));
          several += got.chunks > 1 ? 1 : 0;
        }
      }
    }
  }
  EXPECT_GT(several, 300);  // or the test would say nothing
}

TEST(RowChunksTest, ABatchThatFitsIsOneChunk) {
  RowChunks chunks(4, 64, 1, 333);
  const std::vector<int64_t> bounds{0, 256};
  chunks.Set(bounds);
  EXPECT_EQ(chunks.Next().rows, (IndexRange{0, 256}));
  EXPECT_TRUE(chunks.done());
}

}  // namespace
}  // namespace lockstep
