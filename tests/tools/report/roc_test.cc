#include "tools/report/roc.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/metrics.h"

namespace lockstep::tools {
namespace {

double AreaUnder(const std::vector<RocPoint>& points) {
  double area = 0.0;
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    area += (points[i + 1].false_positives - points[i].false_positives) *
            (points[i + 1].true_positives + points[i].true_positives) / 2.0;
  }
  return area;
}

TEST(Roc, TheAreaUnderItIsTheAuc) {
  Random random(/*seed=*/7, /*stream=*/0);
  std::vector<float> scores, labels;
  for (int i = 0; i < 500; ++i) {
    labels.push_back(random.Uniform() < 0.3 ? 1.0f : 0.0f);
    // Few distinct scores, so that many are equal.
    scores.push_back(
        std::floor(8.0f * static_cast<float>(random.Uniform()) + 3.0f * labels.back()));
  }
  const auto points = Roc(scores, labels, 1000);
  ASSERT_GE(points.size(), 3u);
  EXPECT_EQ(points.front().false_positives + points.front().true_positives, 0.0);
  EXPECT_EQ(points.back().false_positives + points.back().true_positives, 2.0);
  // 500 additions of terms below 1: 500 roundings of 2^-53.
  EXPECT_NEAR(AreaUnder(points), *Auc(scores, labels), 500 * 0x1p-53);
}

TEST(Roc, KeepsCornersOnlyAndAsManyPointsAsAsked) {
  const std::vector<float> separated = {5, 4, 3, 2, 1, 0}, labels = {1, 1, 1, 0, 0, 0};
  EXPECT_EQ(Roc(separated, labels).size(), 3u);  // (0, 0), (0, 1), (1, 1)
  std::vector<float> scores, mixed;
  for (int i = 0; i < 1000; ++i) {
    scores.push_back(static_cast<float>(i));
    mixed.push_back(static_cast<float>(i % 2));
  }
  const auto points = Roc(scores, mixed, 50);
  EXPECT_EQ(points.size(), 50u);
  EXPECT_EQ(points.back().true_positives, 1.0);
}

TEST(Roc, NeedsBothClasses) {
  const std::vector<float> scores = {1, 2}, ones = {1, 1};
  EXPECT_TRUE(Roc(scores, ones).empty());
  EXPECT_TRUE(Roc({}, {}).empty());
}

}  // namespace
}  // namespace lockstep::tools
