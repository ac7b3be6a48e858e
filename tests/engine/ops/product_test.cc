#include "engine/ops/product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "tests/reference/gemm.h"
//
#include <hwy/highway.h>
#include <hwy/tests/test_util-inl.h>

namespace lockstep::inline v0_1 {
namespace {

using kernels::Activation;
using kernels::RowMajor;

bool TargetFuses() { return (hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX2 | HWY_NEON)) != 0; }

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("product"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

struct Problem {
  int64_t m, n, k;
  bool transposed = false;  // both operands
  std::vector<int64_t> segments = {}, row_grid = {};
};

// C = relu(scale * (C_old + A B) + bias + add) on `threads` threads. Scratch starts as NaN and must
// suffice.
std::vector<float> Solve(const Problem& p, int threads,
                         std::optional<ops::BlockFinished> finished = {}) {
  Context ctx({.threads = threads});
  const std::vector<float> a = RandomFloats(p.m * p.k, 1), b = RandomFloats(p.k * p.n, 2);
  const std::vector<float> bias = RandomFloats(p.n, 3), scale = RandomFloats(p.n, 5);
  const std::vector<float> add = RandomFloats(p.m * p.n, 6);
  std::vector<float> c = RandomFloats(p.m * p.n, 4);
  const int64_t segments = std::max<int64_t>(1, static_cast<int64_t>(p.segments.size()) - 1);
  std::vector<float> scratch(
      static_cast<size_t>(ops::ProductScratch(threads, p.m, p.n, p.k, segments)), kNan);
  ops::Product(ctx,
               {.m = p.m,
                .n = p.n,
                .k = p.k,
                .a = p.transposed ? RowMajor(a.data(), p.m).Transposed() : RowMajor(a.data(), p.k),
                .b = p.transposed ? RowMajor(b.data(), p.k).Transposed() : RowMajor(b.data(), p.n),
                .c = c.data(),
                .c_stride = p.n,
                .accumulate = true,
                .epilogue = {.scale = scale.data(),
                             .bias = bias.data(),
                             .add = add.data(),
                             .add_stride = p.n,
                             .activation = Activation::kRelu},
                .segments = p.segments,
                .row_grid = p.row_grid,
                .finished = finished},
               scratch);
  return c;
}

const std::vector<Problem>& Problems() {
  static const std::vector<Problem> problems = {
      {.m = 32, .n = 64, .k = 20, .transposed = true},
      {.m = 300, .n = 70, .k = 65, .transposed = false},
      {.m = 270, .n = 530, .k = 300, .transposed = true},
      {.m = 1, .n = 700, .k = 260, .transposed = true},
      {.m = 1, .n = 96, .k = 1303, .transposed = true},
      {.m = 1, .n = 64, .k = 27, .transposed = true},
      {.m = 700, .n = 1, .k = 260, .transposed = false},
      {.m = 65, .n = 140, .k = 270, .transposed = true, .segments = {0, 30, 100, 101, 200, 270}},
      {.m = 1, .n = 1, .k = 1537},
      {.m = 40, .n = 70, .k = 2311, .transposed = true, .segments = {0, 0, 257, 258, 1500, 2311}},
      {.m = 410,
       .n = 300,
       .k = 40,
       .transposed = false,
       .segments = {},
       .row_grid = {0, 128, 200, 328, 400, 410}},
  };
  return problems;
}

class ProductTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ProductTest);

TEST_P(ProductTest, HasTheSameBitsForAnyNumberOfThreads) {
  for (const Problem& problem : Problems()) {
    SCOPED_TRACE(testing::Message() << problem.m << "x" << problem.n << "x" << problem.k);
    const std::vector<float> one = Solve(problem, 1);
    for (const int threads : {2, 3, 8}) {
      const std::vector<float> many = Solve(problem, threads);
      EXPECT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0) << threads;
    }
  }
}

TEST_P(ProductTest, AddsInTheOrderOfItsContract) {
  for (const Problem& p : Problems()) {
    SCOPED_TRACE(testing::Message() << p.m << "x" << p.n << "x" << p.k);
    const std::vector<float> a = RandomFloats(p.m * p.k, 1), b = RandomFloats(p.k * p.n, 2);
    const std::vector<float> bias = RandomFloats(p.n, 3), scale = RandomFloats(p.n, 5);
    const std::vector<float> old = RandomFloats(p.m * p.n, 4), add = RandomFloats(p.m * p.n, 6);
    const kernels::Epilogue epilogue{.scale = scale.data(),
                                     .bias = bias.data(),
                                     .add = add.data(),
                                     .add_stride = p.n,
                                     .activation = Activation::kRelu};
    const auto view_a =
        p.transposed ? RowMajor(a.data(), p.m).Transposed() : RowMajor(a.data(), p.k);
    const auto view_b =
        p.transposed ? RowMajor(b.data(), p.k).Transposed() : RowMajor(b.data(), p.n);
    const std::vector<int64_t> whole = {0, p.k};
    const std::vector<int64_t>& bounds = p.segments.empty() ? whole : p.segments;
    const std::vector<float> c = Solve(p, 2);
    if (!TargetFuses()) GTEST_SKIP() << "this target rounds products before it adds them";
    for (int64_t at = 0; at < p.m * p.n; at += 7) {
      const auto i = static_cast<size_t>(at);
      const float sum = reference::GemmTree<float>(view_a, view_b, at / p.n, at % p.n, bounds, 0,
                                                   bounds.size() - 1);
      const float want = reference::GemmFinish(sum, &old[i], epilogue, at / p.n, at % p.n);
      ASSERT_EQ(std::bit_cast<uint32_t>(c[i]), std::bit_cast<uint32_t>(want)) << at;
    }
  }
}

