#include "engine/data/image/npy_pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "engine/io/npy.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class NpyPicturesTest : public testing::Test {
 protected:
  template <class T>
  std::string File(const std::string& name, StoredType type, const Shape& shape,
                   const std::vector<T>& values) {
    EXPECT_TRUE(
        WriteNpy(folder_ / name, StoredTensor("", type, shape, std::as_bytes(std::span(values))))
            .ok());
    return folder_ / name;
  }
  std::string Labels(const std::vector<int64_t>& labels) {
    return File("y.npy", StoredType::kI64, {static_cast<int64_t>(labels.size())}, labels);
  }
  std::string ErrorOf(const std::string& x, const std::string& y) {
    const auto dataset = LoadNpyPictures(x, y);
    return dataset.ok() ? "(no error)" : dataset.status().message();
  }

  TemporaryFolder folder_;
};

TEST_F(NpyPicturesTest, BytesAndFloats) {
  const std::string bytes = File<uint8_t>("x.npy", StoredType::kU8, {2, 1, 2}, {0, 255, 51, 102});
  const auto grey = LoadNpyPictures(bytes, Labels({2, 0})).value();
  EXPECT_EQ(grey->info().x_shape, Shape({1, 2, 1}));
  EXPECT_THAT(grey->info().class_names, ElementsAre("0", "2"));
  EXPECT_THAT(ClassLabels(*grey).value(), ElementsAre(1, 0));
  std::vector<float> x(4);
  ASSERT_TRUE(grey->Gather(AllIndices(2), Tensor(x.data(), grey->XShape(2)), {}).ok());
  EXPECT_THAT(x, ElementsAre(0.0f, 1.0f, 0.2f, 0.4f));
  const std::string floats =
      File<float>("f.npy", StoredType::kF32, {1, 1, 1, 3}, {-1.5f, 2.0f, 0.25f});
  const auto rgb =
      LoadNpyPictures(floats, File<uint8_t>("u.npy", StoredType::kU8, {1, 1}, {4})).value();
  EXPECT_EQ(rgb->info().x_shape, Shape({1, 1, 3}));
  EXPECT_THAT(rgb->info().class_names, ElementsAre("4"));
  EXPECT_THAT(rgb->StoredX(0).span<float>(), ElementsAre(-1.5f, 2.0f, 0.25f));
}

TEST_F(NpyPicturesTest, LabelsWithGapsAreNoEmptyClasses) {
  const std::string x = File<uint8_t>("x.npy", StoredType::kU8, {4, 1, 1}, {1, 2, 3, 4});
  const auto pictures = LoadNpyPictures(x, Labels({9, 0, 9, 100000})).value();
  EXPECT_THAT(pictures->info().class_names, ElementsAre("0", "9", "100000"));
  EXPECT_EQ(pictures->info().classes, 3);
  EXPECT_THAT(ClassLabels(*pictures).value(), ElementsAre(1, 0, 1, 2));
}

TEST_F(NpyPicturesTest, ArraysThatDoNotFitAreRefused) {
  const auto bytes = [&](const Shape& shape) {
    return File("x.npy", StoredType::kU8, shape,
                std::vector<uint8_t>(static_cast<size_t>(shape.size())));
  };
  const std::string y = Labels({0, 1});
  EXPECT_THAT(ErrorOf(bytes({2, 3}), y), HasSubstr("x.npy: pictures have the shape (N, H, W)"));
  EXPECT_THAT(ErrorOf(bytes({2, 3, 8, 8}), y), HasSubstr("numpy.moveaxis"));
  EXPECT_THAT(ErrorOf(bytes({2, 0, 8, 3}), y), HasSubstr("1 to 4 channels"));
  EXPECT_THAT(ErrorOf(bytes({3, 8, 8}), y), HasSubstr("holds 3 pictures, but"));
  const std::string x = bytes({2, 1, 1});
  const auto labels = [&](int64_t second) {
    return File<int64_t>("z.npy", StoredType::kI64, {2}, {0, second});
  };
  EXPECT_THAT(ErrorOf(x, labels(-1)), HasSubstr("z.npy: label 1 is -1"));
  EXPECT_THAT(ErrorOf(x, labels(int64_t{1} << 40)), HasSubstr("z.npy: value 1099511627776"));
  EXPECT_THAT(ErrorOf(x, x), HasSubstr("(no error)"));  // (2, 1, 1) bytes are labels too
  EXPECT_THAT(ErrorOf(y, bytes({2, 1, 2})), HasSubstr("swapped?"));
  EXPECT_THAT(ErrorOf(x, File<float>("f.npy", StoredType::kF32, {2}, {0, 1})),
              HasSubstr("labels are whole numbers, these are F32"));
  EXPECT_THAT(ErrorOf(File<double>("d.npy", StoredType::kF64, {2, 1, 1}, {0, 1}), y),
              HasSubstr("pictures are U8 or F32, these are F64"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(ErrorOf(File<float>("n.npy", StoredType::kF32, {2, 1, 1}, {0, nan}), y),
              HasSubstr("n.npy"));
  EXPECT_THAT(ErrorOf(folder_ / "none.npy", y), HasSubstr("none.npy"));
}

}  // namespace
}  // namespace lockstep
