// Shapes that make no sense cannot be made, and views know how long their memory is.
#include "engine/tensor/tensor.h"

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::HasSubstr;

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

template <class Make>
std::string Refused(Make&& make) {
  try {
    make();
  } catch (const ArgumentFailure& failure) {
    return failure.what();
  }
  return "";
}

TEST(ShapeTest, ANegativeExtentIsRefused) {
  EXPECT_THAT(Refused([] { Shape({32, -20}); }), HasSubstr("(32, -20) has the extent -20"));
  const Shape shape{32, 20};
  EXPECT_THAT(Refused([&] { shape.WithBatch(-1); }), HasSubstr("(-1, 20)"));
  EXPECT_THAT(Refused([&] { shape.WithChannels(std::numeric_limits<int64_t>::min()); }),
              HasSubstr("-9223372036854775808"));
  EXPECT_EQ(shape, Shape({32, 20}));
}

TEST(ShapeTest, MoreElementsThanCanBeCountedAreRefused) {
  const int64_t half = int64_t{1} << 32;
  EXPECT_THAT(Refused([&] {
                Shape({half, half});
              }),
              HasSubstr("(4294967296, 4294967296) has more elements than can be counted, "
                        "9223372036854775807"));
  EXPECT_THAT(Refused([&] { Shape({0, half, half}); }), HasSubstr("more elements"));
  const Shape wide{1, half};
  EXPECT_THAT(Refused([&] { wide.WithBatch(half); }), HasSubstr("more elements"));
  EXPECT_EQ(Shape({kMost}).size(), kMost);
  EXPECT_EQ(Shape({kMost, 1, 0}).size(), 0);
  EXPECT_EQ(Shape({kMost / 3, 3}).size(), kMost / 3 * 3);
}

TEST(ShapeTest, HasAtMostFiveExtents) {
  EXPECT_EQ(Shape({1, 2, 3, 4, 5}).size(), 120);
  EXPECT_THAT(Refused([] { Shape({1, 2, 3, 4, 5, 6}); }), HasSubstr("5 extents, not 6"));
}

TEST(TensorTest, IsMadeOfMemoryOfItsOwnSizeOnly) {
  std::vector<float> x(640);
  const std::vector<int32_t> ids(7);
  std::array<double, 4> d{};
  const Result<Tensor> whole = Tensor::Of({32, 20}, x);
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->data(), x.data());
  EXPECT_EQ(whole->dtype(), DType::kF32);
  EXPECT_EQ(ConstTensor::Of({7}, ids).value().dtype(), DType::kI32);
  EXPECT_EQ(ConstTensor::Of({2, 2}, d).value().dtype(), DType::kF64);
  EXPECT_EQ(ConstTensor::Of({2, 20}, std::span(x).first(40)).value().size(), 40);
  EXPECT_TRUE(ConstTensor::Of({0, 20}, std::span<const float>()).ok());
  for (const Status& status :
       {Tensor::Of({32, 21}, x).status(), ConstTensor::Of({31, 20}, x).status(),
        ConstTensor::Of({}, x).status()}) {
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr("elements, not 640"));
  }
}

TEST(TensorTest, KnowsWhatItOverlaps) {
  std::vector<float> x(100);
  const auto part = [&](int64_t begin, int64_t end) {
    return Tensor(x.data() + begin, {end - begin});
  };
  EXPECT_TRUE(part(0, 50).Overlaps(part(49, 60)));
  EXPECT_TRUE(part(49, 60).Overlaps(part(0, 50)));
  EXPECT_TRUE(part(0, 100).Overlaps(part(10, 11)));
  EXPECT_FALSE(part(0, 50).Overlaps(part(50, 60)));
  EXPECT_FALSE(part(50, 60).Overlaps(part(0, 50)));
  EXPECT_FALSE(part(10, 10).Overlaps(part(10, 10)));
  EXPECT_FALSE(part(10, 10).Overlaps(part(0, 50)));
  EXPECT_FALSE(part(0, 50).Overlaps(part(10, 10)));
  EXPECT_FALSE(Tensor().Overlaps(part(0, 0)));
}

}  // namespace
}  // namespace lockstep
