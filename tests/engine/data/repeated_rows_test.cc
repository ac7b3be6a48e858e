#include "engine/data/repeated_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

std::shared_ptr<const Dataset> Rows(std::vector<float> x, std::vector<int32_t> labels) {
  const auto size = static_cast<int64_t>(labels.size());
  return InMemoryDataset::Make({.name = "rows", .size = size, .x_shape = {2}, .classes = 3},
                               std::move(x), std::move(labels))
      .value();
}

TEST(RepeatedRowsTest, FindsRowsOfTheTrainingPart) {
  const auto rows = Rows({1, 2, 3, 4, 1, 2, 5, 6, 3, 4, 1, 2}, {0, 1, 0, 2, 2, 0});
  const std::vector<int64_t> train = {0, 1}, test = {2, 3, 4, 5};
  const RowFinder finder = RowFinder::Make(rows, train).value();
  EXPECT_TRUE(finder.complete());
  const RepeatedRows found = finder.Find(*rows, test).value();
  EXPECT_EQ(found.of, 4);
  EXPECT_EQ(found.found, 3);
  EXPECT_EQ(found.contradicts, 1);  // row 4: label 2, where it is trained with label 1
  EXPECT_THAT(found.examples, ElementsAre(Pair(2, 0), Pair(4, 1), Pair(5, 0)));
}

TEST(RepeatedRowsTest, OneThatAgreesIsEnough) {
  const auto rows = Rows({1, 2, 1, 2, 1, 2}, {0, 1, 1});
  const std::vector<int64_t> train = {0, 1}, test = {2};
  const RowFinder finder = RowFinder::Make(rows, train).value();
  EXPECT_EQ(finder.Find(*rows, test)->contradicts, 0);
  const RepeatedRows among = finder.FindAmongThem().value();
  EXPECT_EQ(among.found, 1);
  EXPECT_EQ(among.contradicts, 1);
  EXPECT_THAT(among.examples, ElementsAre(Pair(1, 0)));
}

TEST(RepeatedRowsTest, RowsThatDifferAreNotFound) {
  Random random(1, 2);
  std::vector<float> x;
  for (int i = 0; i < 4000; ++i) x.push_back(static_cast<float>(random.Uniform()));
  const auto rows = Rows(x, std::vector<int32_t>(2000, 1));
  std::vector<int64_t> train = AllIndices(1500), test;
  for (int64_t i = 1500; i < 2000; ++i) test.push_back(i);
  const RowFinder finder = RowFinder::Make(rows, train).value();
  EXPECT_EQ(finder.Find(*rows, test)->found, 0);
  EXPECT_EQ(finder.FindAmongThem()->found, 0);
}

// Of more rows than it may look at, it takes every k-th and says so.
TEST(RepeatedRowsTest, LooksAtSomeWhereThereAreMany) {
  std::vector<float> x(2 * 100, 7.0f);
  const auto rows = Rows(x, std::vector<int32_t>(100, 1));
  const std::vector<int64_t> all = AllIndices(100);
  const RowFinder finder = RowFinder::Make(rows, all, /*most=*/30).value();
  EXPECT_FALSE(finder.complete());
  EXPECT_EQ(finder.samples(), 25);
  EXPECT_EQ(finder.Find(*rows, all, /*most=*/40)->of, 34);
  EXPECT_EQ(finder.Find(*rows, all, /*most=*/40)->found, 34);
}

}  // namespace
}  // namespace lockstep
