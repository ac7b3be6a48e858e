#include "engine/data/text/token_windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "engine/data/loader.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 0, 1, 2, ...: each token is its place.
std::shared_ptr<const TokenStream> Counting(int64_t size) {
  std::vector<int32_t> tokens(static_cast<size_t>(size));
  std::iota(tokens.begin(), tokens.end(), 0);
  return TokenStream::Make("text", std::move(tokens), size).value();
}

struct Window {
  std::vector<int32_t> x, target;
};
Window Read(const Dataset& dataset, int64_t index, int64_t epoch = 0) {
  const auto length = static_cast<size_t>(dataset.info().x_shape[0]);
  Window window{std::vector<int32_t>(length), std::vector<int32_t>(length)};
  const std::vector<int64_t> indices = {index};
  EXPECT_TRUE(dataset
                  .Gather(indices, Tensor(window.x.data(), dataset.XShape(1)),
                          Tensor(window.target.data(), dataset.TargetShape(1)), epoch)
                  .ok());
  return window;
}

TEST(TokenWindowsTest, EvaluationTellsEveryTokenButTheFirstOnce) {
  for (const int64_t context : {1, 2, 3, 7, 10, 11, 30}) {
    for (const TokenRange part : {TokenRange{0, 12}, TokenRange{5, 12}, TokenRange{10, 12}}) {
      const auto windows = TokenWindows::Evaluation(Counting(12), part, context).value();
      EXPECT_TRUE(windows->info().padded);
      std::vector<int32_t> told;
      for (int64_t i = 0; i < windows->size(); ++i) {
        const Window window = Read(*windows, i);
        for (size_t t = 0; t < window.x.size(); ++t) {
          if (window.x[t] == -1) {
            EXPECT_EQ(window.target[t], kIgnoredTarget);
            continue;
          }
          EXPECT_EQ(window.target[t], window.x[t] + 1);
          told.push_back(window.target[t]);
        }
      }
      std::vector<int32_t> all(static_cast<size_t>(part.size() - 1));
      std::iota(all.begin(), all.end(), static_cast<int32_t>(part.begin) + 1);
      EXPECT_EQ(told, all) << context;
    }
  }
}

TEST(TokenWindowsTest, TheLastWindowIsFilledUp) {
  const auto windows = TokenWindows::Evaluation(Counting(6), {0, 6}, 4).value();
  EXPECT_EQ(windows->size(), 2);
  EXPECT_THAT(Read(*windows, 1).x, ElementsAre(4, -1, -1, -1));
  EXPECT_THAT(Read(*windows, 1).target,
              ElementsAre(5, kIgnoredTarget, kIgnoredTarget, kIgnoredTarget));
}

TEST(TokenWindowsTest, TrainingWindowsLieWithinTheirPart) {
  const TokenRange part{10, 20};
  const auto windows = TokenWindows::Training(Counting(40), part, 4, 500, 3).value();
  EXPECT_EQ(windows->size(), 500);
  std::vector<int> begins(40);
  for (int64_t i = 0; i < 500; ++i) {
    const Window window = Read(*windows, i);
    for (size_t t = 0; t < 4; ++t) {
      EXPECT_EQ(window.x[t], window.x[0] + static_cast<int32_t>(t));
      EXPECT_EQ(window.target[t], window.x[t] + 1);
    }
    ++begins[static_cast<size_t>(window.x[0])];
  }
  // Places 10 to 15, each with a probability of 1/6: 83 of 500 are expected with a deviation of
  // 8.3; five of them.
  for (size_t place = 0; place < begins.size(); ++place) {
    if (place >= 10 && place <= 15) {
      EXPECT_NEAR(begins[place], 500.0 / 6.0, 42.0) << place;
    } else {
      EXPECT_EQ(begins[place], 0) << place;
    }
  }
}

