#include "engine/data/folds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

// What a cross-validation promises, whatever the keys (but times).
std::vector<Splits> AllFolds(int64_t size, const SplitKeys& keys, int64_t folds,
                             double validation = 0.2) {
  std::vector<Splits> all;
  std::vector<int> tested(static_cast<size_t>(size));
  for (int64_t fold = 1; fold <= folds; ++fold) {
    const Result<Splits> splits = FoldSplit(
        size, keys,
        {.folds = folds, .fold = fold, .validation = Share::Fraction(validation), .seed = 7});
    EXPECT_TRUE(splits.ok()) << splits.status().message();
    if (!splits.ok()) return all;
    std::vector<int64_t> together;
    for (const auto* part : {&splits->train, &splits->validation, &splits->test}) {
      EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
      together.insert(together.end(), part->begin(), part->end());
    }
    std::sort(together.begin(), together.end());
    EXPECT_EQ(std::adjacent_find(together.begin(), together.end()), together.end());
    for (const int64_t i : splits->test) ++tested[static_cast<size_t>(i)];
    if (keys.times.empty()) {
      EXPECT_EQ(std::ssize(together), size);
      EXPECT_EQ(*std::max_element(together.begin(), together.end()), size - 1);
    }
    all.push_back(*splits);
  }
  if (keys.times.empty()) {
    EXPECT_EQ(std::count(tested.begin(), tested.end(), 1), size);
  }
  return all;
}

TEST(FoldsTest, EverySampleIsTestedOnce) {
  for (const int64_t size : {6, 11, 100, 103}) {
    for (const Splits& splits : AllFolds(size, {}, 5)) {
      EXPECT_GE(std::ssize(splits.test), size / 5);
      EXPECT_LE(std::ssize(splits.test), (size + 4) / 5);
    }
  }
}

// As sklearn.model_selection.StratifiedKFold promises: test folds whose counts of each class differ
// by one at most.
TEST(FoldsTest, ClassesAreSpreadOverFoldsToWithinOne) {
  Random random(1, 2);
  SplitKeys keys;
  std::map<int32_t, int64_t> counts;
  for (int i = 0; i < 211; ++i) {
    const auto u = random.Below(10);
    keys.classes.push_back(u < 6 ? 0 : u < 9 ? 4 : 9);
    ++counts[keys.classes.back()];
  }
  for (const Splits& splits : AllFolds(211, keys, 5)) {
    EXPECT_GE(splits.test.size(), 42u);
    EXPECT_LE(splits.test.size(), 43u);
    std::map<int32_t, int64_t> here;
    for (const int64_t i : splits.test) ++here[keys.classes[static_cast<size_t>(i)]];
    for (const auto& [label, count] : counts) {
      EXPECT_GE(here[label], count / 5);
      EXPECT_LE(here[label], count / 5 + 1);
    }
  }
}

TEST(FoldsTest, GroupsAreNeverTorn) {
  Random random(3, 4);
  SplitKeys keys;
  for (int i = 0; i < 300; ++i) {
    keys.groups.push_back(static_cast<int32_t>(3 * random.Below(40)));  // with holes
    keys.classes.push_back(static_cast<int32_t>(random.Below(2)));
  }
  for (const Splits& splits : AllFolds(300, keys, 5)) {
    EXPECT_NEAR(static_cast<double>(splits.test.size()), 60.0, 2.0);
    std::map<int32_t, int> where;
    int part = 0;
    for (const auto* list : {&splits.train, &splits.validation, &splits.test}) {
      ++part;
      for (const int64_t i : *list) {
        const auto at = where.try_emplace(keys.groups[static_cast<size_t>(i)], part).first;
        EXPECT_EQ(at->second, part);
      }
    }
  }
}

TEST(FoldsTest, NothingIsLearnedFromTheFuture) {
  Random random(5, 6);
  SplitKeys keys;
  for (int i = 0; i < 120; ++i) keys.times.push_back(static_cast<double>(random.Below(50)));
  const auto time = [&](int64_t i) { return keys.times[static_cast<size_t>(i)]; };
  double last = -1.0;
  size_t trained = 0;
  for (const Splits& splits : AllFolds(120, keys, 4)) {
    const auto range = [&](const std::vector<int64_t>& list) {
      double low = 1e9, high = -1.0;
      for (const int64_t i : list) {
        low = std::min(low, time(i));
        high = std::max(high, time(i));
      }
      return std::pair(low, high);
    };
    EXPECT_LT(range(splits.train).second, range(splits.validation).first);
    EXPECT_LT(range(splits.validation).second, range(splits.test).first);
    EXPECT_LT(last, range(splits.test).first);  // folds follow each other
    last = range(splits.test).second;
    EXPECT_GT(splits.train.size() + splits.validation.size(), trained);  // the window grows
    trained = splits.train.size() + splits.validation.size();
  }
}

TEST(FoldsTest, FoldsAreTheSameWhicheverIsTested) {
  SplitKeys keys;
  for (int32_t i = 0; i < 60; ++i) keys.classes.push_back(i % 3);
  std::set<int64_t> all;
  for (int64_t fold = 1; fold <= 4; ++fold) {
    const Splits splits = FoldSplit(60, keys, {.folds = 4, .fold = fold, .seed = 2}).value();
    all.insert(splits.test.begin(), splits.test.end());
  }
  EXPECT_EQ(all.size(), 60u);
  const Splits other = FoldSplit(60, keys, {.folds = 4, .fold = 1, .seed = 3}).value();
  EXPECT_NE(FoldSplit(60, keys, {.folds = 4, .fold = 1, .seed = 2}).value().test, other.test);
}

TEST(FoldsTest, SaysWhatDoesNotFit) {
  const auto message = [](int64_t size, const SplitKeys& keys, int64_t folds, int64_t fold) {
    return FoldSplit(size, keys, {.folds = folds, .fold = fold}).status().message();
  };
  EXPECT_THAT(message(9, {}, 1, 1), HasSubstr("two folds or more, not 1"));
  EXPECT_THAT(message(9, {}, 3, 4), HasSubstr("there is no fold 4"));
  EXPECT_THAT(message(9, {}, 3, 0), HasSubstr("there is no fold 0"));
  EXPECT_THAT(message(2, {}, 3, 1), HasSubstr("2 samples are too few for 3 folds"));
  EXPECT_THAT(message(6, {.groups = {0, 0, 1, 1, 1, 0}}, 3, 1),
              HasSubstr("2 groups are too few for 3 folds"));
  EXPECT_THAT(message(6, {.classes = {0, 0, 0, 0, 0, 1}}, 3, 1), HasSubstr("class 1 is in fold"));
  EXPECT_THAT(message(6, {.times = {1, 1, 1, 2, 2, 2}}, 3, 1), HasSubstr("2 different times"));
}

}  // namespace
}  // namespace lockstep
