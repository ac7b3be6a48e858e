#include "engine/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

DatasetInfo ClassInfo(int64_t size, Shape sample) {
  return {.name = "toy", .size = size, .x_shape = sample, .classes = 3};
}

TEST(DatasetTest, GathersSamplesInTheOrderAsked) {
  const auto dataset =
      InMemoryDataset::Make(ClassInfo(3, {2}), std::vector<float>{0, 1, 10, 11, 20, 21},
                            std::vector<int32_t>{2, 0, 1})
          .value();
  std::vector<float> x(8, kNaN);
  std::vector<int32_t> target(4, -1);
  const std::vector<int64_t> indices = {2, 0, 2, 1};
  ASSERT_TRUE(dataset
                  ->Gather(indices, Tensor(x.data(), dataset->XShape(4)),
                           Tensor(target.data(), dataset->TargetShape(4)))
                  .ok());
  EXPECT_THAT(x, ElementsAre(20, 21, 0, 1, 20, 21, 10, 11));
  EXPECT_THAT(target, ElementsAre(1, 2, 1, 0));
  EXPECT_EQ(dataset->XShape(4), Shape({4, 2}));
  EXPECT_EQ(dataset->TargetShape(4), Shape({4}));
}

TEST(DatasetTest, AnEmptyViewSkipsThatHalfAndNoIndicesAreFine) {
  const auto dataset =
      InMemoryDataset::Make(ClassInfo(2, {1}), std::vector<float>{5, 6}, std::vector<int32_t>{1, 0})
          .value();
  std::vector<float> x(1);
  std::vector<int32_t> target(1);
  const std::vector<int64_t> second = {1};
  ASSERT_TRUE(dataset->Gather(second, Tensor(x.data(), dataset->XShape(1)), {}).ok());
  ASSERT_TRUE(dataset->Gather(second, {}, Tensor(target.data(), dataset->TargetShape(1))).ok());
  EXPECT_EQ(x[0], 6.0f);
  EXPECT_EQ(target[0], 0);
  EXPECT_TRUE(dataset->Gather({}, Tensor(x.data(), dataset->XShape(0)), {}).ok());
}

// Every byte, scaled, is what dividing in float gives: the nearest float to u / 255.
TEST(DatasetTest, BytesAreScaledToTheNearestFloat) {
  std::vector<uint8_t> bytes(256);
  for (size_t u = 0; u < bytes.size(); ++u) bytes[u] = static_cast<uint8_t>(u);
  const auto dataset =
      InMemoryDataset::Make(ClassInfo(1, {16, 16, 1}), bytes, std::vector<int32_t>{0}).value();
  std::vector<float> x(256, kNaN);
  const std::vector<int64_t> first = {0};
  ASSERT_TRUE(dataset->Gather(first, Tensor(x.data(), dataset->XShape(1)), {}).ok());
  for (size_t u = 0; u < bytes.size(); ++u) EXPECT_EQ(x[u], static_cast<float>(u) / 255.0f) << u;
  EXPECT_EQ(dataset->StoredX(0).dtype(), DType::kU8);

  const auto shifted =
      InMemoryDataset::Make(ClassInfo(1, {16, 16, 1}), bytes, std::vector<int32_t>{0},
                            ByteScale::Standardized(0.1307, 0.3081))
          .value();
  ASSERT_TRUE(shifted->Gather(first, Tensor(x.data(), shifted->XShape(1)), {}).ok());
  for (size_t u = 0; u < bytes.size(); ++u) {
    const double want = (static_cast<double>(u) / 255.0 - 0.1307) / 0.3081;
    // Four roundings, of the divisor, the quotient (below 3.3), the shift and their sum
    // (below 2.9).
    EXPECT_NEAR(x[u], want, (3.3 + 3.3 + 0.5 + 2.9) * 0x1p-24) << u;
  }
}

TEST(DatasetTest, TokensAndTheirTargetsAreSequences) {
  const DatasetInfo info{.name = "text",
                         .size = 2,
                         .x_dtype = DType::kI32,
                         .x_shape = {3},
                         .target_shape = {3},
                         .classes = 5,
                         .vocabulary = 5};
  const auto dataset =
      InMemoryDataset::Make(info, std::vector<int32_t>{0, 1, 2, 3, 4, 0},
                            std::vector<int32_t>{kIgnoredTarget, 2, 3, 4, 0, kIgnoredTarget})
          .value();
  std::vector<int32_t> x(3), target(3);
  const std::vector<int64_t> second = {1};
  ASSERT_TRUE(dataset
                  ->Gather(second, Tensor(x.data(), dataset->XShape(1)),
                           Tensor(target.data(), dataset->TargetShape(1)))
                  .ok());
  EXPECT_THAT(x, ElementsAre(3, 4, 0));
  EXPECT_THAT(target, ElementsAre(4, 0, kIgnoredTarget));
  EXPECT_FALSE(ClassLabels(*dataset).ok());
}

