#include "engine/data/builtin/clinical.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "engine/base/random.h"
#include "tests/engine/data/fnv.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

std::vector<double> Column(const ClinicalData& data, int64_t column) {
  std::vector<double> values;
  for (int64_t i = 0; i < data.dataset->size(); ++i) {
    values.push_back(data.dataset->StoredX(i).f32()[column]);
  }
  return values;
}

std::vector<int> Outcomes(const ClinicalData& data) {
  std::vector<int> outcomes;
  for (int64_t i = 0; i < data.dataset->size(); ++i) {
    outcomes.push_back(data.dataset->StoredTarget(i).f32()[0] == 1.0f ? 1 : 0);
  }
  return outcomes;
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ma += a[i] / n;
    mb += b[i] / n;
  }
  for (size_t i = 0; i < a.size(); ++i) {
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
    ab += (a[i] - ma) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

// Over all pairs, as the words say.
double PlainAuc(const std::vector<double>& score, const std::vector<int>& outcome) {
  double won = 0.0, pairs = 0.0;
  for (size_t i = 0; i < score.size(); ++i) {
    for (size_t j = 0; j < score.size(); ++j) {
      if (outcome[i] == 0 || outcome[j] == 1) continue;
      pairs += 1.0;
      won += score[i] > score[j] ? 1.0 : score[i] == score[j] ? 0.5 : 0.0;
    }
  }
  return won / pairs;
}

// Written down once: a change here changes what everyone's results are compared with.
TEST(ClinicalTest, TheSameBitsEverywhere) {
  EXPECT_EQ(HashOf(*MakeClinical().value().dataset), 18083975625512586966u);
  EXPECT_NE(HashOf(*MakeClinical({.seed = 2, .size = 100}).value().dataset),
            HashOf(*MakeClinical({.seed = 3, .size = 100}).value().dataset));
}

TEST(ClinicalTest, RowsDoNotDependOnTheirNumber) {
  const ClinicalData few = MakeClinical({.seed = 5, .size = 10}).value();
  const ClinicalData many = MakeClinical({.seed = 5, .size = 100}).value();
  for (int64_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(std::ranges::equal(few.dataset->StoredX(i).span<float>(),
                                   many.dataset->StoredX(i).span<float>()));
  }
}

TEST(ClinicalTest, PatientsArePlausible) {
  const ClinicalData data = MakeClinical().value();
  const DatasetInfo& info = data.dataset->info();
  EXPECT_EQ(info.size, 8000);
  EXPECT_EQ(info.x_shape, Shape{20});
  EXPECT_EQ(info.feature_names.size(), 20u);
  const auto range = [&](const char* name, double low, double high) {
    const auto found = std::ranges::find(info.feature_names, name);
    ASSERT_NE(found, info.feature_names.end()) << name;
    const std::vector<double> column = Column(data, found - info.feature_names.begin());
    EXPECT_GE(*std::ranges::min_element(column), low) << name;
    EXPECT_LE(*std::ranges::max_element(column), high) << name;
    EXPECT_GT(*std::ranges::max_element(column), *std::ranges::min_element(column)) << name;
  };
  range("age", 18, 97);
  range("male", 0, 1);
  range("systolic_bp", 65, 230);
  range("temperature", 33.9, 41.6);
  range("oxygen_saturation", 75, 100);
  range("sodium", 115, 160);
  range("crp", 0.09, 400);
  const auto number = [&](const char* name) {
    return std::ranges::find(info.feature_names, name) - info.feature_names.begin();
  };
  EXPECT_GT(Correlation(Column(data, number("systolic_bp")), Column(data, number("diastolic_bp"))),
            0.4);
  EXPECT_LT(Correlation(Column(data, number("crp")), Column(data, number("albumin"))), -0.2);
  // Noise: the correlation of independent columns has standard deviation 1 / sqrt(8000) = 0.011.
  const std::vector<int> outcomes = Outcomes(data);
  const std::vector<double> y(outcomes.begin(), outcomes.end());
  EXPECT_NEAR(Correlation(Column(data, number("vitamin_d")), y), 0.0, 0.05);
  EXPECT_NEAR(Correlation(Column(data, number("thyrotropin")), y), 0.0, 0.05);
}

// Of 8000 outcomes drawn from the probabilities, those in each tenth of the probabilities must be
// as frequent as promised: within five standard deviations.
TEST(ClinicalTest, OutcomesFollowTheProbability) {
  const ClinicalData data = MakeClinical().value();
  const std::vector<int> outcomes = Outcomes(data);
  std::array<double, 10> expected{}, variance{}, seen{};
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const double p = data.probability[i];
    const auto bin = static_cast<size_t>(std::min(9.0, p * 10.0));
    expected[bin] += p;
    variance[bin] += p * (1.0 - p);
    seen[bin] += outcomes[i];
  }
  for (size_t bin = 0; bin < 10; ++bin) {
    EXPECT_GT(expected[bin], 20.0) << bin;
    EXPECT_NEAR(seen[bin], expected[bin], 5.0 * std::sqrt(variance[bin])) << bin;
  }
}

