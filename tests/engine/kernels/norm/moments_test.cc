#include "engine/kernels/norm/moments.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/batch_norm.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::ExpectSameBitsOnFmaTargets;
using testing_arrays::Guarded;
using testing_arrays::HasFma;
using testing_arrays::kFloatEps;
using testing_arrays::kInf;
using testing_arrays::kNan;
using testing_arrays::Normals;

class MomentsTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(MomentsTest);

struct Result {
  std::vector<double> mean, m2;
};

Result Take(const float* x, int64_t rows, int64_t channels, int64_t stride) {
  // A guard behind each result finds writes past its end.
  constexpr double kGuard = -12345.0;
  Result result{std::vector<double>(static_cast<size_t>(channels) + 1, NAN),
                std::vector<double>(static_cast<size_t>(channels) + 1, NAN)};
  result.mean.back() = result.m2.back() = kGuard;
  ColumnMoments(x, rows, channels, stride, result.mean.data(), result.m2.data());
  EXPECT_EQ(result.mean.back(), kGuard);
  EXPECT_EQ(result.m2.back(), kGuard);
  result.mean.pop_back();
  result.m2.pop_back();
  return result;
}

Result Take(const std::vector<float>& x, int64_t channels) {
  return Take(x.data(), static_cast<int64_t>(x.size()) / channels, channels, channels);
}

reference::BatchNormResult<double> Want(const std::vector<float>& x, int64_t channels) {
  reference::BatchNormResult<double> want;
  reference::BatchMoments(x.data(), static_cast<int64_t>(x.size()) / channels, channels, want);
  return want;
}

TEST_P(MomentsTest, MatchesDoubleTwoPassOnOddShapesAndStrides) {
  for (const int64_t channels : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 33, 64, 513, 1030}) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 97, 128, 259}) {
      const int64_t stride = channels + rows % 3;
      const std::vector<float> dense = Normals(rows * channels, /*seed=*/7, /*mean=*/3.0);
      Guarded x((rows - 1) * stride + channels);  // NaN between the rows
      for (int64_t r = 0; r < rows; ++r) {
        std::copy_n(dense.data() + r * channels, channels, x.data() + r * stride);
      }
      const Result got = Take(x.data(), rows, channels, stride);
      const auto want = Want(dense, channels);
      for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
        // 32 differences of size 1 add up with half an ulp each, whose signs differ; the squares
        // lie a few times above M2, see the shift in moments.cc.
        ASSERT_TRUE(std::abs(got.mean[c] - want.mean[c]) <= 4 * kFloatEps * 4) << rows;
        const double m2 = want.variance[c] * static_cast<double>(rows);
        ASSERT_TRUE(std::abs(got.m2[c] - m2) <= 16 * kFloatEps * m2) << rows << "x" << channels;
      }
    }
  }
}

TEST_P(MomentsTest, OfNoRowsAreZero) {
  const Result got = Take(nullptr, 0, 5, 5);
  EXPECT_EQ(got.mean, std::vector<double>(5, 0.0));
  EXPECT_EQ(got.m2, std::vector<double>(5, 0.0));
}

TEST_P(MomentsTest, OneRowHasNoVariance) {
  const std::vector<float> x = {0.1f, -1e30f, 1e-30f, 0.0f, 3.4e38f};
  const Result got = Take(x, 5);
  for (size_t c = 0; c < x.size(); ++c) {
    EXPECT_EQ(got.mean[c], static_cast<double>(x[c]));
    EXPECT_EQ(got.m2[c], 0.0);
  }
}

TEST_P(MomentsTest, ConstantColumnsHaveExactlyNoVariance) {
  const std::vector<float> values = {0.0f,  -0.0f,   1.0f,     0.1f,   1.0f / 3,
                                     1e30f, 3.4e38f, -3.4e38f, 1e-30f, 12345.678f};
  const auto channels = static_cast<int64_t>(values.size());
  for (const int64_t rows : {2, 3, 31, 32, 100, 1000}) {
    std::vector<float> x;
    for (int64_t r = 0; r < rows; ++r) x.insert(x.end(), values.begin(), values.end());
    const Result got = Take(x, channels);
    for (size_t c = 0; c < values.size(); ++c) {
      EXPECT_EQ(got.mean[c], static_cast<double>(values[c])) << rows;
      EXPECT_EQ(got.m2[c], 0.0) << values[c];
    }
  }
}

