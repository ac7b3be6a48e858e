#include "engine/base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

// The known answers that Random123 ships for philox4x32-10.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(Philox(0, 0, 0),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, IsAPureFunctionOfSeedAndStream) {
  Random a(7, 1), b(7, 1), other_stream(7, 2), other_seed(8, 1);
  const uint64_t first = a.Word64();
  EXPECT_EQ(first, b.Word64());
  EXPECT_NE(first, other_stream.Word64());
  EXPECT_NE(first, other_seed.Word64());
}

// Mean and moments of 10^6 draws, each within five standard errors.
TEST(Random, UniformAndNormalHaveTheirMoments) {
  constexpr int kDraws = 1000000;
  Random random(1, StreamOf("moments"));
  double uniform = 0.0, mean = 0.0, square = 0.0, fourth = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.Uniform();
    ASSERT_TRUE(u >= 0.0 && u < 1.0);
    uniform += u;
    const double n = random.Normal();
    mean += n;
    square += n * n;
    fourth += n * n * n * n;
  }
  const double error = 5.0 / std::sqrt(static_cast<double>(kDraws));
  EXPECT_NEAR(uniform / kDraws, 0.5, error * std::sqrt(1.0 / 12.0));
  EXPECT_NEAR(mean / kDraws, 0.0, error);
  EXPECT_NEAR(square / kDraws, 1.0, error * std::sqrt(2.0));
  EXPECT_NEAR(fourth / kDraws, 3.0, error * std::sqrt(96.0));
}

TEST(Random, BelowIsUnbiased) {
  Random random(1, 2);
  std::vector<int> counts(7);
  constexpr int kDraws = 70000;
  for (int i = 0; i < kDraws; ++i) ++counts[random.Below(7)];
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 7, 5.0 * std::sqrt(kDraws / 7.0));
  EXPECT_EQ(random.Below(1), 0u);
}

}  // namespace
}  // namespace lockstep
