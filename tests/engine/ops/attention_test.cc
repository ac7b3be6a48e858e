// Attention against its definition in double precision: shapes, masks, shared heads, dropout. What
// must not change a bit is tested in attention_bits_test.cc.
#include "engine/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "engine/base/check.h"
#include "engine/kernels/attention/attention.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/ops/attention_case.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::ops {
namespace {

class AttentionTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(AttentionTest);

constexpr double kUnit = 0x1p-24;  // half an ulp of 1

AttentionCase CaseOf(int64_t queries, int64_t keys, int64_t head_size) {
  AttentionCase c;
  c.shape = {.queries = queries,
             .keys = keys,
             .head_size = head_size,
             .scale = 1.0f / std::sqrt(static_cast<float>(head_size))};
  return c;
}

void ExpectNear(const char* what, size_t at, double got, double want, double tolerance) {
  ASSERT_TRUE(std::abs(got - want) <= tolerance)
      << what << '[' << at << "] is " << got << ", not " << want << " +- " << tolerance;
}

// One head, and the bounds of its errors. A score is a chain of head_size multiply-adds of rounded
// scale q: its error is at most (head_size + 2) u a_ij, a_ij = scale sum_c |q_ic k_jc|. That of p
// is then at most twice the largest of a row, relatively, as numerator and denominator both have
// it; exp, L and the division add fewer than 16 u, |L| u at most `largest` u more, and a sum of n
// terms n u of the sum of their magnitudes. The bounds of gradients are these sums.
struct HeadCheck {
  HeadCheck(const AttentionCase& the_case, const AttentionData& data, const AttentionResult& result,
            int64_t b, int64_t h)
      : c(the_case),
        r(result),
        n(static_cast<size_t>(c.shape.head_size)),
        b(b),
        h(h),
        key_head(h / (c.shape.heads / c.shape.key_heads)),
        q(OfQueries(data.q)),
        dy(OfQueries(data.dy)),
        k(OfKeys(data.k)),
        v(OfKeys(data.v)),
        rules(RulesOf(c, b, h)),
        dv_bound(v.size(), 0.0),
        dk_bound(k.size(), 0.0) {
    double largest = 0.0;
    for (size_t i = 0; i < q.size() / n; ++i) {
      for (size_t j = 0; j < k.size() / n; ++j) {
        double a = 0.0;
        for (size_t x = 0; x < n; ++x) a += std::abs(q[i * n + x] * k[j * n + x]);
        largest = std::max(largest, a * rules.scale);
      }
    }
    const auto terms = static_cast<double>(
        std::max(c.shape.keys, c.shape.queries * (c.shape.heads / c.shape.key_heads)));
    const auto size = static_cast<double>(n);
    relative = kUnit * (2.0 * (size + 2.0) * largest + 2.0 * largest + terms + size + 16.0);
  }

  std::vector<double> OfQueries(const std::vector<float>& x) const {
    return HeadRows(x, c.shape.queries, c.q_stride(), c.shape.head_size, b, h);
  }
  std::vector<double> OfKeys(const std::vector<float>& x) const {
    return HeadRows(x, c.shape.keys, c.kv_stride(), c.shape.head_size, b, key_head);
  }

  void Rows() {
    const auto y = OfQueries(r.y), dq = OfQueries(r.dq);
    const auto want = reference::AttentionBackward(q, k, v, dy, n, rules);
    const size_t keys = k.size() / n;
    for (size_t i = 0; i < q.size() / n; ++i) {
      const auto row = reference::AttendRow(q, k, v, n, rules, i);
      const auto at = static_cast<size_t>((b * c.shape.heads + h) * c.shape.queries) + i;
      const auto log_sum = static_cast<double>(r.log_sum[at]);
      if (std::isinf(row.log_sum)) {
        ASSERT_EQ(log_sum, row.log_sum);
      } else {
        ExpectNear("L", i, log_sum, row.log_sum, relative + kUnit * std::abs(row.log_sum));
      }
      std::vector<double> dq_bound(n, 0.0), y_bound(n, 0.0);
      double dots = 0.0;
      for (size_t x = 0; x < n; ++x) dots += std::abs(dy[i * n + x] * row.y[x]);
      for (size_t j = 0; j < keys; ++j) {
        if (!rules.sees(i, j)) continue;
        const double keep = rules.keep(i, j);
        double dp = 0.0;
        for (size_t x = 0; x < n; ++x) dp += keep * std::abs(dy[i * n + x] * v[j * n + x]);
        const double ds = row.p[j] * (dp + dots) * rules.scale;
        for (size_t x = 0; x < n; ++x) {
          y_bound[x] += keep * row.p[j] * std::abs(v[j * n + x]);
          dq_bound[x] += ds * std::abs(k[j * n + x]);
          dk_bound[j * n + x] += ds * std::abs(q[i * n + x]);
          dv_bound[j * n + x] += keep * row.p[j] * std::abs(dy[i * n + x]);
        }
      }
      // D has the error of y too, hence twice.
      for (size_t x = 0; x < n; ++x) {
        ExpectNear("y", i * n + x, y[i * n + x], row.y[x], relative * y_bound[x]);
        ExpectNear("dq", i * n + x, dq[i * n + x], want.dq[i * n + x],
                   2.0 * relative * dq_bound[x]);
      }
    }
    dk = want.dk, dv = want.dv;
  }

