// What must not change a bit of an attention: threads, the SIMD target, other samples, padding,
// what padding holds, other texts in the row, how many queries are asked at once. And what must
// reach the result: values that are not finite.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/kernels/targets.h"
#include "engine/ops/attention.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/engine/ops/attention_case.h"
#include "tests/engine/ops/same_bits.h"
#include "tests/engine/optim/count_allocations.h"

namespace lockstep::inline v0_1::ops {
namespace {

AttentionCase CaseOf(int64_t queries, int64_t keys, int64_t heads, int64_t head_size) {
  AttentionCase c;
  c.shape = {.queries = queries,
             .keys = keys,
             .heads = heads,
             .key_heads = heads,
             .head_size = head_size,
             .scale = 0.3f,
             .causal = true};
  return c;
}

std::vector<float> All(const AttentionResult& r) {
  std::vector<float> all = r.y;
  for (const auto* x : {&r.log_sum, &r.dq, &r.dk, &r.dv}) {
    all.insert(all.end(), x->begin(), x->end());
  }
  return all;
}

// Rows [begin, end) of sample b, heads and all.
std::vector<float> Rows(const std::vector<float>& x, int64_t rows, int64_t stride, int64_t b,
                        int64_t begin, int64_t end) {
  return {x.begin() + (b * rows + begin) * stride, x.begin() + (b * rows + end) * stride};
}

TEST(AttentionBitsTest, DoNotDependOnThreads) {
  // Few heads are cut into blocks, with seven products, and many are not, with five.
  for (const int64_t batch : {1, 9}) {
    for (const int64_t key_heads : {1, 2}) {
      AttentionCase c = CaseOf(333, 301, 2, 19);
      c.batch = batch;
      c.shape.key_heads = key_heads;
      c.shape.dropout = batch == 1 ? 0.1 : 0.0;
      if (key_heads == 2) {
        for (int64_t i = 0; i < batch * 333; ++i) {
          c.q_segments.push_back(i % 333 < 200 ? 1 : i % 333 < 290 ? -1 : 2);
        }
        for (int64_t i = 0; i < batch * 301; ++i) {
          c.k_segments.push_back(i % 301 < 190 ? 1 : i % 301 < 195 ? -1 : 2);
        }
      }
      const AttentionData data(c);
      const auto want = All(RunAttention(c, data, 1));
      for (const int threads : {2, 3, 8}) {
        EXPECT_TRUE(SameBits(All(RunAttention(c, data, threads)), want)) << threads;
      }
    }
  }
}

TEST(AttentionBitsTest, DoNotDependOnTheTarget) {
  testing_arrays::ExpectSameBitsOnFmaTargets([] {
    std::vector<float> all;
    for (const int64_t size : {5, 32, 64}) {
      AttentionCase c = CaseOf(205, 197, 2, size);
      c.shape.causal = size != 32;
      c.shape.dropout = size == 64 ? 0.25 : 0.0;
      const auto one = All(RunAttention(c, AttentionData(c), 2));
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  });
}

TEST(AttentionBitsTest, DoNotDependOnOtherSamples) {
  AttentionCase c = CaseOf(70, 70, 2, 8);
  c.batch = 3;
  c.shape.dropout = 0.1;
  const AttentionData data(c);
  const AttentionResult together = RunAttention(c, data, 2);
  AttentionCase alone = c;
  alone.batch = 1;
  alone.first_sample = 1;
  AttentionData of_one(alone);
  for (auto [all, one] : {std::pair{&data.q, &of_one.q},
                          {&data.k, &of_one.k},
                          {&data.v, &of_one.v},
                          {&data.dy, &of_one.dy}}) {
    *one = Rows(*all, 70, 16, 1, 0, 70);
  }
  const AttentionResult r = RunAttention(alone, of_one, 2);
  EXPECT_TRUE(SameBits(r.y, Rows(together.y, 70, 16, 1, 0, 70)));
  EXPECT_TRUE(SameBits(r.dq, Rows(together.dq, 70, 16, 1, 0, 70)));
  EXPECT_TRUE(SameBits(r.dk, Rows(together.dk, 70, 16, 1, 0, 70)));
  EXPECT_TRUE(SameBits(r.dv, Rows(together.dv, 70, 16, 1, 0, 70)));
}

// Texts of these lengths, each alone and all in one row with padding before, between and behind;
// what the padding holds is NaN.
void ExpectTextsAsAlone(const std::vector<int64_t>& lengths, int64_t padding, bool causal) {
  constexpr int64_t kHeads = 2, kSize = 12, kStride = kHeads * kSize;
  int64_t total = padding;
  for (const int64_t length : lengths) total += length + padding;
  AttentionCase packed = CaseOf(total, total, kHeads, kSize);
  packed.shape.causal = causal;
  packed.q_segments.assign(static_cast<size_t>(total), -1);
  AttentionData data(packed);
  int64_t at = padding;
  for (size_t text = 0; text < lengths.size(); at += lengths[text++] + padding) {
    std::fill_n(packed.q_segments.begin() + at, lengths[text], static_cast<int32_t>(text));
  }
  packed.k_segments = packed.q_segments;
  for (int64_t i = 0; i < total; ++i) {
    if (packed.q_segments[static_cast<size_t>(i)] >= 0) continue;
    for (auto* x : {&data.q, &data.k, &data.v, &data.dy}) {
      std::fill_n(x->begin() + i * kStride, kStride, kNan);
    }
  }
  const AttentionResult r = RunAttention(packed, data, 2);
  at = padding;
  for (size_t text = 0; text < lengths.size(); at += lengths[text++] + padding) {
    const int64_t length = lengths[text];
    AttentionCase alone = CaseOf(length, length, kHeads, kSize);
    alone.shape.causal = causal;
    AttentionData of_one(alone);
    const auto rows = [&](const std::vector<float>& x) {
      return Rows(x, total, kStride, 0, at, at + length);
    };
    of_one.q = rows(data.q), of_one.k = rows(data.k), of_one.v = rows(data.v);
    of_one.dy = rows(data.dy);
    const AttentionResult want = RunAttention(alone, of_one, 2);
    EXPECT_TRUE(SameBits(rows(r.y), want.y)) << length;
    EXPECT_TRUE(SameBits(rows(r.dq), want.dq)) << length;
    EXPECT_TRUE(SameBits(rows(r.dk), want.dk)) << length;
    EXPECT_TRUE(SameBits(rows(r.dv), want.dv)) << length;
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t i = 0; i < length; ++i) {
        EXPECT_EQ(r.log_sum[static_cast<size_t>(h * total + at + i)],
                  want.log_sum[static_cast<size_t>(h * length + i)]);
      }
    }
  }
  for (int64_t i = 0; i < total; ++i) {  // padding gets nothing
    if (packed.q_segments[static_cast<size_t>(i)] >= 0) continue;
    const std::vector<float> zeros(kStride, 0.0f);
    for (const auto* x : {&r.y, &r.dq, &r.dk, &r.dv}) {
      EXPECT_EQ(Rows(*x, total, kStride, 0, i, i + 1), zeros);
    }
    EXPECT_EQ(r.log_sum[static_cast<size_t>(i)], -std::numeric_limits<float>::infinity());
  }
}

TEST(AttentionBitsTest, OfATextDoNotDependOnWhereItLies) {
  for (const bool causal : {false, true}) {
    ExpectTextsAsAlone({300}, 3, causal);
    ExpectTextsAsAlone({140}, 130, causal);
    ExpectTextsAsAlone({1, 129, 17, 64, 5}, 0, causal);
    ExpectTextsAsAlone({31, 200, 2}, 7, causal);
  }
}

TEST(AttentionBitsTest, OfAFewQueriesAreThoseOfTheSameRowsAmongAll) {
  const AttentionCase all = CaseOf(300, 300, 2, 33);
  const AttentionData data(all);
  const AttentionResult want = RunAttention(all, data, 1, /*backward=*/false);
  for (const int64_t last : {1, 2, 16, 17, 40, 129}) {
    for (const int64_t end : {int64_t{300}, int64_t{255}}) {
      AttentionCase few = CaseOf(last, end, 2, 33);
      few.shape.causal_offset = end - last;
      AttentionData of_few = data;
      of_few.q = Rows(data.q, 300, 66, 0, end - last, end);
      const AttentionResult r = RunAttention(few, of_few, 2, /*backward=*/false);
      EXPECT_TRUE(SameBits(r.y, Rows(want.y, 300, 66, 0, end - last, end))) << last;
    }
  }
}

TEST(AttentionBitsTest, WhatIsNotSeenMayBeAnything) {
  // The keys that earlier queries do not see, and the queries that do not see later keys.
  AttentionCase c = CaseOf(150, 150, 1, 9);
  const AttentionData data(c);
  const AttentionResult want = RunAttention(c, data, 1);
  for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    for (const int64_t at : {0, 20, 70, 130, 149}) {
      const auto spoil = [&](std::vector<float>& x) { std::fill_n(x.begin() + at * 9, 9, bad); };
      AttentionData spoilt = data;
      spoil(spoilt.k), spoil(spoilt.v);
      const AttentionResult r = RunAttention(c, spoilt, 1);
      EXPECT_TRUE(SameBits(Rows(r.y, 150, 9, 0, 0, at), Rows(want.y, 150, 9, 0, 0, at))) << at;
      EXPECT_TRUE(SameBits(Rows(r.dq, 150, 9, 0, 0, at), Rows(want.dq, 150, 9, 0, 0, at))) << at;
      for (int64_t i = at; i < 150; ++i) {  // and who sees it is told
        EXPECT_FALSE(std::isfinite(r.y[static_cast<size_t>(i * 9)]))
            << bad << ' ' << at << ' ' << i;
      }
      spoilt = data;
      spoil(spoilt.q), spoil(spoilt.dy);
      const AttentionResult later = RunAttention(c, spoilt, 1);
      for (const auto& [got, clean] :
           {std::pair{&later.dk, &want.dk}, std::pair{&later.dv, &want.dv}}) {
        EXPECT_TRUE(
            SameBits(Rows(*got, 150, 9, 0, at + 1, 150), Rows(*clean, 150, 9, 0, at + 1, 150)))
            << at;
        for (int64_t j = 0; j <= at; ++j) {
          EXPECT_FALSE(std::isfinite((*got)[static_cast<size_t>(j * 9)])) << at << ' ' << j;
        }
      }
    }
  }
}

