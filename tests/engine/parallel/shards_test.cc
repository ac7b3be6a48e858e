#include "engine/parallel/shards.h"

#include <cstddef>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

TEST(ShardRangeTest, CoversTheBatchInOrderAndEvenly) {
  for (const int64_t samples : {0, 1, 2, 5, 7, 8, 9, 31, 32, 1000}) {
    for (const int64_t shards : {1, 2, 3, 8, 16}) {
      int64_t next = 0;
      for (int64_t s = 0; s < shards; ++s) {
        const IndexRange range = ShardRange(samples, shards, s);
        EXPECT_EQ(range.begin, next);
        EXPECT_GE(range.size(), samples / shards);
        EXPECT_LE(range.size(), (samples + shards - 1) / shards);
        next = range.end;
      }
      EXPECT_EQ(next, samples);
    }
  }
}

// The rule as it is written down.
std::string TreeByDefinition(int64_t lo, int64_t hi) {
  if (hi - lo == 1) return std::to_string(lo);
  int64_t power = 1;
  while (2 * power < hi - lo) power *= 2;
  std::string tree = "(";
  tree += TreeByDefinition(lo, lo + power) + "+";
  tree += TreeByDefinition(lo + power, hi) + ")";
  return tree;
}

TEST(MergeTreeTest, IsTheTreeOfTheDefinition) {
  for (int64_t lo : {0, 3}) {
    for (int64_t count = 1; count <= 40; ++count) {
      std::vector<std::string> slots;
      for (int64_t i = 0; i < lo + count; ++i) slots.push_back(std::to_string(i));
      MergeTree(lo, lo + count, [&](int64_t into, int64_t from) {
        std::string& slot = slots[static_cast<size_t>(into)];
        slot.insert(0, 1, '(');
        slot += "+" + slots[static_cast<size_t>(from)] + ")";
      });
      EXPECT_EQ(slots[static_cast<size_t>(lo)], TreeByDefinition(lo, lo + count));
    }
  }
  MergeTree(2, 2, [](int64_t, int64_t) { FAIL() << "nothing to merge"; });
}

TEST(RowGridTest, BlocksCoverTheRowsAndNeverCrossShards) {
  for (const int64_t rows_per_sample : {1, 7, 3136}) {
    for (const int64_t shards : {1, 2, 3, 8}) {
      RowGrid grid(/*max_samples=*/33, rows_per_sample, shards);
      for (int64_t samples = 0; samples <= 33; ++samples) {
        grid.SetSamples(samples);
        ASSERT_EQ(grid.rows(), samples * rows_per_sample);
        ASSERT_EQ(static_cast<int64_t>(grid.boundaries().size()), grid.blocks() + 1);
        ASSERT_EQ(grid.boundaries().front(), 0);
        ASSERT_EQ(grid.boundaries().back(), grid.rows());
        int64_t next_block = 0;
        for (int64_t s = 0; s < shards; ++s) {
          const IndexRange blocks = grid.ShardBlocks(s);
          const IndexRange rows = grid.ShardRows(s);
          ASSERT_EQ(blocks.begin, next_block);
          next_block = blocks.end;
          ASSERT_LE(blocks.size(), RowGrid::kMaxShardBlocks);
          ASSERT_EQ(blocks.size() == 0, rows.size() == 0);
          for (int64_t b = blocks.begin; b < blocks.end; ++b) {
            const IndexRange block = grid.BlockRows(b);
            ASSERT_GT(block.size(), 0);
            ASSERT_EQ(grid.BlockAt(block.begin), b);
            ASSERT_EQ(grid.BlockAt(block.end - 1), b);
            if (b + 1 < blocks.end) {  // all but the last are whole
              ASSERT_EQ(block.size() % RowGrid::kBlockRows, 0);
              ASSERT_EQ(block.size(), grid.BlockRows(blocks.begin).size());
            }
          }
          if (rows.size() > 0) {
            ASSERT_EQ(grid.BlockRows(blocks.begin).begin, rows.begin);
            ASSERT_EQ(grid.BlockRows(blocks.end - 1).end, rows.end);
          }
        }
        ASSERT_EQ(next_block, grid.blocks());
        ASSERT_LE(grid.blocks(), RowGrid::MaxBlocks(33, rows_per_sample, shards));
      }
    }
  }
}

TEST(RowGridTest, MaxBlocksHoldsForEverySmallerBatch) {
  // 8,193 rows make blocks twice as long as 8,192 do: fewer rows can mean more blocks.
  RowGrid grid(/*max_samples=*/8193, 1, 1);
  EXPECT_EQ(grid.blocks(), 33);
  grid.SetSamples(8192);
  EXPECT_EQ(grid.blocks(), 64);
  EXPECT_GE(RowGrid::MaxBlocks(8193, 1, 1), 64);
}

TEST(RowGridTest, RefusesMoreThanTheLargestBatch) {
  RowGrid grid(4, 1, 1);
  EXPECT_THROW(grid.SetSamples(5), CheckFailure);
  EXPECT_THROW(RowGrid(4, 1, 0), CheckFailure);
}

// Follows what every slot holds through the merges: each must be told the right number of rows, the
// rows must be neighbours, and all must end in slot 0.
TEST(RowGridTest, MergesEveryRowOnceWithTheRightCounts) {
  for (const int64_t shards : {1, 2, 3, 5, 8}) {
    for (const int64_t samples : {1, 2, 3, 7, 8, 9, 64, 300}) {
      for (const int64_t rows_per_sample : {1, 50, 1000}) {
        const RowGrid grid(samples, rows_per_sample, shards);
        std::vector<IndexRange> held;
        for (int64_t b = 0; b < grid.blocks(); ++b) held.push_back(grid.BlockRows(b));
        const auto merge = [&](int64_t into, int64_t rows_into, int64_t from, int64_t rows_from) {
          IndexRange& a = held[static_cast<size_t>(into)];
          const IndexRange b = held[static_cast<size_t>(from)];
          EXPECT_EQ(a.size(), rows_into);
          EXPECT_EQ(b.size(), rows_from);
          EXPECT_EQ(a.end, b.begin);
          a.end = b.end;
        };
        for (int64_t s = 0; s < shards; ++s) {
          MergeBlocks(grid, s, merge);
          const IndexRange blocks = grid.ShardBlocks(s);
          if (blocks.size() > 0) {
            EXPECT_EQ(held[static_cast<size_t>(blocks.begin)], grid.ShardRows(s));
          }
        }
        MergeShards(grid, merge);
        EXPECT_EQ(held[0], (IndexRange{0, grid.rows()}));
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