  const AttentionCase& c;
  const AttentionResult& r;
  size_t n;
  int64_t b, h, key_head;
  std::vector<double> q, dy, k, v;
  reference::AttentionRules rules;
  std::vector<double> dv_bound, dk_bound;
  double relative = 0.0;
  std::vector<double> dk, dv;  // what the reference finds
};

void ExpectRight(const AttentionCase& c, int threads = 2) {
  const AttentionData data(c);
  const AttentionResult r = RunAttention(c, data, threads);
  const int64_t group = c.shape.heads / c.shape.key_heads;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t kh = 0; kh < c.shape.key_heads; ++kh) {
      HeadCheck all(c, data, r, b, kh * group);
      ASSERT_NO_FATAL_FAILURE(all.Rows());
      for (int64_t g = 1; g < group; ++g) {
        HeadCheck one(c, data, r, b, kh * group + g);
        ASSERT_NO_FATAL_FAILURE(one.Rows());
        all.relative = std::max(all.relative, one.relative);
        for (size_t x = 0; x < all.dk.size(); ++x) {
          all.dk[x] += one.dk[x], all.dv[x] += one.dv[x];
          all.dk_bound[x] += one.dk_bound[x], all.dv_bound[x] += one.dv_bound[x];
        }
      }
      const auto dk = all.OfKeys(r.dk), dv = all.OfKeys(r.dv);
      for (size_t x = 0; x < dk.size(); ++x) {
        ASSERT_NO_FATAL_FAILURE(
            ExpectNear("dk", x, dk[x], all.dk[x], 2.0 * all.relative * all.dk_bound[x]));
        ASSERT_NO_FATAL_FAILURE(
            ExpectNear("dv", x, dv[x], all.dv[x], all.relative * all.dv_bound[x]));
      }
    }
  }
  // Between the heads' rows nothing was written.
  for (const auto* x : {&r.y, &r.dq}) {
    for (int64_t i = 0; i < c.q_size(); ++i) {
      if (i % c.q_stride() >= c.q_stride() - c.gap) {
        ASSERT_TRUE(std::isnan((*x)[static_cast<size_t>(i)]));
      }
    }
  }
  for (const auto* x : {&r.dk, &r.dv}) {
    for (int64_t i = 0; i < c.kv_size(); ++i) {
      if (i % c.kv_stride() >= c.kv_stride() - c.gap) {
        ASSERT_TRUE(std::isnan((*x)[static_cast<size_t>(i)]));
      }
    }
  }
}

TEST_P(AttentionTest, IsItsDefinitionAtAnyLength) {
  for (const int64_t length : {1, 2, 13, 31, 63, 64, 65, 127, 131, 257}) {
    for (const bool causal : {false, true}) {
      SCOPED_TRACE(testing::Message() << length << (causal ? " causal" : ""));
      AttentionCase c = CaseOf(length, length, length < 100 ? 17 : 16);
      c.shape.causal = causal;
      c.gap = length % 4;
      ASSERT_NO_FATAL_FAILURE(ExpectRight(c));
    }
  }
}

TEST_P(AttentionTest, IsItsDefinitionAtAnyHeadSize) {
  for (const int64_t size : {1, 3, 8, 16, 33, 64, 80, 127}) {
    SCOPED_TRACE(size);
    AttentionCase c = CaseOf(70, 67, size);
    c.shape.causal = true;
    ASSERT_NO_FATAL_FAILURE(ExpectRight(c));
  }
}

TEST_P(AttentionTest, AlignsEitherCornerOfACausalMask) {
  for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{5, 150}, {150, 5}, {40, 70}}) {
    for (const int64_t offset : {int64_t{0}, keys - queries, int64_t{-7}, int64_t{1000}}) {
      SCOPED_TRACE(testing::Message() << queries << " x " << keys << " offset " << offset);
      AttentionCase c = CaseOf(queries, keys, 16);
      c.shape.causal = true;
      c.shape.causal_offset = offset;
      ASSERT_NO_FATAL_FAILURE(ExpectRight(c));
    }
  }
}