TEST(AttentionBitsTest, ScoresThatLeaveTheRangeOfExpAreToldByNan) {
  for (const float size : {2e6f, 1e30f, std::numeric_limits<float>::infinity()}) {
    AttentionCase c = CaseOf(2, 2, 1, 1);
    c.shape.causal = false;
    c.shape.scale = 1.0f;
    AttentionData data(c);
    data.q = {size, 1.0f};
    data.k = {1.0f, 1.0f};
    const AttentionResult r = RunAttention(c, data, 1);
    EXPECT_TRUE(std::isnan(r.y[0]) && std::isnan(r.log_sum[0]) && std::isnan(r.dq[0])) << size;
    EXPECT_TRUE(std::isfinite(r.y[1]) && std::isfinite(r.log_sum[1])) << size;
  }
}

TEST(AttentionBitsTest, NothingIsAllocated) {
  AttentionCase c = CaseOf(140, 140, 3, 16);
  const AttentionData data(c);
  std::vector<float> y(data.q.size()), dq(y), dk(y), dv(y), log_sum(3 * 140);
  Context context({.threads = 2});
  std::vector<float> forward(static_cast<size_t>(AttentionScratch(2, c.shape, 1, false)));
  std::vector<float> backward(static_cast<size_t>(AttentionScratch(2, c.shape, 1, true)));
  const AttentionArgs args = {.batch = 1,
                              .q = data.q.data(),
                              .q_stride = 48,
                              .k = data.k.data(),
                              .v = data.v.data(),
                              .kv_stride = 48,
                              .y = y.data(),
                              .y_stride = 48,
                              .log_sum = log_sum.data()};
  const auto step = [&] {
    AttentionForward(context, c.shape, args, forward);
    AttentionBackward(context, c.shape, args,
                      {.dy = data.dy.data(), .dq = dq.data(), .dk = dk.data(), .dv = dv.data()},
                      backward);
  };
  step();
  const int64_t before = allocations.load();
  for (int i = 0; i < 3; ++i) step();
  EXPECT_EQ(allocations.load(), before);
}

}  // namespace
}  // namespace lockstep::ops
