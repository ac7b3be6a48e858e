#include "engine/train/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;

Sampler Make(int64_t vocabulary, const SamplerOptions& options) {
  Result<Sampler> made = Sampler::Make(vocabulary, options);
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(made).value();
}

int32_t Draw(Sampler& sampler, const std::vector<float>& scores, int64_t place = 0) {
  const Result<int32_t> token = sampler.Draw(scores, place);
  EXPECT_TRUE(token.ok()) << token.status().message();
  return token.ok() ? *token : -1;
}

std::vector<int64_t> Counts(Sampler& sampler, const std::vector<float>& scores, int64_t draws) {
  std::vector<int64_t> counts(scores.size());
  for (int64_t place = 0; place < draws; ++place)
    ++counts[static_cast<size_t>(Draw(sampler, scores, place))];
  return counts;
}

std::vector<float> LogOf(const std::vector<double>& p) {
  std::vector<float> scores;
  for (const double v : p) scores.push_back(static_cast<float>(std::log(v)) + 3.0f);
  return scores;
}

// A count of n draws has the deviation sqrt(n p (1 - p)); five of them are passed once in two
// million counts.
void ExpectShares(const std::vector<int64_t>& counts, const std::vector<double>& p) {
  double n = 0.0;
  for (const int64_t count : counts) n += static_cast<double>(count);
  for (size_t v = 0; v < p.size(); ++v) {
    const double error = std::abs(static_cast<double>(counts[v]) - n * p[v]);
    EXPECT_TRUE(error <= 5.0 * std::sqrt(n * p[v] * (1.0 - p[v]))) << v << ": " << counts[v];
  }
}

TEST(SamplerTest, GreedyIsTheFirstOfTheLargestWhateverTheSeed) {
  for (const uint64_t seed : {1, 2, 3}) {
    Sampler sampler = Make(5, {.temperature = 0.0, .seed = seed});
    EXPECT_EQ(Draw(sampler, {-1.0f, 2.0f, 0.5f, 2.0f, -9.0f}, static_cast<int64_t>(seed)), 1);
  }
}

TEST(SamplerTest, DrawsEachTokenByItsProbability) {
  const std::vector<double> p = {0.5, 0.25, 0.15, 0.1, 0.0};
  Sampler sampler = Make(5, {.seed = 7});
  ExpectShares(Counts(sampler, LogOf(p), 20000), p);
}

TEST(SamplerTest, TemperatureIsAPowerOfTheProbabilities) {
  Sampler sampler = Make(2, {.temperature = 0.5, .seed = 7});  // squares
  ExpectShares(Counts(sampler, LogOf({0.25, 0.75}), 20000), {1.0 / 10.0, 9.0 / 10.0});
  Sampler cold = Make(3, {.temperature = 1e-30, .seed = 7});
  EXPECT_EQ(Counts(cold, {0.0f, 1.0f, -1.0f}, 50)[1], 50);
}

TEST(SamplerTest, TopKLeavesTheLikeliestOfEqualOnesTheFirst) {
  Sampler sampler = Make(5, {.top_k = 2, .seed = 3});
  const std::vector<int64_t> counts = Counts(sampler, LogOf({0.2, 0.1, 0.4, 0.2, 0.1}), 20000);
  ExpectShares(counts, {1.0 / 3.0, 0.0, 2.0 / 3.0, 0.0, 0.0});
  EXPECT_EQ(counts[3], 0);
  Sampler all = Make(3, {.top_k = 100, .seed = 3});
  ExpectShares(Counts(all, LogOf({0.2, 0.3, 0.5}), 20000), {0.2, 0.3, 0.5});
}