// The promise for batch statistics: mean / sd = 1e4 over 1e5 rows, variance within 1e-5.
TEST_P(MomentsTest, KeepVarianceUnderALargeMean) {
  const std::vector<float> x = Normals(100000 * 2, /*seed=*/11, /*mean=*/1e4, /*sd=*/1.0);
  const Result got = Take(x, 2);
  const auto want = Want(x, 2);
  for (size_t c = 0; c < 2; ++c) {
    EXPECT_TRUE(std::abs(got.mean[c] - want.mean[c]) <= 1e-6) << got.mean[c] - want.mean[c];
    const double error = got.m2[c] / 1e5 / want.variance[c] - 1.0;
    EXPECT_TRUE(std::abs(error) <= 1e-6) << error;
  }
}

// The worst that data can do to the shift: outliers among the first rows of every tile.
TEST_P(MomentsTest, KeepVarianceWithOutliersAnywhereInATile) {
  for (const double outlier : {1e2, 1e6}) {
    std::vector<float> x = Normals(320 * 33, /*seed=*/5);
    for (int64_t c = 1; c < 33; ++c) {  // column c: an outlier in every tile's row c - 1
      for (int64_t tile = 0; tile < 10; ++tile) {
        x[static_cast<size_t>((tile * 32 + c - 1) * 33 + c)] = static_cast<float>(outlier);
      }
    }
    const Result got = Take(x, 33);
    const auto want = Want(x, 33);
    for (size_t c = 0; c < 33; ++c) {
      const double error = got.m2[c] / 320.0 / want.variance[c] - 1.0;
      EXPECT_TRUE(std::abs(error) <= 32 * kFloatEps) << "row " << c << ": " << error;
    }
  }
}

TEST_P(MomentsTest, HoldValuesOfAnySize) {
  for (const double sd : {1e30, 1e37, 1e-12, 1e-18, 1e-19, 1e-20, 1e-25, 1e-30}) {
    const std::vector<float> x = Normals(200 * 17, /*seed=*/3, /*mean=*/0.5 * sd, sd);
    const Result got = Take(x, 17);
    const auto want = Want(x, 17);
    for (size_t c = 0; c < 17; ++c) {
      EXPECT_TRUE(std::abs(got.mean[c] - want.mean[c]) <= 1e-6 * sd) << sd;
      EXPECT_TRUE(std::abs(got.m2[c] / 200.0 / want.variance[c] - 1.0) <= 16 * kFloatEps) << sd;
    }
  }
}

TEST_P(MomentsTest, HoldOneHugeValueAmongSmallOnes) {
  std::vector<float> x = Normals(100, /*seed=*/3);
  x[40] = 1e30f;
  const Result got = Take(x, 1);
  const auto want = Want(x, 1);
  EXPECT_TRUE(std::abs(got.mean[0] / want.mean[0] - 1.0) <= kFloatEps);
  EXPECT_TRUE(std::abs(got.m2[0] / 100.0 / want.variance[0] - 1.0) <= 16 * kFloatEps);
}

TEST_P(MomentsTest, KeepWhatIsNotANumberInItsColumn) {
  constexpr int64_t kChannels = 21;
  const std::vector<float> clean = Normals(70 * kChannels, /*seed=*/9);
  const Result want = Take(clean, kChannels);
  for (int64_t c = 0; c < kChannels; ++c) {
    for (const float bad : {kNan, kInf, -kInf}) {
      for (const int64_t row : {0, 2, 33, 69}) {
        std::vector<float> x = clean;
        x[static_cast<size_t>(row * kChannels + c)] = bad;
        const Result got = Take(x, kChannels);
        for (size_t i = 0; i < kChannels; ++i) {
          if (i == static_cast<size_t>(c)) {
            ASSERT_FALSE(std::isfinite(got.mean[i]));
            ASSERT_FALSE(std::isfinite(got.m2[i]));
          } else {
            ASSERT_EQ(got.mean[i], want.mean[i]);
            ASSERT_EQ(got.m2[i], want.m2[i]);
          }
        }
      }
    }
  }
}

