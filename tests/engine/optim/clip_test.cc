#include "engine/optim/clip.h"

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/optim/flat_blocks.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/optim/count_allocations.h"
#include "tests/engine/optim/flat_parameters.h"

namespace lockstep::inline v0_1 {
namespace {

FlatParameters Parameters(int64_t size) {
  FlatParameters parameters;
  parameters.Add("0.bias", {3});
  parameters.Add("1.weight", {size});
  parameters.DrawGradients(5);
  return parameters;
}

TEST(GradientNormTest, IsTheRootOfTheSumOfSquares) {
  for (const int64_t size :
       {int64_t{0}, int64_t{1}, int64_t{100}, kFlatBlock - 16, kFlatBlock, 5 * kFlatBlock + 77}) {
    Context ctx({.threads = 1});
    FlatParameters parameters = Parameters(size);
    double sum = 0.0;
    for (const float g : parameters.gradients()) sum += double{g} * g;
    const Result<double> norm = GradientNorm(parameters.set()).Measure(ctx, parameters.set());
    ASSERT_TRUE(norm.ok());
    // Both add up exact squares in double.
    EXPECT_NEAR(*norm / std::sqrt(sum), 1.0, 1e-12) << size;
  }
}

TEST(GradientNormTest, HasTheSameBitsForAnyNumberOfThreads) {
  FlatParameters parameters = Parameters(13 * kFlatBlock + 5);
  GradientNorm norm(parameters.set());
  Context one({.threads = 1});
  const double want = *norm.Measure(one, parameters.set());
  for (const int threads : {2, 3, 8}) {
    Context ctx({.threads = threads});
    EXPECT_EQ(std::bit_cast<uint64_t>(*norm.Measure(ctx, parameters.set())),
              std::bit_cast<uint64_t>(want));
  }
}

// In single precision the squares would be infinite, or nothing.
TEST(GradientNormTest, NeitherOverflowsNorVanishes) {
  for (const float size : {3e38f, 1e-37f}) {
    FlatParameters parameters = Parameters(100);
    const ParameterSet set = parameters.set();
    for (float& g : set.gradient(1).span<float>()) g = size;
    for (float& g : set.gradient(0).span<float>()) g = 0.0f;
    Context ctx({.threads = 1});
    EXPECT_NEAR(*GradientNorm(set).Measure(ctx, set) / (10.0 * size), 1.0, 1e-12);
  }
}

TEST(GradientNormTest, OfNothingIsZero) {
  FlatParameters none;
  Context ctx({.threads = 1});
  EXPECT_EQ(*GradientNorm(none.set()).Measure(ctx, none.set()), 0.0);
}

TEST(GradientNormTest, NamesTheFirstBadGradient) {
  FlatParameters parameters = Parameters(3 * kFlatBlock);
  const ParameterSet set = parameters.set();
  Context ctx({.threads = 2});
  GradientNorm norm(set);
  set.gradient(1).f32()[kFlatBlock + 1] = std::numeric_limits<float>::infinity();
  Status status = norm.Measure(ctx, set).status();
  EXPECT_EQ(status.code(), Code::kNonFinite);
  EXPECT_THAT(status.message(), testing::HasSubstr("gradient of 1.weight is infinite at element " +
                                                   std::to_string(kFlatBlock + 1)));
  set.gradient(0).f32()[2] = std::numeric_limits<float>::quiet_NaN();
  status = norm.Measure(ctx, set).status();
  EXPECT_THAT(status.message(), testing::HasSubstr("gradient of 0.bias is nan at element 2 of 3"));
}

TEST(GradientNormTest, AllocatesNothing) {
  FlatParameters parameters = Parameters(5 * kFlatBlock);
  const ParameterSet set = parameters.set();
  Context ctx({.threads = 1});
  GradientNorm norm(set);
  const int64_t before = allocations.load();
  EXPECT_TRUE(norm.Measure(ctx, set).ok());
  EXPECT_EQ(allocations.load(), before);
}

TEST(ClipFactorTest, ScalesDownToTheLargestNormAndNeverUp) {
  EXPECT_EQ(ClipFactor(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_EQ(ClipFactor(0.5, 1.0), 1.0);
  EXPECT_EQ(ClipFactor(0.0, 1.0), 1.0);
  EXPECT_EQ(ClipFactor(1e30, HUGE_VAL), 1.0);
  EXPECT_THROW((void)ClipFactor(1.0, 0.0), CheckFailure);
}

}  // namespace
}  // namespace lockstep