TEST(TokenWindowsTest, WindowsDependOnSeedEpochAndNumberAlone) {
  const auto one = TokenWindows::Training(Counting(1000000), {0, 1000000}, 4, 10, 3).value();
  const auto same = TokenWindows::Training(Counting(1000000), {0, 1000000}, 4, 10, 3).value();
  const auto other = TokenWindows::Training(Counting(1000000), {0, 1000000}, 4, 10, 4).value();
  EXPECT_EQ(Read(*one, 7, 2).x, Read(*same, 7, 2).x);
  EXPECT_NE(Read(*one, 7, 2).x, Read(*one, 7, 3).x);
  EXPECT_NE(Read(*one, 7, 2).x, Read(*one, 8, 2).x);
  EXPECT_NE(Read(*one, 7, 2).x, Read(*other, 7, 2).x);
}

// A loader hands its epoch on: the next epoch has other windows, and one that seeks has the same.
TEST(TokenWindowsTest, ALoaderGivesOtherWindowsInEveryEpoch) {
  const auto windows = TokenWindows::Training(Counting(1000000), {0, 1000000}, 4, 6, 3).value();
  const auto first_tokens = [&](LoaderPlace place, int prefetch) {
    const auto loader = Loader::Make(windows, AllIndices(6), {.batch = 6, .prefetch = prefetch});
    EXPECT_TRUE((*loader)->Seek(place).ok());
    const auto tokens = (*(*loader)->Next())->x.span<int32_t>();
    return std::vector<int32_t>(tokens.begin(), tokens.end());
  };
  EXPECT_NE(first_tokens({.epoch = 0, .batch = 0}, 0), first_tokens({.epoch = 1, .batch = 0}, 0));
  EXPECT_EQ(first_tokens({.epoch = 1, .batch = 0}, 2), first_tokens({.epoch = 1, .batch = 0}, 0));
}

TEST(TokenWindowsTest, PartsAreTheEndsOfTheText) {
  const TokenParts parts = SplitTokens("text", 100, 8, 0.1, 0.05).value();
  EXPECT_EQ(parts.train.begin, 0);
  EXPECT_EQ(parts.train.end, 85);
  EXPECT_EQ(parts.validation.begin, 85);
  EXPECT_EQ(parts.validation.end, 95);
  EXPECT_EQ(parts.test.begin, 95);
  EXPECT_EQ(parts.test.end, 100);
  EXPECT_EQ(SplitTokens("text", 100, 8, 0.0, 0.0)->train.end, 100);
}

TEST(TokenWindowsTest, TooShortTextsAreRefusedWithBothNumbers) {
  EXPECT_THAT(SplitTokens("text", 100, 8, 0.01, 0.1).status().message(),
              AllOf(HasSubstr("of its 100 tokens"), HasSubstr("holds 1")));
  EXPECT_THAT(SplitTokens("text", 10, 8, 0.2, 0.0).status().message(),
              AllOf(HasSubstr("8 of its 10 tokens"), HasSubstr("needs 9")));
  EXPECT_THAT(SplitTokens("text", 10, 2, 0.5, 0.6).status().message(), HasSubstr("needs 3"));
  EXPECT_THAT(SplitTokens("text", 10, 2, -0.5, 0.6).status().message(), HasSubstr("0 to 1"));
  EXPECT_FALSE(SplitTokens("text", 10, 2, 0.0 / 0.0, 0.1).ok());
  EXPECT_THAT(TokenWindows::Training(Counting(8), {0, 8}, 8, 1, 0).status().message(),
              AllOf(HasSubstr("has 8 tokens"), HasSubstr("needs 9")));
  EXPECT_TRUE(TokenWindows::Training(Counting(9), {0, 9}, 8, 1, 0).ok());
  EXPECT_THAT(TokenWindows::Evaluation(Counting(9), {3, 4}, 8).status().message(),
              HasSubstr("has 1 tokens"));
  EXPECT_FALSE(TokenWindows::Training(Counting(9), {0, 9}, 0, 1, 0).ok());
  EXPECT_FALSE(TokenWindows::Training(Counting(9), {0, 9}, 4, 0, 0).ok());
  EXPECT_FALSE(TokenWindows::Evaluation(Counting(9), {0, 9}, 0).ok());
}

}  // namespace
}  // namespace lockstep
