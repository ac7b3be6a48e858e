#include "engine/train/assess/ranking.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

struct Drawn {
  std::vector<float> scores, labels;
};
Drawn Draw(size_t size, uint64_t levels) {
  Random random(3, StreamOf("ranking"));
  Drawn drawn;
  for (size_t i = 0; i < size; ++i) {
    drawn.scores.push_back(static_cast<float>(random.Below(levels)) - 1.0f);
    drawn.labels.push_back(random.Below(4) == 0 ? 1.0f : 0.0f);
  }
  return drawn;
}

TEST(Ranking, AWeightIsASampleThatStandsThereSoOften) {
  Random random(5, 0);
  for (const uint64_t levels : {uint64_t{1}, uint64_t{5}, uint64_t{100000}}) {
    const Drawn drawn = Draw(101, levels);
    std::vector<double> weights;
    Drawn repeated;
    for (size_t i = 0; i < drawn.scores.size(); ++i) {
      weights.push_back(static_cast<double>(random.Below(4)));
      for (int k = 0; k < weights.back(); ++k) {
        repeated.scores.push_back(drawn.scores[i]);
        repeated.labels.push_back(drawn.labels[i]);
      }
    }
    const Ranking ranking(repeated.scores, repeated.labels);
    const auto weighted = Ranking(drawn.scores, drawn.labels).Weighted(weights);
    EXPECT_EQ(weighted.auc, *ranking.Auc()) << levels;
    EXPECT_EQ(weighted.average_precision, *ranking.AveragePrecision()) << levels;
  }
}

TEST(Ranking, AveragePrecisionOfEqualScoresIsTheShareOfPositives) {
  const std::vector<float> scores(10, 0.5f), labels = {1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  const Ranking ranking(scores, labels);
  EXPECT_EQ(ranking.AveragePrecision(), 0.2);
  EXPECT_EQ(ranking.Auc(), 0.5);
  ASSERT_EQ(ranking.cuts().size(), 1u);
  EXPECT_EQ(ranking.cuts()[0].hits, 2);
  EXPECT_EQ(ranking.cuts()[0].alarms, 8);
}

TEST(Ranking, OneClassHasNoArea) {
  const std::vector<float> scores = {1, 2}, ones = {1, 1}, zeros = {0, 0};
  EXPECT_FALSE(Ranking(scores, ones).Auc());
  EXPECT_EQ(Ranking(scores, ones).AveragePrecision(), 1.0);
  EXPECT_FALSE(Ranking(scores, zeros).Auc());
  EXPECT_FALSE(Ranking(scores, zeros).AveragePrecision());
  EXPECT_FALSE(Ranking({}, {}).Auc());
  const Drawn drawn = Draw(7, 3);
  const std::vector<double> none(7, 0.0);
  EXPECT_TRUE(std::isnan(Ranking(drawn.scores, drawn.labels).Weighted(none).auc));
  EXPECT_TRUE(std::isnan(Ranking(drawn.scores, drawn.labels).Weighted(none).average_precision));
}

}  // namespace
}  // namespace lockstep