// A producer hands over columns in pieces of its own choice.
TEST_P(MomentsTest, DoNotDependOnColumnRanges) {
  constexpr int64_t kChannels = 70;
  const std::vector<float> x = Normals(77 * kChannels, /*seed=*/2, 1.0);
  const Result whole = Take(x, kChannels);
  for (const int64_t width : {1, 3, 4, 8, 16, 48, 69}) {
    for (int64_t c = 0; c < kChannels; c += width) {
      const int64_t count = std::min(width, kChannels - c);
      const Result part = Take(x.data() + c, 77, count, kChannels);
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(part.mean[static_cast<size_t>(i)], whole.mean[static_cast<size_t>(c + i)]);
        ASSERT_EQ(part.m2[static_cast<size_t>(i)], whole.m2[static_cast<size_t>(c + i)]);
      }
    }
  }
}

// The order of every operation, written as scalar code. What equals it on one machine equals it on
// all.
void ScalarModel(const float* x, int64_t rows, int64_t stride, double* mean, double* m2) {
  double base = 0.0, total = 0.0, total_squares = 0.0;
  for (int64_t r0 = 0; r0 < rows; r0 += kMomentTile) {
    const int64_t n = std::min(kMomentTile, rows - r0);
    const auto at = [&](int64_t r) { return x[(r0 + r) * stride]; };
    const int64_t last = n - 1;
    const float shift = ((at(0) + at(std::min<int64_t>(1, last))) +
                         (at(std::min<int64_t>(2, last)) + at(std::min<int64_t>(3, last)))) *
                        0.25f;
    float sum = 0.0f, squares = 0.0f;
    int64_t r = 0;
    for (; r + 4 <= n; r += 4) {
      const float d[] = {at(r) - shift, at(r + 1) - shift, at(r + 2) - shift, at(r + 3) - shift};
      sum += (d[0] + d[1]) + (d[2] + d[3]);
      float q = d[0] * d[0];
      for (int i = 1; i < 4; ++i) q = std::fma(d[i], d[i], q);
      squares += q;
    }
    for (; r < n; ++r) {
      const float d = at(r) - shift;
      sum += d;
      squares = std::fma(d, d, squares);
    }
    if (r0 == 0) base = static_cast<double>(shift);
    const double e = static_cast<double>(shift) - base;
    const double moved = std::fma(e, static_cast<double>(n), static_cast<double>(sum));
    total += moved;
    total_squares += std::fma(e, static_cast<double>(sum) + moved, static_cast<double>(squares));
  }
  const double offset = total / static_cast<double>(rows);
  *mean = base + offset;
  *m2 = std::fma(-offset, total, total_squares);
}

TEST_P(MomentsTest, FollowTheScalarModelBitForBitWithFma) {
  // Without fused multiply-add a square is rounded once more.
  const double tolerance = HasFma() ? 0.0 : 16 * kFloatEps;
  for (const int64_t channels : {1, 6, 16, 45, 600}) {
    for (const int64_t rows : {1, 3, 32, 50, 128, 331}) {
      const std::vector<float> x = Normals(rows * channels, /*seed=*/21, /*mean=*/10.0);
      const Result got = Take(x, channels);
      for (int64_t c = 0; c < channels; ++c) {
        double mean, m2;
        ScalarModel(x.data() + c, rows, channels, &mean, &m2);
        if (rows == 1) m2 = 0.0;
        const auto i = static_cast<size_t>(c);
        ASSERT_TRUE(std::abs(got.mean[i] - mean) <= tolerance) << rows << "x" << channels;
        ASSERT_TRUE(std::abs(got.m2[i] - m2) <= tolerance * m2) << rows << "x" << channels;
      }
    }
  }
}