TEST(SamplerTest, TopPLeavesTheFewestThatTogetherHaveIt) {
  const std::vector<float> scores = LogOf({0.1, 0.4, 0.05, 0.3, 0.15});
  const auto kept = [&](double top_p, int64_t top_k) {
    Sampler sampler = Make(5, {.top_k = top_k, .top_p = top_p, .seed = 5});
    const std::vector<int64_t> counts = Counts(sampler, scores, 2000);
    std::set<int> tokens;
    for (int v = 0; v < 5; ++v) {
      if (counts[static_cast<size_t>(v)] > 0) tokens.insert(v);
    }
    return tokens;
  };
  EXPECT_EQ(kept(0.01, 0), (std::set<int>{1}));
  EXPECT_EQ(kept(0.39, 0), (std::set<int>{1}));
  EXPECT_EQ(kept(0.69, 0), (std::set<int>{1, 3}));
  EXPECT_EQ(kept(0.71, 0), (std::set<int>{1, 3, 4}));
  EXPECT_EQ(kept(0.999, 0), (std::set<int>{0, 1, 2, 3, 4}));
  // Of the two likeliest, 4 : 3, the first has 0.57.
  EXPECT_EQ(kept(0.5, 2), (std::set<int>{1}));
  EXPECT_EQ(kept(0.6, 2), (std::set<int>{1, 3}));
}

TEST(SamplerTest, APenaltyMakesWhatTheTextHasLessLikelyOnBothSidesOfZero) {
  Sampler sampler = Make(3, {.temperature = 0.0, .repetition_penalty = 2.0});
  EXPECT_EQ(Draw(sampler, {3.0f, 2.0f, -1.0f}), 0);
  sampler.Saw(0);
  sampler.Saw(0);  // once is enough
  EXPECT_EQ(Draw(sampler, {3.0f, 2.0f, -1.0f}), 1);
  EXPECT_EQ(Draw(sampler, {5.0f, 2.0f, -1.0f}), 0);
  sampler.Saw(1);
  EXPECT_EQ(Draw(sampler, {-1.0f, -1.5f, -1.9f}), 2);
  sampler.Reset();
  EXPECT_EQ(Draw(sampler, {3.0f, 2.0f, -1.0f}), 0);
}

TEST(SamplerTest, ADrawDependsOnSeedAndPlaceAloneNotOnOtherDraws) {
  const std::vector<float> scores(100, 0.0f);
  Sampler one = Make(100, {.seed = 11}), two = Make(100, {.seed = 11}), other = Make(100, {});
  std::vector<int32_t> forward, backward(40), others;
  for (int64_t place = 0; place < 40; ++place) {
    forward.push_back(Draw(one, scores, place));
    others.push_back(Draw(other, scores, place));
  }
  for (int64_t place = 40; place-- > 0;)
    backward[static_cast<size_t>(place)] = Draw(two, scores, place);
  EXPECT_EQ(forward, backward);
  EXPECT_NE(forward, others);
}

TEST(SamplerTest, ScoresThatAreNotFiniteAreAnError) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler = Make(3, {.temperature = temperature});
    for (const std::vector<float>& scores : {std::vector<float>{0.0f, nan, 1.0f},
                                             {nan, 0.0f, 1.0f},
                                             {0.0f, inf, 1.0f},
                                             {-inf, -inf, -inf}}) {
      const Result<int32_t> token = sampler.Draw(scores, 17);
      ASSERT_FALSE(token.ok());
      EXPECT_THAT(token.status().message(), HasSubstr("token 17"));
    }
    EXPECT_EQ(Draw(sampler, {-inf, -inf, 1.0f}), 2);  // a token that cannot be
  }
}

TEST(SamplerTest, OptionsOutOfRangeAreNamed) {
  const auto complaint = [](const SamplerOptions& options) {
    const Result<Sampler> made = Sampler::Make(10, options);
    return made.ok() ? std::string() : made.status().message();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(complaint({.temperature = -1.0}), HasSubstr("temperature"));
  EXPECT_THAT(complaint({.temperature = nan}), HasSubstr("temperature"));
  EXPECT_THAT(complaint({.top_k = -1}), HasSubstr("top_k"));
  EXPECT_THAT(complaint({.top_p = 0.0}), HasSubstr("top_p"));
  EXPECT_THAT(complaint({.top_p = 1.5}), HasSubstr("top_p"));
  EXPECT_THAT(complaint({.top_p = nan}), HasSubstr("top_p"));
  EXPECT_THAT(complaint({.repetition_penalty = 0.0}), HasSubstr("repetition"));
}

}  // namespace
}  // namespace lockstep