TEST_P(AttentionTest, HeadsShareKeyHeads) {
  for (const int64_t key_heads : {1, 2, 6}) {
    AttentionCase c = CaseOf(37, 37, 8);
    c.batch = 2;
    c.shape.heads = 6;
    c.shape.key_heads = key_heads;
    c.shape.causal = true;
    c.gap = 5;
    ASSERT_NO_FATAL_FAILURE(ExpectRight(c));
  }
}

TEST_P(AttentionTest, KeepsTextsApart) {
  // Runs of all lengths, padding between, a text that goes on later, one that only keys have.
  AttentionCase c = CaseOf(150, 150, 16);
  c.batch = 2;
  c.shape.heads = 2;
  c.shape.key_heads = 2;
  for (int64_t row = 0; row < 300; ++row) {
    const int64_t i = row % 150;
    const int32_t text = i < 3 ? -1 : i < 40 ? 4 : i < 41 ? 9 : i < 100 ? 2 : i < 120 ? 4 : -3;
    c.q_segments.push_back(text);
    c.k_segments.push_back(text == 9 && row < 150 ? 7 : text);
  }
  for (const bool causal : {false, true}) {
    c.shape.causal = causal;
    ASSERT_NO_FATAL_FAILURE(ExpectRight(c));
  }
}

TEST_P(AttentionTest, DropsTheSameWeightsForwardAndBackward) {
  AttentionCase c = CaseOf(75, 66, 9);
  c.batch = 2;
  c.shape.heads = 3;
  c.shape.key_heads = 3;
  c.shape.dropout = 0.3;
  c.first_sample = 11;
  c.seed = 0x123456789ABCDEF;
  for (const bool causal : {false, true}) {
    c.shape.causal = causal;
    ASSERT_NO_FATAL_FAILURE(ExpectRight(c));
  }
}

TEST(AttentionDropoutTest, KeepsTheMeanAndDropsItsShare) {
  // All weights 1 / keys and v = 1: y is the share that is kept over 1 - p.
  AttentionCase c = CaseOf(200, 500, 1);
  c.shape.dropout = 0.2;
  AttentionData data(c);
  std::fill(data.q.begin(), data.q.end(), 0.0f);
  std::fill(data.v.begin(), data.v.end(), 1.0f);
  const AttentionResult r = RunAttention(c, data, 1, /*backward=*/false);
  double mean = 0.0;
  for (const float y : r.y) mean += static_cast<double>(y) / 200.0;
  // Deviation of the mean of 1e5 draws: sqrt(0.2 / 0.8 / 1e5) = 1.6e-3. Four of them.
  EXPECT_TRUE(std::abs(mean - 1.0) <= 6.4e-3) << mean;
  // Another step, sample, head or seed draws another mask.
  AttentionCase other = c;
  other.first_sample = 1;
  EXPECT_NE(RunAttention(other, data, 1, false).y, r.y);
  other = c;
  other.seed = 2;
  EXPECT_NE(RunAttention(other, data, 1, false).y, r.y);
}

// The gradients of the reference are derivatives of its own y, dropout included.
TEST(AttentionReferenceTest, GradientsAreTheDerivativesByComplexStep) {
  AttentionCase c = CaseOf(5, 6, 3);
  c.shape.causal = true;
  c.shape.causal_offset = 1;
  c.shape.dropout = 0.4;
  const AttentionData data(c);
  const auto rules = RulesOf(c, 0, 0);
  const auto q = HeadRows(data.q, 5, 3, 3, 0, 0), dy = HeadRows(data.dy, 5, 3, 3, 0, 0);
  const auto k = HeadRows(data.k, 6, 3, 3, 0, 0), v = HeadRows(data.v, 6, 3, 3, 0, 0);
  const auto want = reference::AttentionBackward(q, k, v, dy, 3, rules);
  using Complex = std::vector<std::complex<double>>;
  const auto slope = [&](const Complex& cq, const Complex& ck, const Complex& cv) {
    double sum = 0.0;
    for (size_t i = 0; i < 5; ++i) {
      const auto y = reference::AttendRow(cq, ck, cv, 3, rules, i).y;
      for (size_t x = 0; x < 3; ++x) sum += dy[i * 3 + x] * y[x].imag() * 1e50;
    }
    return sum;
  };
  const Complex cq(q.begin(), q.end()), ck(k.begin(), k.end()), cv(v.begin(), v.end());
  const std::complex<double> step(0.0, 1e-50);
  for (size_t x = 0; x < q.size(); ++x) {
    Complex moved = cq;
    moved[x] += step;
    EXPECT_TRUE(std::abs(slope(moved, ck, cv) - want.dq[x]) <= 1e-13);
  }
  for (size_t x = 0; x < k.size(); ++x) {
    Complex moved = ck;
    moved[x] += step;
    EXPECT_TRUE(std::abs(slope(cq, moved, cv) - want.dk[x]) <= 1e-13);
    moved = cv;
    moved[x] += step;
    EXPECT_TRUE(std::abs(slope(cq, ck, moved) - want.dv[x]) <= 1e-13);
  }
}

