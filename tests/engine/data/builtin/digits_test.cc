#include "engine/data/builtin/digits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/engine/data/fnv.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

// Written down once: a change here changes what everyone's results are compared with.
TEST(DigitsTest, TheSameBitsEverywhere) {
  const DigitsData data = MakeDigits({.train = 500, .test = 100}).value();
  EXPECT_EQ(HashOf(*data.train), 1378809394706403778u);
  EXPECT_EQ(HashOf(*data.test), 14979426968654940850u);
}

TEST(DigitsTest, ImagesDoNotDependOnTheirNumberButOnTheSeed) {
  const DigitsData few = MakeDigits({.seed = 3, .train = 5, .test = 1}).value();
  const DigitsData many = MakeDigits({.seed = 3, .train = 50, .test = 9}).value();
  const DigitsData other = MakeDigits({.seed = 4, .train = 5, .test = 1}).value();
  for (int64_t i = 0; i < 5; ++i) {
    const auto image = few.train->StoredX(i).span<uint8_t>();
    EXPECT_TRUE(std::ranges::equal(image, many.train->StoredX(i).span<uint8_t>()));
    EXPECT_FALSE(std::ranges::equal(image, other.train->StoredX(i).span<uint8_t>()));
    EXPECT_FALSE(std::ranges::equal(image, many.test->StoredX(i).span<uint8_t>()));
  }
}

TEST(DigitsTest, TenClassesOfImagesLikeMnist) {
  const DigitsData data = MakeDigits({.train = 1000, .test = 200}).value();
  EXPECT_EQ(data.train->info().x_shape, Shape({28, 28, 1}));
  EXPECT_EQ(data.train->info().classes, 10);
  EXPECT_EQ(data.test->size(), 200);
  std::array<int, 10> counts{};
  const std::vector<int32_t> labels = ClassLabels(*data.train).value();
  for (const int32_t label : labels) ++counts[static_cast<size_t>(label)];
  // 1000 draws of ten classes: standard deviation sqrt(1000 * 0.09) = 9.5.
  for (const int count : counts) EXPECT_NEAR(count, 100, 5 * 9.5);
  double sum = 0.0;
  for (int64_t i = 0; i < 1000; ++i) {
    const auto image = data.train->StoredX(i).span<uint8_t>();
    EXPECT_GT(*std::ranges::max_element(image), 150) << i;  // ink
    EXPECT_LT(image[0] + image[27], 120) << i;              // none in the upper corners
    for (const uint8_t u : image) sum += u / 255.0 / (1000.0 * 784.0);
  }
  EXPECT_GT(sum, 0.05);  // MNIST: 0.13
  EXPECT_LT(sum, 0.25);
}

// The nearest of 1000 training images knows most digits (so the classes are real) but not all (so
// there is something to learn).
TEST(DigitsTest, NeighboursAgreeMostly) {
  const DigitsData data = MakeDigits({.seed = 2, .train = 1000, .test = 200}).value();
  int right = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const auto image = data.test->StoredX(i).span<uint8_t>();
    int64_t best = std::numeric_limits<int64_t>::max();
    int32_t label = -1;
    for (int64_t j = 0; j < 1000; ++j) {
      const auto other = data.train->StoredX(j).span<uint8_t>();
      int64_t distance = 0;
      for (size_t k = 0; k < image.size(); ++k) {
        const int d = image[k] - other[k];
        distance += d * d;
      }
      if (distance >= best) continue;
      best = distance;
      label = *data.train->StoredTarget(j).as<int32_t>();
    }
    right += label == *data.test->StoredTarget(i).as<int32_t>() ? 1 : 0;
  }
  EXPECT_GT(right, 150);
  EXPECT_LT(right, 198);
}

TEST(DigitsTest, ImpossibleRequestsSayWhy) {
  EXPECT_THAT(MakeDigits({.train = 0}).status().message(), HasSubstr("digits (training)"));
  EXPECT_THAT(MakeDigits({.test = -3}).status().message(), HasSubstr("not -3"));
}

}  // namespace
}  // namespace lockstep
