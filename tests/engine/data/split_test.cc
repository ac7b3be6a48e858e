#include "engine/data/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

void ExpectPartition(const Splits& splits, int64_t size) {
  std::vector<int64_t> all;
  for (const auto* part : {&splits.train, &splits.validation, &splits.test}) {
    EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
    all.insert(all.end(), part->begin(), part->end());
  }
  std::sort(all.begin(), all.end());
  ASSERT_EQ(static_cast<int64_t>(all.size()), size);
  for (int64_t i = 0; i < size; ++i) EXPECT_EQ(all[static_cast<size_t>(i)], i);
}

TEST(SplitTest, PartsAreDisjointAndCoverEverything) {
  for (const int64_t size : {1, 2, 3, 10, 99, 1000}) {
    SCOPED_TRACE(size);
    const SplitOptions options{
        .validation = Share::Count(size / 5), .test = Share::Count(size / 3), .seed = 3};
    const auto splits = Split(size, options);
    ASSERT_TRUE(splits.ok()) << splits.status().message();
    ExpectPartition(splits.value(), size);
    EXPECT_EQ(static_cast<int64_t>(splits.value().validation.size()), size / 5);
    EXPECT_EQ(static_cast<int64_t>(splits.value().test.size()), size / 3);
  }
}

TEST(SplitTest, FractionsRoundToTheNearestCount) {
  const auto splits =
      Split(569, {.validation = Share::Fraction(0.1), .test = Share::Fraction(0.25), .seed = 1})
          .value();
  EXPECT_EQ(splits.validation.size(), 57u);  // 56.9
  EXPECT_EQ(splits.test.size(), 142u);       // 142.25
}

TEST(SplitTest, DependsOnTheSeedAlone) {
  EXPECT_EQ(Split(100, {.seed = 5}).value().test, Split(100, {.seed = 5}).value().test);
  EXPECT_NE(Split(100, {.seed = 5}).value().test, Split(100, {.seed = 6}).value().test);
}

// Written down once: a change here changes everyone's test sets.
TEST(SplitTest, TheSplitOfASeedStaysTheSame) {
  const auto splits =
      Split(10, {.validation = Share::Count(2), .test = Share::Count(3), .seed = 1}).value();
  EXPECT_THAT(splits.validation, ::testing::ElementsAre(2, 3));
  EXPECT_THAT(splits.test, ::testing::ElementsAre(0, 6, 9));
}

// Each of 20 samples is in the test part of 5 with probability 1/4; over 2000 seeds the count has
// standard deviation sqrt(2000 / 4 * 3 / 4) = 19.4. Six of them for 20 samples: once in 10^7.
TEST(SplitTest, EverySampleIsAsLikelyToBeInATestPart) {
  std::vector<int> chosen(20);
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const auto splits =
        Split(20, {.validation = Share::Count(0), .test = Share::Count(5), .seed = seed}).value();
    for (const int64_t i : splits.test) ++chosen[static_cast<size_t>(i)];
  }
  for (const int count : chosen) EXPECT_NEAR(count, 500, 6 * 19.4);
}

TEST(SplitTest, StratifiedPartsHoldEveryClassInProportion) {
  Random random(11, StreamOf("test"));
  for (int round = 0; round < 50; ++round) {
    SCOPED_TRACE(round);
    const auto size = static_cast<int64_t>(40 + random.Below(400));
    std::vector<int32_t> classes;
    for (int64_t i = 0; i < size; ++i) {
      classes.push_back(static_cast<int32_t>(random.Below(1 + random.Below(4))));
    }
    const SplitOptions options{.validation = Share::Fraction(0.2),
                               .test = Share::Fraction(0.3),
                               .seed = static_cast<uint64_t>(round)};
    const auto splits = StratifiedSplit(classes, options).value();
    ExpectPartition(splits, size);
    EXPECT_EQ(splits.test.size(), Split(size, options).value().test.size());
    EXPECT_EQ(splits.validation.size(), Split(size, options).value().validation.size());
    std::map<int32_t, double> all, test, validation;
    for (const int32_t c : classes) ++all[c];
    for (const int64_t i : splits.test) ++test[classes[static_cast<size_t>(i)]];
    for (const int64_t i : splits.validation) ++validation[classes[static_cast<size_t>(i)]];
    for (const auto& [c, count] : all) {
      // Within one sample of the share; a sample must stay for training, so a class of one or two
      // can miss by up to one more.
      EXPECT_NEAR(test[c], 0.3 * count, count < 4 ? 2.0 : 1.0 + 0.5 * count / size) << c;
      EXPECT_NEAR(validation[c], 0.2 * count, count < 4 ? 2.0 : 1.0 + 0.5 * count / size) << c;
      EXPECT_GE(count - test[c] - validation[c], 1.0) << c;
    }
  }
}

