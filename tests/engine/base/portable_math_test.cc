#include "engine/base/portable_math.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

// The C library is right to one unit in the last place (2.2e-16 relative); ours adds its own.
TEST(PortableMathTest, AgreesWithTheCLibrary) {
  Random random(1, StreamOf("test"));
  for (int i = 0; i < 100000; ++i) {
    const double x = 40.0 * (2.0 * random.Uniform() - 1.0);
    EXPECT_NEAR(portable::Exp(x) / std::exp(x), 1.0, 2e-15) << x;
    const double positive = std::exp(x);
    EXPECT_NEAR(portable::Log(positive), std::log(positive),
                2e-15 * std::max(1.0, std::abs(std::log(positive))))
        << positive;
    const double turns = 4.0 * (2.0 * random.Uniform() - 1.0);
    const double angle = turns * 6.283185307179586;
    // The C library is given a rounded angle: off by |angle| * 2^-53.
    EXPECT_NEAR(portable::Turn(turns).sin, std::sin(angle), 6e-15) << turns;
    EXPECT_NEAR(portable::Turn(turns).cos, std::cos(angle), 6e-15) << turns;
    EXPECT_NEAR(portable::Sigmoid(x), 1.0 / (1.0 + std::exp(-x)), 2e-15) << x;
  }
}

TEST(PortableMathTest, ExactWhereItShouldBe) {
  EXPECT_EQ(portable::Exp(0.0), 1.0);
  EXPECT_EQ(portable::Log(1.0), 0.0);
  EXPECT_EQ(portable::Sigmoid(0.0), 0.5);
  EXPECT_EQ(portable::Turn(0.0).sin, 0.0);
  EXPECT_EQ(portable::Turn(0.25).sin, 1.0);
  EXPECT_EQ(portable::Turn(-0.25).sin, -1.0);
  EXPECT_EQ(portable::Turn(0.5).cos, -1.0);
  EXPECT_EQ(portable::RoundTo(36.649999, 10.0), 36.6);
  EXPECT_EQ(portable::Round(-2.5), -2.0);
}

}  // namespace
}  // namespace lockstep