TEST_P(ProductTest, HandsOverEachElementOnceInWholeCellsOfTheGrid) {
  for (const Problem& p : Problems()) {
    for (const int threads : {1, 3}) {
      SCOPED_TRACE(testing::Message() << p.m << "x" << p.n << "x" << p.k << " on " << threads);
      std::vector<std::array<int64_t, 4>> blocks;
      std::mutex mutex;
      const auto collect = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
        const std::lock_guard lock(mutex);
        blocks.push_back({r0, r1, c0, c1});
      };
      Solve(p, threads, ops::BlockFinished(collect));
      std::vector<int> times(static_cast<size_t>(p.m * p.n));
      for (const auto& [r0, r1, c0, c1] : blocks) {
        EXPECT_EQ(c0 % 16, 0);
        if (!p.row_grid.empty()) {
          const auto cell = std::find(p.row_grid.begin(), p.row_grid.end(), r0);
          ASSERT_NE(cell, p.row_grid.end());
          EXPECT_EQ(*(cell + 1), r1);
        }
        for (int64_t i = r0; i < r1; ++i) {
          for (int64_t j = c0; j < c1; ++j) ++times[static_cast<size_t>(i * p.n + j)];
        }
      }
      EXPECT_EQ(std::count(times.begin(), times.end(), 1), p.m * p.n);
    }
  }
}

// The block must be complete when it is handed over: its numbers are those the caller finds at the
// end.
TEST_P(ProductTest, HandsOverFinishedNumbers) {
  const Problem p{.m = 410, .n = 300, .k = 700, .row_grid = {0, 128, 256, 384, 410}};
  const std::vector<float> want = Solve(p, 1);
  for (const int threads : {1, 2}) {
    Context ctx({.threads = threads});
    const std::vector<float> a = RandomFloats(p.m * p.k, 1), b = RandomFloats(p.k * p.n, 2);
    const std::vector<float> bias = RandomFloats(p.n, 3), scale = RandomFloats(p.n, 5);
    const std::vector<float> add = RandomFloats(p.m * p.n, 6);
    std::vector<float> c = RandomFloats(p.m * p.n, 4);
    std::vector<float> scratch(static_cast<size_t>(ops::ProductScratch(threads, p.m, p.n, p.k)),
                               kNan);
    std::atomic<int64_t> wrong = 0;
    const auto compare = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
      for (int64_t i = r0; i < r1; ++i) {
        for (int64_t j = c0; j < c1; ++j) {
          const auto at = static_cast<size_t>(i * p.n + j);
          if (!(c[at] == want[at])) ++wrong;
        }
      }
    };
    ops::Product(ctx,
                 {.m = p.m,
                  .n = p.n,
                  .k = p.k,
                  .a = RowMajor(a.data(), p.k),
                  .b = RowMajor(b.data(), p.n),
                  .c = c.data(),
                  .c_stride = p.n,
                  .accumulate = true,
                  .epilogue = {.scale = scale.data(),
                               .bias = bias.data(),
                               .add = add.data(),
                               .add_stride = p.n,
                               .activation = Activation::kRelu},
                  .row_grid = p.row_grid,
                  .finished = ops::BlockFinished(compare)},
                 scratch);
    EXPECT_EQ(wrong.load(), 0);
  }
}

TEST_P(ProductTest, ScratchForTheLargestBatchServesSmallerOnes) {
  for (const int threads : {1, 4}) {
    for (const int64_t k : {1, 100, 700}) {
      const int64_t largest = ops::ProductScratch(threads, 300, 600, k, 8);
      for (const int64_t m : {0, 1, 2, 31, 255, 300}) {
        for (const int64_t n : {0, 1, 20, 600}) {
          for (const int64_t s : {1, 3, 8}) {
            EXPECT_LE(ops::ProductScratch(threads, m, n, k, s), largest);
            EXPECT_LE(ops::ProductScratch(threads, m, n, k / 2, s), largest);
          }
        }
      }
    }
  }
}

TEST_P(ProductTest, RefusesTooLittleScratch) {
  Context ctx({.threads = 1});
  const std::vector<float> a(64 * 64), b(64 * 64);
  std::vector<float> c(64 * 64), scratch(10);
  EXPECT_THROW(ops::Product(ctx,
                            {.m = 64,
                             .n = 64,
                             .k = 64,
                             .a = RowMajor(a.data(), 64),
                             .b = RowMajor(b.data(), 64),
                             .c = c.data(),
                             .c_stride = 64},
                            scratch),
               CheckFailure);
}

}  // namespace
}  // namespace lockstep