TEST(SplitTest, AClassOfOneSampleStaysInTraining) {
  std::vector<int32_t> classes(20, 0);
  classes[7] = 9;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto splits = StratifiedSplit(classes, {.validation = Share::Fraction(0.4),
                                                  .test = Share::Fraction(0.4),
                                                  .seed = seed})
                            .value();
    EXPECT_THAT(splits.train, ::testing::Contains(7));
  }
}

TEST(SplitTest, ImpossibleRequestsSayWhy) {
  const auto error = [](int64_t size, Share validation, Share test) {
    const auto splits = Split(size, {.validation = validation, .test = test});
    return splits.ok() ? std::string("(no error)") : splits.status().message();
  };
  const Share none = Share::Count(0);
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(error(0, none, none), HasSubstr("no samples"));
  EXPECT_THAT(error(10, Share::Fraction(0.5), Share::Fraction(0.5)), HasSubstr("none to train on"));
  EXPECT_THAT(error(10, Share::Count(10), none), HasSubstr("none to train on"));
  EXPECT_THAT(error(10, Share::Count(std::numeric_limits<int64_t>::max()),
                    Share::Count(std::numeric_limits<int64_t>::max())),
              HasSubstr("none to train on"));
  EXPECT_THAT(error(10, none, Share::Fraction(1.0)), HasSubstr("not in [0, 1)"));
  EXPECT_THAT(error(10, none, Share::Fraction(kNaN)), HasSubstr("not in [0, 1)"));
  EXPECT_THAT(error(10, none, Share::Fraction(-0.1)), HasSubstr("not in [0, 1)"));
  EXPECT_THAT(error(10, none, Share::Count(-1)), HasSubstr("a count from 0"));
  EXPECT_THAT(error(10, Share::Fraction(0.01), none), HasSubstr("of 10 samples holds none"));

  const std::vector<int32_t> all_different = {0, 1, 2, 3};
  const auto stratified =
      StratifiedSplit(all_different, {.validation = none, .test = Share::Count(1)});
  ASSERT_FALSE(stratified.ok());
  EXPECT_THAT(stratified.status().message(), HasSubstr("too few for one of each of 4 classes"));
}

// Rows of 25 patients, between 1 and 8 each, of two classes.
SplitKeys Patients(uint64_t seed) {
  Random random(seed, 9);
  SplitKeys keys;
  for (int32_t patient = 0; patient < 25; ++patient) {
    const auto rows = 1 + random.Below(8);
    for (uint64_t i = 0; i < rows; ++i) {
      keys.groups.push_back(patient);
      keys.classes.push_back(static_cast<int32_t>(random.Below(2)));
    }
  }
  return keys;
}

TEST(GroupedSplitTest, RowsOfOnePatientAreOnOneSide) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    const SplitKeys keys = Patients(seed);
    const auto size = static_cast<int64_t>(keys.groups.size());
    const auto splits = GroupedSplit(
        keys, {.validation = Share::Fraction(0.2), .test = Share::Fraction(0.2), .seed = seed});
    ASSERT_TRUE(splits.ok()) << splits.status().message();
    ExpectPartition(*splits, size);
    std::map<int32_t, int> where;
    int part = 0;
    for (const auto* list : {&splits->train, &splits->validation, &splits->test}) {
      ++part;
      int64_t ones = 0, all_ones = std::count(keys.classes.begin(), keys.classes.end(), 1);
      for (const int64_t i : *list) {
        ones += keys.classes[static_cast<size_t>(i)];
        EXPECT_EQ(where.try_emplace(keys.groups[static_cast<size_t>(i)], part).first->second, part);
      }
      const double share = static_cast<double>(list->size()) / static_cast<double>(size);
      EXPECT_NEAR(share, part == 1 ? 0.6 : 0.2, 0.03);
      // Of some twenty rows: within three.
      EXPECT_NEAR(static_cast<double>(ones), share * static_cast<double>(all_ones), 3.0);
    }
  }
}

