#include "engine/data/table/standardize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kFloatEps = 0x1p-24;

std::shared_ptr<const InMemoryDataset> Table(int64_t rows, int64_t columns, std::vector<float> x) {
  return InMemoryDataset::Make({.name = "table",
                                .size = rows,
                                .x_shape = {columns},
                                .task = Task::kRegression,
                                .target_dtype = DType::kF32,
                                .target_shape = {1},
                                .has_missing = true},
                               std::move(x), std::vector<float>(static_cast<size_t>(rows)))
      .value();
}

std::vector<float> Gathered(const Dataset& dataset, const std::vector<int64_t>& indices) {
  const Shape shape = dataset.XShape(static_cast<int64_t>(indices.size()));
  std::vector<float> x(static_cast<size_t>(shape.size()), kNaN);
  EXPECT_TRUE(dataset.Gather(indices, Tensor(x.data(), shape), {}).ok());
  return x;
}

TEST(StandardizeTest, TrainingSamplesGetMeanZeroAndDeviationOne) {
  constexpr int64_t kRows = 1001, kColumns = 3;
  Random random(7, StreamOf("test"));
  std::vector<float> x;
  for (int64_t i = 0; i < kRows; ++i) {
    x.push_back(static_cast<float>(1e4 + random.Normal()));
    x.push_back(static_cast<float>(1e-3 * random.Normal()));
    x.push_back(static_cast<float>(-5.0 + 1e6 * random.Normal()));
  }
  const auto table = Table(kRows, kColumns, x);
  const std::vector<int64_t> all = AllIndices(kRows);
  const auto standardizer = Standardizer::Measure(*table, all).value();
  const auto standardized = Standardized(table, standardizer).value();
  const std::vector<float> y = Gathered(*standardized, all);
  for (size_t c = 0; c < kColumns; ++c) {
    double sum = 0.0, squares = 0.0;
    for (size_t r = 0; r < kRows; ++r) {
      sum += y[r * kColumns + c];
      squares += static_cast<double>(y[r * kColumns + c]) * y[r * kColumns + c];
    }
    // The stored mean is off by half a unit in its last place (1e4 * eps, seen at sd 1); each y by
    // at most eps * |y|.
    EXPECT_NEAR(sum / kRows, 0.0, 1e4 * kFloatEps + 4 * kFloatEps) << c;
    EXPECT_NEAR(squares / kRows, 1.0, 1e-5) << c;
  }
}

TEST(StandardizeTest, OnlyTrainingSamplesAreMeasured) {
  const auto table = Table(4, 1, {1, 3, 1000, kNaN});
  const std::vector<int64_t> train = {0, 1};
  const auto standardizer = Standardizer::Measure(*table, train).value();
  EXPECT_THAT(standardizer.mean(), ElementsAre(2.0f));
  EXPECT_THAT(standardizer.sd(), ElementsAre(1.0f));
  const auto standardized = Standardized(table, standardizer).value();
  EXPECT_THAT(Gathered(*standardized, {3, 2, 0}), ElementsAre(0.0f, 998.0f, -1.0f));
  EXPECT_FALSE(standardized->info().has_missing);
}

TEST(StandardizeTest, MissingValuesDoNotCountAndBecomeTheMean) {
  const auto table = Table(5, 2, {1, kNaN, kNaN, kNaN, 3, kNaN, kNaN, kNaN, 2, kNaN});
  const auto standardizer = Standardizer::Measure(*table, AllIndices(5)).value();
  EXPECT_FLOAT_EQ(standardizer.mean()[0], 2.0f);
  EXPECT_FLOAT_EQ(standardizer.sd()[0], std::sqrt(2.0f / 3.0f));
  EXPECT_THAT(standardizer.mean()[1], 0.0f);  // never seen
  const std::vector<float> y = Gathered(*Standardized(table, standardizer).value(), {1, 3});
  EXPECT_THAT(y, Each(0.0f));
}

// 0.1 has no exact mean in floating point: rounding must not turn it into a deviation.
TEST(StandardizeTest, ConstantFeaturesGiveZeroEverywhere) {
  std::vector<float> x(1000, 0.1f);
  x.push_back(5.0f);  // not a training sample
  const auto table = Table(1001, 1, x);
  const auto standardizer = Standardizer::Measure(*table, AllIndices(1000)).value();
  EXPECT_THAT(standardizer.mean(), ElementsAre(0.1f));
  EXPECT_THAT(standardizer.sd(), ElementsAre(0.0f));
  EXPECT_THAT(Gathered(*Standardized(table, standardizer).value(), {0, 1000}), Each(0.0f));
}

TEST(StandardizeTest, HugeAndTinyValuesStayFinite) {
  const auto table = Table(3, 3, {1e30f, 1e-30f, 1e-42f, -1e30f, 3e-30f, 2e-42f, 1e30f, 2e-30f, 0});
  const auto standardizer = Standardizer::Measure(*table, AllIndices(3)).value();
  for (const float y : Gathered(*Standardized(table, standardizer).value(), {0, 1, 2})) {
    EXPECT_TRUE(std::abs(y) < 2.0f) << y;  // of three values, none is further than sqrt(2)
  }
}

TEST(StandardizeTest, ImagesAreMeasuredPerChannel) {
  const auto images =
      InMemoryDataset::Make({.name = "images", .size = 2, .x_shape = {1, 2, 2}, .classes = 1},
                            std::vector<float>{0, 10, 2, 10, 0, 30, 2, 30}, std::vector<int32_t>(2))
          .value();
  const auto standardizer = Standardizer::Measure(*images, AllIndices(2)).value();
  EXPECT_THAT(standardizer.mean(), ElementsAre(1.0f, 20.0f));
  EXPECT_THAT(standardizer.sd(), ElementsAre(1.0f, 10.0f));
}

TEST(StandardizeTest, TheTwoVectorsRestoreTheSameBits) {
  const auto table = Table(3, 2, {1, 7, 2, 7, 4.5f, 7});
  const auto measured = Standardizer::Measure(*table, AllIndices(3)).value();
  const auto restored = Standardizer::FromVectors(measured.mean(), measured.sd()).value();
  EXPECT_EQ(Gathered(*Standardized(table, measured).value(), {0, 1, 2}),
            Gathered(*Standardized(table, restored).value(), {0, 1, 2}));
}

TEST(StandardizeTest, DamagedVectorsAndOtherShapesAreRefused) {
  EXPECT_FALSE(Standardizer::FromVectors({1, 2}, {1}).ok());
  EXPECT_FALSE(Standardizer::FromVectors({}, {}).ok());
  EXPECT_FALSE(Standardizer::FromVectors({kNaN}, {1}).ok());
  EXPECT_FALSE(Standardizer::FromVectors({0}, {-1}).ok());
  EXPECT_FALSE(Standardizer::FromVectors({0}, {std::numeric_limits<float>::infinity()}).ok());

  const auto table = Table(1, 2, {1, 2});
  const auto wrong = Standardized(table, Standardizer::FromVectors({0}, {1}).value());
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.status().message(), HasSubstr("table: has 2 features"));
  EXPECT_FALSE(Standardizer::Measure(*table, {}).ok());
}

}  // namespace
}  // namespace lockstep
