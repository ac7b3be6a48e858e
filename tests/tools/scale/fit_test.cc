#include "tools/scale/fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1::scale {
namespace {

std::vector<Speedup> Exact(Law law, double serial) {
  const Fit fit{.law = law, .serial = serial};
  std::vector<Speedup> points;
  for (const double p : {1.0, 2.0, 3.0, 8.0, 64.0}) points.push_back({p, fit.At(p)});
  return points;
}

TEST(FitLaw, FindsTheKnownSerialShare) {
  for (const Law law : {Law::kAmdahl, Law::kGustafson}) {
    for (const double serial : {0.0, 0.01, 0.25, 1.0, -0.02}) {
      const auto fit = FitLaw(law, Exact(law, serial));
      ASSERT_TRUE(fit.has_value());
      // A quotient of sums of five terms of order one (64 squared, for Gustafson): 1e-15 each.
      EXPECT_NEAR(fit->serial, serial, 1e-12);
      for (const double residual : fit->residuals) EXPECT_NEAR(residual, 0.0, 1e-9);
      EXPECT_LE(fit->rms, 1e-9);
    }
  }
}

TEST(FitLaw, TheLawsAreWhatTheBooksSay) {
  // 1 / 0.1 less 0.9 / 1e12 / 0.01.
  EXPECT_NEAR((Fit{.law = Law::kAmdahl, .serial = 0.1}).At(1e12), 10.0, 1e-10);
  EXPECT_DOUBLE_EQ((Fit{.law = Law::kAmdahl, .serial = 0.5}).At(2.0), 4.0 / 3.0);
  EXPECT_DOUBLE_EQ((Fit{.law = Law::kGustafson, .serial = 0.1}).At(11.0), 10.0);
  for (const Law law : {Law::kAmdahl, Law::kGustafson})
    EXPECT_DOUBLE_EQ((Fit{.law = law, .serial = 0.3}).At(1.0), 1.0);
}

TEST(FitLaw, NoiseMovesTheShareByAsMuchAsItMay) {
  Random random(3, StreamOf("noise"));
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<Speedup> points = Exact(Law::kAmdahl, 0.05);
    constexpr double kNoise = 0.01;
    for (size_t i = 1; i < points.size(); ++i)
      points[i].speedup *= 1.0 + kNoise * (2.0 * random.Word() * 0x1p-32 - 1.0);
    const auto fit = FitLaw(Law::kAmdahl, points);
    ASSERT_TRUE(fit.has_value());
    // f moves by sum(e x) / sum(x^2) with |e| <= 1.02 kNoise / S and x = 1 - 1/p.
    double moved = 0.0, squares = 0.0;
    for (const Speedup& point : Exact(Law::kAmdahl, 0.05)) {
      const double x = 1.0 - 1.0 / point.workers;
      moved += 1.02 * kNoise / point.speedup * x;
      squares += x * x;
    }
    EXPECT_LE(std::abs(fit->serial - 0.05), moved / squares);
    EXPECT_GT(fit->rms, 0.0);
  }
}

TEST(FitLaw, NeverThroughFewerThanTwoPointsBeyondTheBase) {
  for (const Law law : {Law::kAmdahl, Law::kGustafson}) {
    const std::vector<Speedup> all = Exact(law, 0.1);
    EXPECT_FALSE(FitLaw(law, {}).has_value());
    EXPECT_FALSE(FitLaw(law, std::span(all).first(1)).has_value());
    EXPECT_FALSE(FitLaw(law, std::span(all).first(2)).has_value());
    EXPECT_TRUE(FitLaw(law, std::span(all).first(3)).has_value());
    // Another place with as many workers as the base is not beyond it.
    const std::vector<Speedup> same = {{1.0, 1.0}, {1.0, 0.9}, {2.0, 1.8}};
    EXPECT_FALSE(FitLaw(law, same).has_value());
  }
}

TEST(FitLaw, SaysItsFormulaWithTheNumber) {
  EXPECT_THAT((Fit{.law = Law::kAmdahl, .serial = 0.125}).Formula(),
              testing::HasSubstr("f = 0.1250"));
}

}  // namespace
}  // namespace lockstep::scale