TEST(GroupedSplitTest, DependsOnTheSeedAlone) {
  const SplitKeys keys = Patients(1);
  EXPECT_EQ(GroupedSplit(keys, {.seed = 5})->test, GroupedSplit(keys, {.seed = 5})->test);
  EXPECT_NE(GroupedSplit(keys, {.seed = 5})->test, GroupedSplit(keys, {.seed = 6})->test);
}

TEST(GroupedSplitTest, SaysWhatDoesNotFit) {
  SplitKeys one{.groups = std::vector<int32_t>(100, 1), .group_names = {"A", "B"}};
  for (size_t i = 0; i < 20; ++i) one.groups[i] = 0;
  const SplitOptions options{.validation = Share::Count(0), .test = Share::Fraction(0.3)};
  EXPECT_THAT(GroupedSplit(one, options).status().message(),
              HasSubstr("group \"B\" alone holds 80 of 100 samples, more than the 70"));
  const SplitKeys two{.groups = {0, 0, 0, 1, 1, 1}};
  EXPECT_THAT(GroupedSplit(two, {.validation = Share::Count(1), .test = Share::Count(1)})
                  .status()
                  .message(),
              HasSubstr("2 groups are too few for 3 parts"));
}

TEST(GroupedSplitTest, EveryClassIsTrainedOn) {
  // Class 2 is in one group alone.
  SplitKeys keys;
  for (int32_t group = 0; group < 12; ++group) {
    for (int i = 0; i < 5; ++i) {
      keys.groups.push_back(group);
      keys.classes.push_back(group == 4 ? 2 : group % 2);
    }
  }
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const auto splits = GroupedSplit(keys, {.seed = seed}).value();
    EXPECT_TRUE(std::any_of(splits.train.begin(), splits.train.end(), [&](int64_t i) {
      return keys.classes[static_cast<size_t>(i)] == 2;
    })) << seed;
  }
}

TEST(TimeSplitTest, TrainsOnThePastAndTestsOnTheFuture) {
  const std::vector<double> times = {9, 1, 8, 2, 7, 3, 6, 4, 5, 5};
  const auto splits =
      TimeSplit(times, {.validation = Share::Count(2), .test = Share::Count(2)}).value();
  ExpectPartition(splits, 10);
  EXPECT_THAT(splits.test, ::testing::ElementsAre(0, 2));
  EXPECT_THAT(splits.validation, ::testing::ElementsAre(4, 6));
}

TEST(SplitByTest, TheKeysDecide) {
  const SplitOptions options{.validation = Share::Count(2), .test = Share::Count(2), .seed = 3};
  SplitKeys keys;
  EXPECT_EQ(SplitBy(12, keys, options)->test, Split(12, options)->test);
  for (int32_t i = 0; i < 12; ++i) keys.classes.push_back(i % 2);
  EXPECT_EQ(SplitBy(12, keys, options)->test, StratifiedSplit(keys.classes, options)->test);
  for (int32_t i = 0; i < 12; ++i) keys.groups.push_back(i / 2);
  EXPECT_EQ(SplitBy(12, keys, options)->test, GroupedSplit(keys, options)->test);
  for (int32_t i = 0; i < 12; ++i) keys.times.push_back(i);
  EXPECT_THAT(SplitBy(12, keys, options).status().message(), HasSubstr("not by both"));
  keys.groups.clear();
  EXPECT_THAT(SplitBy(12, keys, options)->test, ::testing::ElementsAre(10, 11));
}

}  // namespace
}  // namespace lockstep