TEST(ClinicalTest, BestPossibleScoresAreRightAndNearNinetyPercent) {
  const ClinicalData data = MakeClinical({.seed = 1, .size = 1500}).value();
  const std::vector<int> outcomes = Outcomes(data);
  const BestPossible best = BestPossibleScores(data, AllIndices(1500)).value();
  EXPECT_NEAR(best.drawn_auc, PlainAuc(data.probability, outcomes), 1e-12);

  // The expectation: the mean over outcomes drawn anew, 200 times; each AUC has a standard
  // deviation below 0.01, the mean of 200 below 0.0008.
  Random random(8, StreamOf("test"));
  double auc = 0.0, loss = 0.0, right = 0.0;
  for (int round = 0; round < 20; ++round) {
    std::vector<int> drawn;
    for (const double p : data.probability) {
      drawn.push_back(random.Uniform() < p ? 1 : 0);
      loss -= std::log(drawn.back() == 1 ? p : 1.0 - p) / (20.0 * 1500.0);
      right += ((p >= 0.5) == (drawn.back() == 1) ? 1.0 : 0.0) / (20.0 * 1500.0);
    }
    auc += PlainAuc(data.probability, drawn) / 20.0;
  }
  EXPECT_NEAR(best.expected_auc, auc, 5.0 * 0.01 / std::sqrt(20.0));
  EXPECT_NEAR(best.expected_log_loss, loss, 0.02);
  EXPECT_NEAR(best.expected_accuracy, right, 0.02);

  const ClinicalData large = MakeClinical({.seed = 2, .size = 40000}).value();
  const BestPossible whole = BestPossibleScores(large, AllIndices(40000)).value();
  EXPECT_NEAR(whole.expected_auc, 0.902, 0.005);
  EXPECT_NEAR(whole.drawn_auc, whole.expected_auc, 0.01);
  EXPECT_NEAR(whole.drawn_log_loss, whole.expected_log_loss, 0.01);
}

// Logistic regression, trained to its end by Newton's method on half of the rows: the linear model
// cannot come near the best possible, which is what the hidden layers are for.
TEST(ClinicalTest, ALinearModelFallsShort) {
  const ClinicalData data = MakeClinical().value();
  constexpr size_t kN = 21, kTrain = 4000;
  std::vector<std::vector<double>> x(kN, std::vector<double>(8000, 1.0));
  for (size_t c = 0; c + 1 < kN; ++c) {
    x[c] = Column(data, static_cast<int64_t>(c));
    double mean = 0.0, square = 0.0;
    for (const double v : x[c]) mean += v / 8000.0;
    for (const double v : x[c]) square += (v - mean) * (v - mean) / 8000.0;
    for (double& v : x[c]) v = (v - mean) / std::sqrt(square);
  }
  const std::vector<int> outcomes = Outcomes(data);
  std::array<double, kN> w{};
  const auto score = [&](size_t i) {
    double sum = 0.0;
    for (size_t c = 0; c < kN; ++c) sum += w[c] * x[c][i];
    return sum;
  };
  for (int step = 0; step < 8; ++step) {
    std::array<std::array<double, kN + 1>, kN> system{};  // Hessian | gradient
    for (size_t c = 0; c < kN; ++c) system[c][c] = 1e-3;
    for (size_t i = 0; i < kTrain; ++i) {
      const double p = 1.0 / (1.0 + std::exp(-score(i)));
      for (size_t a = 0; a < kN; ++a) {
        for (size_t b = 0; b < kN; ++b) system[a][b] += p * (1.0 - p) * x[a][i] * x[b][i];
        system[a][kN] += (outcomes[i] - p) * x[a][i];
      }
    }
    for (size_t a = 0; a < kN; ++a) {  // Gauss-Jordan; the matrix is positive definite
      for (size_t b = 0; b < kN; ++b) {
        if (b == a) continue;
        const double factor = system[b][a] / system[a][a];
        for (size_t k = a; k <= kN; ++k) system[b][k] -= factor * system[a][k];
      }
    }
    for (size_t c = 0; c < kN; ++c) w[c] += system[c][kN] / system[c][c];
  }
  std::vector<double> scores;
  std::vector<int> test;
  std::vector<int64_t> indices;
  for (size_t i = kTrain; i < 8000; ++i) {
    scores.push_back(score(i));
    test.push_back(outcomes[i]);
    indices.push_back(static_cast<int64_t>(i));
  }
  const double linear = PlainAuc(scores, test);
  const double best = BestPossibleScores(data, indices).value().drawn_auc;
  EXPECT_GT(linear, 0.75);
  EXPECT_LT(linear, best - 0.05);
}

TEST(ClinicalTest, ImpossibleRequestsSayWhy) {
  EXPECT_THAT(MakeClinical({.size = 0}).status().message(), HasSubstr("number of rows"));
  EXPECT_THAT(MakeClinical({.size = int64_t{1} << 40}).status().message(), HasSubstr("rows"));
  const ClinicalData data = MakeClinical({.size = 50}).value();
  EXPECT_THAT(BestPossibleScores(data, {}).status().message(), HasSubstr("0 events in 0 samples"));
  const std::vector<int64_t> beyond = {50};
  EXPECT_THAT(BestPossibleScores(data, beyond).status().message(), HasSubstr("no sample 50"));
}

}  // namespace
}  // namespace lockstep
