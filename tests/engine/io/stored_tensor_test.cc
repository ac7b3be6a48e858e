#include "engine/io/stored_tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

template <class T>
StoredTensor Stored(StoredType type, const std::vector<T>& values) {
  return {"x", type, Shape{static_cast<int64_t>(values.size())}, std::as_bytes(std::span(values))};
}

template <class T>
std::vector<float> AsFloats(StoredType type, const std::vector<T>& values) {
  std::vector<float> floats(values.size(), NAN);
  const Status status =
      ConvertInto(Stored(type, values), Tensor(floats.data(), Shape{std::ssize(values)}));
  EXPECT_TRUE(status.ok()) << status.message();
  return floats;
}

TEST(StoredTypeTest, NamesAndSizesFitTheFormat) {
  EXPECT_STREQ(NameOf(StoredType::kF8E4M3), "F8_E4M3");
  EXPECT_STREQ(NameOf(StoredType::kBool), "BOOL");
  for (int t = 0; t <= static_cast<int>(StoredType::kBool); ++t) {
    const auto type = static_cast<StoredType>(t);
    EXPECT_EQ(StoredTypeFromName(NameOf(type)), type);
    if (const auto dtype = DTypeOf(type)) {
      EXPECT_EQ(StoredTypeOf(*dtype), type);
      EXPECT_EQ(SizeOf(*dtype), SizeOf(type));
    }
  }
  EXPECT_FALSE(StoredTypeFromName("F31"));
  EXPECT_FALSE(StoredTypeFromName(""));
}

TEST(ByteCountTest, NoticesOverflowAlsoBesideZero) {
  const auto count = [](std::vector<int64_t> extents) {
    return ByteCount(StoredType::kF32, extents);
  };
  EXPECT_EQ(count({}), 4);
  EXPECT_EQ(count({2, 3}), 24);
  EXPECT_EQ(count({2, 0, 3}), 0);
  EXPECT_EQ(count({-1}), std::nullopt);
  EXPECT_EQ(count({int64_t{1} << 61}), std::nullopt);
  EXPECT_EQ(count({(int64_t{1} << 61) - 1}), ((int64_t{1} << 61) - 1) * 4);
  EXPECT_EQ(count({int64_t{1} << 32, 0, int64_t{1} << 32}), std::nullopt);
}

TEST(ConvertIntoTest, ReadsEveryNumberType) {
  using V = std::vector<float>;
  EXPECT_EQ(AsFloats(StoredType::kF64, std::vector<double>{0.1, -2.0}), (V{0.1f, -2.0f}));
  EXPECT_EQ(AsFloats(StoredType::kF32, V{0.1f}), V{0.1f});
  EXPECT_EQ(AsFloats<uint16_t>(StoredType::kBF16, {0x3F80, 0xC000}), (V{1.0f, -2.0f}));
  EXPECT_EQ(AsFloats<int64_t>(StoredType::kI64, {-5, 1 << 30}), (V{-5.0f, 1073741824.0f}));
  EXPECT_EQ(AsFloats<int16_t>(StoredType::kI16, {-300}), V{-300.0f});
  EXPECT_EQ(AsFloats<int8_t>(StoredType::kI8, {-128}), V{-128.0f});
  EXPECT_EQ(AsFloats<uint64_t>(StoredType::kU64, {~uint64_t{0}}), V{18446744073709551616.0f});
  EXPECT_EQ(AsFloats<uint32_t>(StoredType::kU32, {7}), V{7.0f});
  EXPECT_EQ(AsFloats<uint16_t>(StoredType::kU16, {65535}), V{65535.0f});
  EXPECT_EQ(AsFloats<uint8_t>(StoredType::kBool, {0, 1, 2}), (V{0.0f, 1.0f, 1.0f}));
}

