#include "engine/tensor/doubles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <limits>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(DoublesTest, RoundToTheNearestFloatAndComeBackExactly) {
  const std::vector<double> from = {0.1, -2.5, 1e-300, 1e30, 3.4028234e38, -0.0};
  std::vector<float> to(6);
  ASSERT_TRUE(CopyToFloats(from, {to.data(), {2, 3}}).ok());
  EXPECT_THAT(to, ElementsAre(0.1f, -2.5f, 0.0f, 1e30f, 3.4028234e38f, -0.0f));
  std::vector<double> back(6);
  ASSERT_TRUE(CopyToDoubles({to.data(), {2, 3}}, back).ok());
  EXPECT_EQ(back[0], static_cast<double>(0.1f));
  EXPECT_TRUE(std::signbit(back[5]));
}

TEST(DoublesTest, WhatAFloatCannotHoldIsNamedByItsPlaceAndNothingIsWritten) {
  const double largest = std::numeric_limits<float>::max(), beyond = 0x1.ffffffp127;
  for (const double bad : {beyond, -beyond, 1e300, std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()}) {
    std::vector<double> from = {1, 2, largest, 4, 5, 6};
    from[4] = bad;
    std::vector<float> to(6, 7.0f);
    const Status status = CopyToFloats(from, {to.data(), {2, 3}}, "pressure");
    EXPECT_EQ(status.code(), Code::kNonFinite);
    EXPECT_THAT(status.message(), HasSubstr("pressure(1, 1) is "));
    EXPECT_THAT(to, ::testing::Each(7.0f));
  }
  // The largest double that still rounds to the largest float.
  const std::vector<double> least = {std::nextafter(beyond, 0.0)};
  float to = 0.0f;
  ASSERT_TRUE(CopyToFloats(least, {&to, {1}}).ok());
  EXPECT_EQ(to, std::numeric_limits<float>::max());
}

TEST(DoublesTest, NanIsKeptWhereFeaturesMayBeMissing) {
  const std::vector<double> from = {1.0, std::nan("")};
  std::vector<float> to(2);
  ASSERT_TRUE(CopyToFloats(from, {to.data(), {1, 2}}, "x", NaNs::kKeep).ok());
  EXPECT_TRUE(std::isnan(to[1]));
  EXPECT_FALSE(
      CopyToFloats(std::vector<double>{1e39, 0.0}, {to.data(), {1, 2}}, "x", NaNs::kKeep).ok());
}

TEST(DoublesTest, RaisesNothingThatAHostMayTrap) {
  std::vector<double> from = {1.0, std::nan(""), 1e300, 1e-300};
  std::vector<float> to(4);
  std::feclearexcept(FE_ALL_EXCEPT);
  EXPECT_FALSE(CopyToFloats(from, {to.data(), {4}}, "x", NaNs::kKeep).ok());
  from[2] = 0.1;
  EXPECT_TRUE(CopyToFloats(from, {to.data(), {4}}, "x", NaNs::kKeep).ok());
  EXPECT_EQ(std::fetestexcept(FE_INVALID | FE_OVERFLOW | FE_DIVBYZERO), 0);
}

TEST(DoublesTest, ABufferTakesWholeSamples) {
  FloatBuffer buffer({4, 3});
  const std::vector<double> from = {1, 2, 3, 4, 5, 6};
  const Result<ConstTensor> taken = buffer.Take(from);
  ASSERT_TRUE(taken.ok()) << taken.status().message();
  EXPECT_EQ(taken->shape(), (Shape{2, 3}));
  EXPECT_EQ(taken->f32()[5], 6.0f);
  EXPECT_EQ(buffer.Take({})->shape(), (Shape{0, 3}));
  EXPECT_THAT(buffer.Take(std::vector<double>(7)).status().message(),
              HasSubstr("x holds 7 doubles, samples are 3 each"));
  EXPECT_THAT(buffer.Take(std::vector<double>(15)).status().message(), HasSubstr("room for 4"));
  EXPECT_EQ(buffer.Room(4).shape(), (Shape{4, 3}));
  EXPECT_FALSE(CopyToDoubles(buffer.Room(1), std::span<double>()).ok());
}

}  // namespace
}  // namespace lockstep
