#include "engine/io/hash.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

std::string XxHash(std::string_view text) { return HexOf(Hasher().Add(text).Finish()); }

// From the reference implementation of XXH64 (libxxhash 0.8.1).
TEST(HashTest, MatchesTheReferenceImplementation) {
  EXPECT_EQ(XxHash(""), "ef46db3751d8e999");
  EXPECT_EQ(XxHash("a"), "d24ec4f1a98c6e5b");
  EXPECT_EQ(XxHash("abc"), "44bc2cf5ad770999");
  EXPECT_EQ(XxHash("0123456789"), "3f5fc178a81867e7");
  EXPECT_EQ(XxHash("0123456789abcdef0123456789abcde"), "1fdfc63febacfde7");
  EXPECT_EQ(XxHash("0123456789abcdef0123456789abcdef"), "642a94958e71e6c5");
  std::string long_text(1000, '\0');
  for (size_t i = 0; i < long_text.size(); ++i) long_text[i] = static_cast<char>(i * 7 + 3);
  EXPECT_EQ(XxHash(long_text), "5f235fa033f1a3fb");
}

TEST(HashTest, DoesNotDependOnHowTheBytesAreCut) {
  std::string text(259, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 11);
  const std::string whole = XxHash(text);
  for (const size_t piece : {1, 3, 31, 32, 33, 64, 100}) {
    Hasher hasher;
    for (size_t i = 0; i < text.size(); i += piece) {
      hasher.Add(std::string_view(text).substr(i, piece));
    }
    EXPECT_EQ(HexOf(hasher.Finish()), whole) << piece;
  }
}

TEST(HashTest, OfTensorsSeesNamesTypesShapesBitsAndOrder) {
  const std::vector<float> zeros(6, 0.0f);
  std::vector<float> negative = zeros;
  negative[3] = -0.0f;  // other bits, though equal
  const std::vector<int32_t> integers(6, 0);
  const NamedConstTensor a("a", ConstTensor(zeros.data(), Shape{2, 3}));
  const NamedConstTensor b("b", ConstTensor(zeros.data(), Shape{2, 3}));
  const std::vector<std::vector<NamedConstTensor>> variants = {
      {},
      {a},
      {b},
      {a, b},
      {b, a},
      {{"a", ConstTensor(zeros.data(), Shape{3, 2})}},
      {{"a", ConstTensor(zeros.data(), Shape{6})}},
      {{"a", ConstTensor(zeros.data(), Shape{2, 3, 1})}},
      {{"a", ConstTensor(integers.data(), Shape{2, 3})}},
      {{"a", ConstTensor(negative.data(), Shape{2, 3})}},
      {{"a", ConstTensor(zeros.data(), Shape{0})}},
      {{"", ConstTensor(zeros.data(), Shape{2, 3})}},
  };
  std::set<uint64_t> hashes;
  for (const auto& tensors : variants) hashes.insert(HashTensors(tensors));
  EXPECT_EQ(hashes.size(), variants.size());
  EXPECT_EQ(HashTensors(variants[1]), HashTensors({{a}}));
}

// Summaries of runs are compared across machines and versions: this value must never change.
TEST(HashTest, OfTensorsIsStable) {
  const float weight[] = {1.0f, -2.5f, 3e-20f, 0.0f};
  const uint8_t flag[] = {1};
  const std::vector<NamedConstTensor> tensors = {{"0.weight", ConstTensor(weight, Shape{2, 2})},
                                                 {"flag", ConstTensor(flag, Shape{})}};
  EXPECT_EQ(HexOf(HashTensors(tensors)), "d232f20506620e5a");
}

TEST(HashTest, HexHasSixteenDigits) {
  EXPECT_EQ(HexOf(0), "0000000000000000");
  EXPECT_EQ(HexOf(0x00ABCDEF12345678), "00abcdef12345678");
  EXPECT_EQ(HexOf(~uint64_t{0}), "ffffffffffffffff");
}

}  // namespace
}  // namespace lockstep