// -1 stands for padding where there may be some, and for nothing elsewhere.
TEST(DatasetTest, OnlyPaddedTokensMayBeMinusOne) {
  DatasetInfo info{.name = "toy",
                   .size = 1,
                   .x_dtype = DType::kI32,
                   .x_shape = {3},
                   .target_shape = {3},
                   .classes = 5,
                   .vocabulary = 5};
  const std::vector<int32_t> x = {4, 0, -1}, targets = {0, 1, kIgnoredTarget};
  const auto error = [&] { return InMemoryDataset::Make(info, x, targets).status().message(); };
  EXPECT_THAT(error(), HasSubstr("token -1 is not in 0 to 4"));
  info.padded = true;
  EXPECT_EQ(error(), "");
  EXPECT_THAT(
      InMemoryDataset::Make(info, std::vector<int32_t>{4, 0, -2}, targets).status().message(),
      HasSubstr("token -2"));
  DatasetInfo floats = ClassInfo(1, {3});
  floats.padded = true;
  EXPECT_THAT(InMemoryDataset::Make(floats, std::vector<float>(3), std::vector<int32_t>{0})
                  .status()
                  .message(),
              HasSubstr("only tokens are padded"));
}

TEST(DatasetTest, ViewsShowOneSampleAsItIsStored) {
  const auto dataset =
      InMemoryDataset::Make(ClassInfo(2, {2, 1, 1}), std::vector<uint8_t>{1, 2, 3, 4},
                            std::vector<int32_t>{0, 1})
          .value();
  EXPECT_EQ(dataset->StoredX(1).shape(), Shape({2, 1, 1}));
  EXPECT_THAT(dataset->StoredX(1).span<uint8_t>(), ElementsAre(3, 4));
  EXPECT_THAT(dataset->StoredTarget(1).span<int32_t>(), ElementsAre(1));
  EXPECT_THROW(dataset->StoredX(2), CheckFailure);
}

TEST(DatasetTest, WhatDoesNotFitIsABugOfTheCaller) {
  const auto dataset =
      InMemoryDataset::Make(ClassInfo(2, {1}), std::vector<float>{5, 6}, std::vector<int32_t>{1, 0})
          .value();
  std::vector<float> x(2);
  const std::vector<int64_t> beyond = {2}, negative = {-1}, one = {1};
  const Tensor one_sample(x.data(), dataset->XShape(1));
  EXPECT_THROW((void)dataset->Gather(beyond, one_sample, {}), CheckFailure);
  EXPECT_THROW((void)dataset->Gather(negative, one_sample, {}), CheckFailure);
  EXPECT_THROW((void)dataset->Gather(one, Tensor(x.data(), dataset->XShape(2)), {}), CheckFailure);
  EXPECT_THROW((void)dataset->Gather(one, {}, Tensor(x.data(), dataset->TargetShape(1))),
               CheckFailure);
}

TEST(DatasetTest, ContentThatContradictsItsDescriptionIsRefused) {
  const auto error = [](DatasetInfo info, InMemoryDataset::X x, InMemoryDataset::Targets targets) {
    auto made = InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets));
    return made.ok() ? std::string("(no error)") : made.status().message();
  };
  using Floats = std::vector<float>;
  using Ints = std::vector<int32_t>;
  EXPECT_THAT(error(ClassInfo(2, {2}), Floats(3), Ints(2)), HasSubstr("do not fit 3 numbers"));
  EXPECT_THAT(error(ClassInfo(2, {2}), Floats(4), Ints(1)), HasSubstr("1 targets"));
  EXPECT_THAT(error(ClassInfo(2, {2}), Floats(4), Ints{0, 3}),
              HasSubstr("class 3 is not in 0 to 2"));
  EXPECT_THAT(error(ClassInfo(2, {2}), Floats{0, 0, 0, kNaN}, Ints(2)), HasSubstr("sample 1"));
  EXPECT_THAT(error(ClassInfo(2, {2}), Ints(4), Ints(2)), HasSubstr("cannot be gathered"));
  EXPECT_THAT(error(ClassInfo(-1, {2}), Floats(), Ints()), HasSubstr("negative"));
  EXPECT_THAT(error(ClassInfo(2, {0}), Floats(), Ints(2)), HasSubstr("hold no numbers"));
  const int64_t huge = int64_t{1} << 40;
  EXPECT_THAT(error(ClassInfo(huge, {huge, 1}), Floats(), Ints()),
              HasSubstr("do not fit 0 numbers"));

  DatasetInfo binary{.name = "toy",
                     .size = 1,
                     .x_shape = {1},
                     .task = Task::kBinary,
                     .target_dtype = DType::kF32,
                     .target_shape = {1}};
  EXPECT_THAT(error(binary, Floats(1), Floats{0.5f}), HasSubstr("0 or 1"));
  EXPECT_THAT(error(binary, Floats(1), Ints{1}), HasSubstr("targets stored"));
  binary.class_names = {"a", "b", "c"};
  EXPECT_THAT(error(binary, Floats(1), Floats{1.0f}), HasSubstr("3 class names"));
}

TEST(DatasetTest, ClassLabelsOfClassNumbersAndOfBinaryTargets) {
  const auto classes =
      InMemoryDataset::Make(ClassInfo(3, {1}), std::vector<float>(3), std::vector<int32_t>{2, 0, 2})
          .value();
  EXPECT_THAT(ClassLabels(*classes).value(), ElementsAre(2, 0, 2));
  const DatasetInfo binary{.name = "toy",
                           .size = 3,
                           .x_shape = {1},
                           .task = Task::kBinary,
                           .target_dtype = DType::kF32,
                           .target_shape = {1}};
  const auto outcomes =
      InMemoryDataset::Make(binary, std::vector<float>(3), std::vector<float>{1, 0, 1}).value();
  EXPECT_THAT(ClassLabels(*outcomes).value(), ElementsAre(1, 0, 1));
}

}  // namespace
}  // namespace lockstep
