#include "engine/data/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace lockstep {
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

}  // namespace
}  // namespace lockstep