TEST(ConvertIntoTest, HalfAndEightBitFloatsAreExact) {
  using V = std::vector<float>;
  // One, the largest, the smallest normal, the smallest subnormal, -0: from the formats' tables.
  EXPECT_EQ(AsFloats<uint16_t>(StoredType::kF16, {0x3C00, 0x7BFF, 0x0400, 0x0001, 0xFC00}),
            (V{1.0f, 65504.0f, 0x1p-14f, 0x1p-24f, -INFINITY}));
  EXPECT_EQ(AsFloats<uint8_t>(StoredType::kF8E5M2, {0x3C, 0x7B, 0x04, 0x01, 0xFC}),
            (V{1.0f, 57344.0f, 0x1p-14f, 0x1p-16f, -INFINITY}));
  EXPECT_EQ(AsFloats<uint8_t>(StoredType::kF8E4M3, {0x38, 0x7E, 0x08, 0x01, 0xF8}),
            (V{1.0f, 448.0f, 0x1p-6f, 0x1p-9f, -256.0f}));
  EXPECT_TRUE(std::isnan(AsFloats<uint16_t>(StoredType::kF16, {0x7C01})[0]));
  EXPECT_TRUE(std::isnan(AsFloats<uint8_t>(StoredType::kF8E4M3, {0xFF})[0]));
  EXPECT_TRUE(std::signbit(AsFloats<uint16_t>(StoredType::kF16, {0x8000})[0]));
}

TEST(ConvertIntoTest, IntegersMustFit) {
  std::vector<int32_t> out(2);
  const Tensor into(out.data(), Shape{2});
  ASSERT_TRUE(ConvertInto(Stored<int64_t>(StoredType::kI64, {-7, 2147483647}), into).ok());
  EXPECT_EQ(out, (std::vector<int32_t>{-7, 2147483647}));
  const Status large = ConvertInto(Stored<int64_t>(StoredType::kI64, {1, 2147483648}), into);
  EXPECT_THAT(large.message(), HasSubstr("2147483648 of element 1"));
  const Status unsigned_large = ConvertInto(Stored<uint64_t>(StoredType::kU64, {~0ull, 0}), into);
  EXPECT_THAT(unsigned_large.message(), HasSubstr("18446744073709551615 of element 0"));
  EXPECT_THAT(ConvertInto(Stored<float>(StoredType::kF32, {1.0f, 2.0f}), into).message(),
              HasSubstr("must hold integers"));
  std::vector<uint8_t> bytes(1);
  const Tensor small(bytes.data(), Shape{});
  EXPECT_FALSE(ConvertInto(Stored<int32_t>(StoredType::kI32, {-1}), small).ok());
  EXPECT_FALSE(ConvertInto(Stored<int32_t>(StoredType::kI32, {256}), small).ok());
  EXPECT_TRUE(ConvertInto(Stored<int32_t>(StoredType::kI32, {255}), small).ok());
  EXPECT_EQ(bytes[0], 255);
}

TEST(ConvertIntoTest, WritesDoubleAndBFloat16) {
  double wide = 0.0;
  ASSERT_TRUE(ConvertInto(Stored<double>(StoredType::kF64, {0.1}), Tensor(&wide, Shape{})).ok());
  EXPECT_EQ(wide, 0.1);
  BFloat16 narrow;
  ASSERT_TRUE(
      ConvertInto(Stored<float>(StoredType::kF32, {1.00390625f}), Tensor(&narrow, Shape{})).ok());
  EXPECT_EQ(static_cast<float>(narrow), 1.0f);  // a tie goes to even
}

TEST(StoredTensorTest, ViewsTheEnginesTypesInPlace) {
  const std::vector<float> values = {1.0f, 2.0f};
  const StoredTensor tensor(NamedConstTensor("w", ConstTensor(values.data(), Shape{2, 1})));
  EXPECT_EQ(tensor.view().f32(), values.data());
  EXPECT_EQ(tensor.view().shape(), (Shape{2, 1}));
  EXPECT_EQ(tensor.Describe(), "F32 (2, 1)");
  EXPECT_TRUE(Stored<uint64_t>(StoredType::kU64, {1}).view().empty());
  EXPECT_THROW(StoredTensor("w", StoredType::kF64, Shape{2, 1}, tensor.data), CheckFailure);
}

}  // namespace
}  // namespace lockstep
