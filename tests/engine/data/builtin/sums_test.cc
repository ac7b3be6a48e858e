#include "engine/data/builtin/sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

struct Sum {
  int a, b, result;
};

Sum Read(const std::string& text) {
  const size_t plus = text.find('+'), equals = text.find('=');
  return {std::stoi(text.substr(0, plus)), std::stoi(text.substr(plus + 1, equals - plus - 1)),
          std::stoi(text.substr(equals + 1))};
}

TEST(SumsTest, EveryTextIsARightSum) {
  for (const int digits : {1, 2}) {
    const SumsData data = MakeSums({.digits = digits}).value();
    const int limit = digits == 1 ? 10 : 100;
    std::set<std::pair<int, int>> all;
    for (const auto* texts : {&data.train_texts, &data.test_texts}) {
      for (const std::string& text : *texts) {
        EXPECT_EQ(text.back(), '\n');
        const Sum sum = Read(text);
        EXPECT_EQ(sum.a + sum.b, sum.result) << text;
        all.emplace(sum.a, sum.b);
      }
    }
    // Every ordered pair once.
    EXPECT_EQ(all.size(), static_cast<size_t>(limit * limit));
    EXPECT_EQ(data.train_texts.size() + data.test_texts.size(), all.size());
  }
}

TEST(SumsTest, NoPairOfOperandsIsInBothParts) {
  const SumsData data = MakeSums({.test_fraction = 0.3}).value();
  std::set<std::pair<int, int>> train;
  for (const std::string& text : data.train_texts) {
    const Sum sum = Read(text);
    train.insert(std::minmax(sum.a, sum.b));
  }
  for (const std::string& text : data.test_texts) {
    const Sum sum = Read(text);
    EXPECT_FALSE(train.contains(std::minmax(sum.a, sum.b))) << text;
  }
  // 30 % of the 5050 unordered pairs, of which 100 have one order only.
  EXPECT_NEAR(static_cast<double>(data.test_texts.size()), 3000.0, 60.0);
}

// The tokens spell the text; every character of the answer, and nothing else, is a target.
TEST(SumsTest, TargetsAreTheAnswerOneCharacterAhead) {
  const SumsData data = MakeSums({.digits = 2}).value();
  const DatasetInfo& info = data.test->info();
  EXPECT_EQ(info.x_shape, Shape{9});
  EXPECT_EQ(info.target_shape, Shape{9});
  EXPECT_EQ(info.classes, 13);
  EXPECT_EQ(info.tokenizer, data.tokenizer);
  EXPECT_EQ(info.vocabulary, 13);
  std::string characters;
  for (int32_t token = 0; token < 13; ++token) characters += data.tokenizer->Bytes(token);
  EXPECT_EQ(characters, "\n+0123456789=");
  for (int64_t i = 0; i < data.test->size(); ++i) {
    const std::string& text = data.test_texts[static_cast<size_t>(i)];
    const std::string shown = data.tokenizer->Decode(data.test->StoredX(i).span<int32_t>());
    const auto targets = data.test->StoredTarget(i).span<int32_t>();
    EXPECT_EQ(shown, (text + std::string(9, '\n')).substr(0, 9));
    std::string answer;
    for (size_t t = 0; t < targets.size(); ++t) {
      if (targets[t] == kIgnoredTarget) continue;
      const std::vector<int32_t> next = {targets[t]};
      answer += data.tokenizer->Decode(next);
      EXPECT_EQ(text[t + 1], answer.back());
    }
    EXPECT_EQ(answer, text.substr(text.find('=') + 1));
  }
}

TEST(SumsTest, DependsOnTheSeedAlone) {
  EXPECT_EQ(MakeSums({.seed = 4}).value().train_texts, MakeSums({.seed = 4}).value().train_texts);
  EXPECT_NE(MakeSums({.seed = 4}).value().test_texts, MakeSums({.seed = 5}).value().test_texts);
}

TEST(SumsTest, ImpossibleRequestsSayWhy) {
  EXPECT_THAT(MakeSums({.digits = 0}).status().message(), HasSubstr("1 to 3 digits"));
  EXPECT_THAT(MakeSums({.digits = 4}).status().message(), HasSubstr("1 to 3 digits"));
  EXPECT_THAT(MakeSums({.test_fraction = 0.0}).status().message(), HasSubstr("test fraction"));
  EXPECT_THAT(MakeSums({.test_fraction = 1.0}).status().message(), HasSubstr("of 5050 pairs"));
  EXPECT_FALSE(MakeSums({.test_fraction = 0.0 / 0.0}).ok());
}

}  // namespace
}  // namespace lockstep
