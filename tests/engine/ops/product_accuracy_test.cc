// How far long sums are from what they would be without rounding.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/ops/product.h"
#include "engine/parallel/context.h"

namespace lockstep::inline v0_1 {
namespace {

using kernels::ConstMatrix;
using kernels::RowMajor;

enum class Values { kTenth, kRandom };  // same-signed, which lets errors add up; or of either sign

std::vector<float> Fill(int64_t count, Values values, uint64_t seed) {
  std::vector<float> data(static_cast<size_t>(count), 0.1f);
  if (values == Values::kTenth) return data;
  Random random(seed, StreamOf("product accuracy"));
  for (float& v : data) v = static_cast<float>(random.Normal());
  return data;
}

struct Case {
  std::string name;
  int64_t m, n;
  bool rows_last;       // A (m, k) with k beside each other, B as y = x W^T has it; or as dW has
  bool ones_a = false;  // A = 1, as db has it
  int64_t segments = 1;
};

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {.name = "y", .m = 3, .n = 5, .rows_last = true},
      {.name = "y of one output", .m = 3, .n = 1, .rows_last = true},
      {.name = "y of one element", .m = 1, .n = 1, .rows_last = true},
      {.name = "dW", .m = 3, .n = 5, .rows_last = false},
      {.name = "dW in shards", .m = 3, .n = 5, .rows_last = false, .segments = 8},
      {.name = "db in shards", .m = 1, .n = 5, .rows_last = false, .ones_a = true, .segments = 8},
      {.name = "db of one output", .m = 1, .n = 1, .rows_last = false, .ones_a = true},
  };
  return cases;
}

// Every product a b passes at most 256 roundings in its chain (with or without fusing: its own and
// 256), then one at each level of the tree over chains and of that over segments. So the error is
// at most that many half ulps of the sum of magnitudes, to first order; the factor covers the rest.
double Bound(int64_t k, int64_t segments) {
  const auto levels = [](int64_t count) {
    return std::bit_width(static_cast<uint64_t>(count - 1));
  };
  const int64_t chains = ((k + segments - 1) / segments + 255) / 256;
  return 1.001 * 0x1p-24 * static_cast<double>(257 + levels(chains) + levels(segments));
}

// What PyTorch 2 (CPU) was measured to lose where all inputs are 0.1, as a part of the sum: no user
// who comes from there is to find less accurate sums. Measured at 1e3, 1e5 and 1e6.
double PytorchError(int64_t k) { return k < 100'000 ? 9e-7 : k < 1'000'000 ? 2.6e-6 : 3.2e-5; }

// The largest error, as a part of the element's sum of magnitudes.
double LargestError(const Case& c, int64_t k, Values values) {
  const float one = 1.0f;
  const std::vector<float> a = Fill(c.ones_a ? 1 : c.m * k, values, 1);
  const std::vector<float> b = Fill(c.n * k, values, 2);
  const ConstMatrix view_a = c.ones_a      ? ConstMatrix{&one, 0, 0}
                             : c.rows_last ? RowMajor(a.data(), k)
                                           : RowMajor(a.data(), c.m).Transposed();
  const ConstMatrix view_b =
      c.rows_last ? RowMajor(b.data(), k).Transposed() : RowMajor(b.data(), c.n);
  std::vector<int64_t> segments;
  for (int64_t s = 0; s <= c.segments; ++s) segments.push_back(k * s / c.segments);
  Context ctx({.threads = 1});
  std::vector<float> out(static_cast<size_t>(c.m * c.n));
  std::vector<float> scratch(static_cast<size_t>(ops::ProductScratch(1, c.m, c.n, k, c.segments)));
  ops::Product(ctx,
               {.m = c.m,
                .n = c.n,
                .k = k,
                .a = view_a,
                .b = view_b,
                .c = out.data(),
                .c_stride = c.n,
                .segments = segments},
               scratch);
  double largest = 0.0;
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c.n; ++j) {
      double want = 0.0, size = 0.0;
      for (int64_t p = 0; p < k; ++p) {
        const double term =
            static_cast<double>(view_a.data[i * view_a.row_stride + p * view_a.col_stride]) *
            static_cast<double>(view_b.data[p * view_b.row_stride + j * view_b.col_stride]);
        want += term;
        size += std::abs(term);
      }
      const double error = std::abs(out[static_cast<size_t>(i * c.n + j)] - want) / size;
      if (!(error <= largest)) largest = error;  // a NaN stays
      if (std::isnan(largest)) return largest;
    }
  }
  return largest;
}

TEST(ProductAccuracy, LongSumsStayWithinTheBoundOfTheirTree) {
  for (const Case& c : Cases()) {
    for (const int64_t k : {1'000, 10'000, 100'000, 1'000'000}) {
      for (const Values values : {Values::kTenth, Values::kRandom}) {
        SCOPED_TRACE(testing::Message() << c.name << ", k = " << k);
        const double error = LargestError(c, k, values);
        EXPECT_TRUE(error <= Bound(k, c.segments)) << error;
        if (values == Values::kTenth) {
          EXPECT_TRUE(error <= 4.0 * PytorchError(k)) << error;
        }
      }
    }
  }
}

// Linear(1) with zero weights under mean squared error, batch 1e5, x = y = 0.1: dz = -2 / 1e5 * 0.1
// in every row. One chain gave -0.199787.
TEST(ProductAccuracy, TheBiasGradientOfALargeBatchIsRight) {
  constexpr int64_t kRows = 100'000;
  const float one = 1.0f;
  const std::vector<float> dz(kRows, -2.0f / kRows * 0.1f);
  for (const int64_t shards : {1, 8}) {
    std::vector<int64_t> segments;
    for (int64_t s = 0; s <= shards; ++s) segments.push_back(kRows * s / shards);
    Context ctx({.threads = 1});
    float db = 0.0f;
    std::vector<float> scratch(static_cast<size_t>(ops::ProductScratch(1, 1, 1, kRows, shards)));
    ops::Product(ctx,
                 {.m = 1,
                  .n = 1,
                  .k = kRows,
                  .a = {&one, 0, 0},
                  .b = RowMajor(dz.data(), 1),
                  .c = &db,
                  .c_stride = 1,
                  .segments = segments},
                 scratch);
    EXPECT_TRUE(std::abs(db + 0.2) <= 0.2 * 4.0 * PytorchError(kRows)) << db;
  }
}

}  // namespace
}  // namespace lockstep