TEST_P(AttentionTest, LargeScoresOfEitherSignKeepTheirDifferences) {
  // k_j = j, q = +-1000: weights of neighbours differ by e^1000, and the tiles' own largest scores
  // climb or fall by 128000 from one to the next.
  for (const float sign : {1.0f, -1.0f}) {
    AttentionCase c = CaseOf(3, 300, 1);
    AttentionData data(c);
    for (size_t j = 0; j < 300; ++j) data.k[j] = static_cast<float>(j);
    std::fill(data.q.begin(), data.q.end(), 1000.0f * sign);
    const AttentionResult r = RunAttention(c, data, 1);
    const size_t top = sign > 0.0f ? 299 : 0;
    for (size_t i = 0; i < 3; ++i) {
      // The weight is a power of two only nearly: it, 1 / l and their product are rounded.
      const auto v = static_cast<double>(data.v[top]);
      const double score = static_cast<double>(data.q[0]) * static_cast<double>(data.k[top]);
      ExpectNear("y", i, static_cast<double>(r.y[i]), v, 3.0 * kUnit * std::abs(v));
      ExpectNear("L", i, static_cast<double>(r.log_sum[i]), score, 2.0 * kUnit * std::abs(score));
    }
    for (size_t j = 0; j < 300; ++j) EXPECT_EQ(r.dv[j] != 0.0f, j == top);
  }
}

TEST(AttentionOpTest, EmptyBatchesAndSidesAreLegal) {
  AttentionCase c = CaseOf(4, 3, 5);
  c.batch = 0;
  EXPECT_TRUE(RunAttention(c, AttentionData(c), 2).y.empty());
  c = CaseOf(4, 0, 5);  // no keys: y and dq are 0
  const AttentionResult r = RunAttention(c, AttentionData(c), 2);
  EXPECT_EQ(r.y, std::vector<float>(20, 0.0f));
  EXPECT_EQ(r.dq, std::vector<float>(20, 0.0f));
  c = CaseOf(0, 4, 5);  // no queries: dk and dv are 0
  const AttentionResult none = RunAttention(c, AttentionData(c), 2);
  EXPECT_EQ(none.dk, std::vector<float>(20, 0.0f));
  EXPECT_EQ(none.dv, std::vector<float>(20, 0.0f));
}

TEST(AttentionOpTest, RefusesWhatItCannotMean) {
  AttentionCase c = CaseOf(4, 4, 2);
  c.shape.heads = 3;
  c.shape.key_heads = 2;
  EXPECT_THROW(RunAttention(c, AttentionData(c), 1), CheckFailure);
  c = CaseOf(4, 4, 2);
  c.shape.dropout = 1.0;
  EXPECT_THROW(RunAttention(c, AttentionData(c), 1), CheckFailure);
  c = CaseOf(4, 4, 2);
  c.q_segments = {0, 0, 0, 0};
  EXPECT_THROW(RunAttention(c, AttentionData(c), 1), CheckFailure);
}

TEST(AttentionOpTest, MemoryGrowsWithTheLengthAtMostLinearly) {
  // Twelve heads of 64: beside what each thread has whatever the length, one float a query.
  const auto scratch = [](int64_t length, bool backward) {
    AttentionShape shape{.queries = length, .keys = length, .heads = 12, .key_heads = 12};
    shape.head_size = 64;
    return AttentionScratch(2, shape, 1, backward);
  };
  EXPECT_EQ(scratch(16384, false), 2 * kernels::AttentionForwardScratch(64));
  EXPECT_EQ(scratch(16384, true), 2 * kernels::AttentionBackwardScratch(64) + 12 * 16384);
  EXPECT_EQ(scratch(16384, true) - scratch(64, true), 12 * (16384 - 64));
  EXPECT_LE(kernels::AttentionBackwardScratch(64), 200000);
}

TEST(AttentionOpTest, LongSumsStayAccurate) {
  // 16384 equal weights of equal values: chains of 128 that are added in order lose at most
  // (128 + 128) u, where one chain could lose 16384.
  AttentionCase c = CaseOf(1, 16384, 1);
  AttentionData data(c);
  std::fill(data.q.begin(), data.q.end(), 0.0f);
  std::fill(data.v.begin(), data.v.end(), 0.1f);
  const AttentionResult r = RunAttention(c, data, 1, /*backward=*/false);
  EXPECT_TRUE(std::abs(static_cast<double>(r.y[0]) - static_cast<double>(0.1f)) <=
              256.0 * kUnit * 0.1);
  EXPECT_TRUE(std::abs(static_cast<double>(r.log_sum[0]) - std::log(16384.0)) <= 20.0 * kUnit);
}

}  // namespace
}  // namespace lockstep::ops
