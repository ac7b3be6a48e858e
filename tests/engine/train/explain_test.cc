// Contributions of columns to one prediction: those of models for which they are known, sums, the
// same numbers on any number of threads, and what is refused.
#include "engine/train/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "layers/linear.h"
#include "models/mlp.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

const ToldOf kFirst = [](std::span<const float> y) { return static_cast<double>(y[0]); };

std::vector<float> Numbers(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("explain_test"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

std::vector<FeatureColumn> Columns(const std::vector<int64_t>& widths) {
  std::vector<FeatureColumn> columns;
  int64_t begin = 0;
  for (const int64_t width : widths) {
    columns.push_back({.name = {}, .begin = begin, .end = begin + width});
    begin += width;
  }
  return columns;
}

double SumOf(const Explanation& explanation) {
  return std::accumulate(explanation.contributions.begin(), explanation.contributions.end(), 0.0);
}

// Of w x + b a column contributes w (x - baseline), in whatever order.
TEST(ExplainTest, OfALinearModelAColumnContributesItsWeightTimesItsDifference) {
  const std::vector<int64_t> widths = {1, 3, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const std::vector<FeatureColumn> columns = Columns(widths);
  const int64_t features = columns.back().end;
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Linear(1), {.input = {64, features}, .seed = 4}).value();
  const std::vector<float> x = Numbers(features, 1), baseline = Numbers(features, 2);
  const std::span<const float> w = net.parameters().value(0).span<float>();
  for (const int64_t exact : {0, 13}) {
    const Explanation got =
        Explain(net, x, baseline, columns, kFirst, {.exact = exact, .orders = 2}).value();
    for (size_t c = 0; c < columns.size(); ++c) {
      double want = 0.0;
      for (int64_t i = columns[c].begin; i < columns[c].end; ++i) {
        const auto at = static_cast<size_t>(i);
        want += double{w[at]} * (double{x[at]} - double{baseline[at]});
      }
      // Differences of outputs of size 4, each rounded some 16 times by 2^-24.
      EXPECT_NEAR(got.contributions[c], want, 2 * 4 * 16 * 0x1p-24) << c;
    }
    EXPECT_NEAR(SumOf(got), got.prediction - got.baseline, 1e-14);
  }
}

// x y at (1, 1) against (0, 0): each contributes a half; a third column that does nothing, nothing.
TEST(ExplainTest, WhatColumnsDoTogetherIsSharedAlike) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Linear(3, {.bias = false}), {.input = {8, 3}}).value();
  {
    const ParameterWriter writer = net.Write();
    for (int i = 0; i < 9; ++i) writer->value(0).f32()[i] = i % 4 == 0 ? 1.0f : 0.0f;
  }
  const ToldOf product = [](std::span<const float> y) { return double{y[0]} * double{y[1]}; };
  const std::vector<float> x = {1, 1, 1}, baseline = {0, 0, 0};
  for (const int64_t exact : {0, 10}) {
    const Explanation got =
        Explain(net, x, baseline, Columns({1, 1, 1}), product, {.exact = exact}).value();
    EXPECT_EQ(got.contributions, (std::vector<double>{0.5, 0.5, 0.0}));
    EXPECT_EQ(got.error, 0.0);  // an order and its reverse: a half each
  }
}

