#include "tools/report/threshold_curves.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1::tools {
namespace {

double AreaUnder(const std::vector<CurvePoint>& points) {
  double area = 0.0;
  for (size_t i = 0; i + 1 < points.size(); ++i)
    area += (points[i + 1].x - points[i].x) * (points[i + 1].y + points[i].y) / 2.0;
  return area;
}

// Few distinct scores, so that many are equal.
Ranking Tied() {
  Random random(/*seed=*/7, /*stream=*/0);
  std::vector<float> scores, labels;
  for (int i = 0; i < 500; ++i) {
    labels.push_back(random.Uniform() < 0.3 ? 1.0f : 0.0f);
    scores.push_back(
        std::floor(8.0f * static_cast<float>(random.Uniform()) + 3.0f * labels.back()));
  }
  return Ranking(scores, labels);
}

TEST(ThresholdCurves, TheAreaUnderTheRocIsTheAuc) {
  const Ranking ranking = Tied();
  const auto points = RocOf(ranking.cuts(), 1000);
  ASSERT_GE(points.size(), 3u);
  EXPECT_EQ(points.front().x + points.front().y, 0.0);
  EXPECT_EQ(points.back().x + points.back().y, 2.0);
  // 500 additions of terms below 1: 500 roundings of 2^-53.
  EXPECT_NEAR(AreaUnder(points), *ranking.Auc(), 500 * 0x1p-53);
}

TEST(ThresholdCurves, StepsUnderPrecisionAreTheAveragePrecision) {
  const Ranking ranking = Tied();
  double area = 0.0, recall = 0.0;
  for (const CurvePoint& point : PrecisionRecallOf(ranking.cuts(), 1000)) {
    area += (point.x - recall) * point.y;
    recall = point.x;
  }
  EXPECT_EQ(recall, 1.0);
  EXPECT_NEAR(area, *ranking.AveragePrecision(), 500 * 0x1p-53);
}

TEST(ThresholdCurves, KeepCornersOnlyAndAsManyPointsAsAsked) {
  const std::vector<float> separated = {5, 4, 3, 2, 1, 0}, labels = {1, 1, 1, 0, 0, 0};
  EXPECT_EQ(RocOf(Ranking(separated, labels).cuts()).size(), 3u);  // (0, 0), (0, 1), (1, 1)
  std::vector<float> scores, mixed;
  for (int i = 0; i < 1000; ++i) {
    scores.push_back(static_cast<float>(i));
    mixed.push_back(static_cast<float>(i % 2));
  }
  const Ranking ranking(scores, mixed);
  const auto points = RocOf(ranking.cuts(), 50);
  EXPECT_EQ(points.size(), 50u);
  EXPECT_EQ(points.back().y, 1.0);
  const auto precision = PrecisionRecallOf(ranking.cuts(), 50);
  EXPECT_EQ(precision.size(), 50u);
  EXPECT_EQ(precision.back().x, 1.0);
  EXPECT_EQ(precision.back().y, 0.5);
}

TEST(ThresholdCurves, NeedBothClasses) {
  const std::vector<float> scores = {1, 2}, ones = {1, 1}, zeros = {0, 0};
  EXPECT_TRUE(RocOf(Ranking(scores, ones).cuts()).empty());
  EXPECT_EQ(PrecisionRecallOf(Ranking(scores, ones).cuts()).size(), 2u);
  EXPECT_TRUE(PrecisionRecallOf(Ranking(scores, zeros).cuts()).empty());
  EXPECT_TRUE(RocOf({}).empty());
  EXPECT_TRUE(PrecisionRecallOf({}).empty());
}

}  // namespace
}  // namespace lockstep::tools