TEST(MomentsBitsTest, AreTheSameOnEveryTargetWithFma) {
  ExpectSameBitsOnFmaTargets([] {
    const Result result = Take(Normals(300 * 77, /*seed=*/4, 5.0), 77);
    std::vector<float> mean(77), mean_low(77), inv_std(77);
    FinishMoments(300, result.mean.data(), result.m2.data(), 77, 1e-5, mean.data(), mean_low.data(),
                  inv_std.data(), nullptr);
    mean.insert(mean.end(), mean_low.begin(), mean_low.end());
    mean.insert(mean.end(), inv_std.begin(), inv_std.end());
    return mean;
  });
}

TEST_P(MomentsTest, MergeToThoseOfAllRows) {
  constexpr int64_t kChannels = 13;
  for (const double offset : {0.0, 1e4}) {
    const std::vector<float> x = Normals(500 * kChannels, /*seed=*/6, offset);
    const auto want = Want(x, kChannels);
    for (const int64_t cut : {0, 1, 250, 499, 500}) {
      Result a = Take(x.data(), cut, kChannels, kChannels);
      const Result b = Take(x.data() + cut * kChannels, 500 - cut, kChannels, kChannels);
      MergeMoments(cut, a.mean.data(), a.m2.data(), 500 - cut, b.mean.data(), b.m2.data(),
                   kChannels);
      for (size_t c = 0; c < kChannels; ++c) {
        EXPECT_TRUE(std::abs(a.mean[c] - want.mean[c]) <= 1e-6);
        EXPECT_TRUE(std::abs(a.m2[c] / 500.0 / want.variance[c] - 1.0) <= 16 * kFloatEps);
      }
    }
  }
}

TEST_P(MomentsTest, MergingAnEmptyGroupKeepsTheBits) {
  const std::vector<double> mean = {0.1, 1e300, NAN}, m2 = {0.2, 5.0, NAN};
  std::vector<double> a = mean, b = m2;
  const std::vector<double> zero(3, 0.0);
  MergeMoments(10, a.data(), b.data(), 0, zero.data(), zero.data(), 3);
  EXPECT_EQ(a[0], 0.1);
  EXPECT_EQ(b[1], 5.0);
  std::vector<double> c = zero, d = zero;
  MergeMoments(0, c.data(), d.data(), 10, mean.data(), m2.data(), 3);
  EXPECT_EQ(c[1], 1e300);
  EXPECT_EQ(d[0], 0.2);
  EXPECT_TRUE(std::isnan(c[2]));
}

TEST_P(MomentsTest, FinishAsStatistics) {
  const std::vector<double> mean = {1.0, -2.5, 0.0, 1e30, 7.0, 0.0, 1e4 / 3.0};
  const std::vector<double> m2 = {8.0, 0.0, 2e-5, 8e60, 1e-70, NAN, 1.0};
  std::vector<float> mean32(7, kNan), mean_low(7, kNan), inv_std(7, kNan);
  std::vector<double> variance(7, NAN);
  FinishMoments(8, mean.data(), m2.data(), 7, 1e-5, mean32.data(), mean_low.data(), inv_std.data(),
                variance.data());
  for (size_t c = 0; c < 7; ++c) {
    EXPECT_EQ(mean32[c], static_cast<float>(mean[c]));
    EXPECT_EQ(mean_low[c], static_cast<float>(mean[c] - static_cast<double>(mean32[c])));
    if (c == 5) {
      EXPECT_TRUE(std::isnan(inv_std[c]));
      EXPECT_TRUE(std::isnan(variance[c]));
      continue;
    }
    EXPECT_EQ(variance[c], m2[c] / 8.0);
    EXPECT_EQ(inv_std[c], static_cast<float>(1.0 / std::sqrt(m2[c] / 8.0 + 1e-5)));
  }
  EXPECT_NE(mean_low[6], 0.0f);
  EXPECT_TRUE(std::abs(static_cast<double>(inv_std[3]) * 1e30 - 1.0) <= 2 * kFloatEps);
  std::vector<float> without_low(7, kNan);
  FinishMoments(8, mean.data(), m2.data(), 7, 1e-5, without_low.data(), nullptr, inv_std.data(),
                nullptr);
  EXPECT_EQ(without_low, mean32);
}

}  // namespace
}  // namespace lockstep::kernels