TEST(ExplainTest, DrawnOrdersComeNearTheExactOnesAndSayHowNear) {
  constexpr int64_t kColumns = 9;
  Context ctx({.threads = 2});
  Network net = Network::Bind(ctx,
                              Mlp({.hidden = {32, 32},
                                   .norm = MlpOptions::Norm::kNone,
                                   .activation = MlpOptions::Activation::kTanh,
                                   .linear = {.init_scale = 3.0f}}),
                              {.input = {100, kColumns}, .seed = 7})
                    .value();
  const std::vector<float> x = Numbers(kColumns, 3), baseline(kColumns, 0.0f);
  const std::vector<FeatureColumn> columns = Columns(std::vector<int64_t>(kColumns, 1));
  const Explanation exact = Explain(net, x, baseline, columns, kFirst).value();
  const Explanation drawn = Explain(net, x, baseline, columns, kFirst, {.exact = 0}).value();
  EXPECT_EQ(exact.error, 0.0);
  EXPECT_GT(drawn.error, 0.0);
  EXPECT_EQ(drawn.prediction, exact.prediction);
  EXPECT_NEAR(SumOf(exact), exact.prediction - exact.baseline, 1e-14);
  EXPECT_NEAR(SumOf(drawn), drawn.prediction - drawn.baseline, 1e-13);
  for (size_t c = 0; c < kColumns; ++c)
    EXPECT_LE(std::abs(drawn.contributions[c] - exact.contributions[c]), 4 * drawn.error) << c;
}

TEST(ExplainTest, NumbersDependNeitherOnThreadsNorOnTheBatch) {
  constexpr int64_t kColumns = 14;
  const std::vector<float> x = Numbers(kColumns, 3), baseline(kColumns, 0.0f);
  const std::vector<FeatureColumn> columns = Columns(std::vector<int64_t>(kColumns, 1));
  std::vector<double> first;
  for (const int threads : {1, 3}) {
    for (const int64_t batch : {1, 7, 1000}) {
      Context ctx({.threads = threads});
      Network net = Network::Bind(ctx, Mlp({.hidden = {16}}), {.input = {batch, kColumns}}).value();
      const Explanation got = Explain(net, x, baseline, columns, kFirst).value();
      if (first.empty()) first = got.contributions;
      EXPECT_EQ(got.contributions, first) << threads << " threads, batches of " << batch;
    }
  }
}

TEST(ExplainTest, AColumnThatIsAsUsualContributesNothing) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Mlp({.hidden = {8}}), {.input = {16, 4}}).value();
  const std::vector<float> x = {1, 2, 3, 4}, baseline = {1, 0, 3, 0};
  const Explanation got = Explain(net, x, baseline, Columns({1, 1, 1, 1}), kFirst).value();
  EXPECT_EQ(got.contributions[0], 0.0);
  EXPECT_EQ(got.contributions[2], 0.0);
  const Explanation same = Explain(net, x, x, Columns({1, 1, 1, 1}), kFirst).value();
  EXPECT_EQ(same.contributions, std::vector<double>(4, 0.0));
  EXPECT_EQ(same.baseline, same.prediction);
}

TEST(ExplainTest, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Linear(1), {.input = {16, 3}}).value();
  const std::vector<float> x = {1, 2, 3}, baseline = {0, 0, 0}, short_one = {1, 2};
  const auto error = [&](const auto& of, const std::vector<FeatureColumn>& columns) {
    return Explain(net, of, baseline, columns, kFirst).status().message();
  };
  EXPECT_THAT(error(short_one, Columns({1, 1})), HasSubstr("takes 3 numbers of a sample, not 2"));
  EXPECT_THAT(error(x, Columns({1, 1})), HasSubstr("leave out numbers that differ"));
  EXPECT_THAT(error(x, Columns({1, 3})), HasSubstr("column 1 is no range"));
  const std::vector<float> nan = {1, NAN, 3};
  EXPECT_THAT(error(nan, Columns({1, 1, 1})), HasSubstr("number 1 of the sample is nan"));
  // Not where both have one in the same place, either: a network may hide it.
  EXPECT_THAT(
      Explain(net, nan, nan, Columns({1, 1, 1}), [](auto) { return 1.0; }).status().message(),
      HasSubstr("number 1 of the sample is nan"));
  EXPECT_THAT(Explain(net, x, nan, Columns({1, 1, 1}), kFirst).status().message(),
              HasSubstr("number 1 of the baseline is nan"));
}

}  // namespace
}  // namespace lockstep
