#include "engine/kernels/elementwise/elementwise.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/base/denormals.h"
#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::kernels {
namespace {

using testing_arrays::Guarded;
using testing_arrays::HasFma;
using testing_arrays::kFloatEps;
using testing_arrays::Normals;

class ElementwiseTest : public hwy::TestWithParamTarget {
 protected:
  ScopedFlushDenormals flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ElementwiseTest);

const std::vector<int64_t> kSizes = {0, 1, 3, 7, 8, 9, 16, 17, 40};

TEST_P(ElementwiseTest, ArithmeticAtAnyLength) {
  for (const int64_t n : kSizes) {
    SCOPED_TRACE(n);
    const Guarded a(Normals(n, 1)), b(Normals(n, 2));
    Guarded filled(n), sum(n), added(b.values()), scaled(n), fused(b.values());
    Fill(2.5f, filled.data(), n);
    Add(a.data(), b.data(), sum.data(), n);
    AddTo(a.data(), added.data(), n);
    Scale(-0.3f, a.data(), scaled.data(), n);
    AddScaledTo(-0.3f, a.data(), fused.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(filled[i], 2.5f);
      EXPECT_EQ(sum[i], a[i] + b[i]);
      EXPECT_EQ(added[i], a[i] + b[i]);
      EXPECT_EQ(scaled[i], -0.3f * a[i]);
      const float want = HasFma() ? std::fma(-0.3f, a[i], b[i]) : -0.3f * a[i] + b[i];
      EXPECT_EQ(fused[i], want);
    }
    for (const Guarded* g : {&filled, &sum, &added, &scaled, &fused}) EXPECT_TRUE(g->Intact());
  }
}

TEST_P(ElementwiseTest, BytesToFloats) {
  for (const int64_t n : kSizes) {
    std::vector<uint8_t> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(255 - 13 * i);
    Guarded y(n);
    ConvertU8(x.data(), 1.0f / 255.0f, -0.5f, y.data(), n);
    EXPECT_TRUE(y.Intact());
    for (int64_t i = 0; i < n; ++i) {
      const double want = static_cast<double>(x[static_cast<size_t>(i)]) / 255.0 - 0.5;
      EXPECT_TRUE(std::abs(static_cast<double>(y[i]) - want) <= 3.0 * kFloatEps);
    }
  }
}

// Every kind of float: the rounding of BFloat16's constructor, ties and NaN payloads included.
TEST_P(ElementwiseTest, BFloat16RoundsAsTheScalarConversion) {
  std::vector<float> x;
  for (const uint32_t high : {0x0000u, 0x0001u, 0x3F80u, 0x3F81u, 0x7F7Fu, 0x7F80u, 0x7FC0u}) {
    for (const uint32_t low : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      for (const uint32_t sign : {0u, 0x80000000u}) {
        x.push_back(std::bit_cast<float>(sign | high << 16 | low));
      }
    }
  }
  Random random(1, 0);
  while (x.size() < 5003) x.push_back(std::bit_cast<float>(random.Word()));
  const auto n = static_cast<int64_t>(x.size());
  std::vector<BFloat16> half(x.size());
  std::vector<float> back(x.size());
  ConvertToBF16(x.data(), half.data(), n);
  ConvertFromBF16(half.data(), back.data(), n);
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(half[i].bits, BFloat16(x[i]).bits) << std::hex << std::bit_cast<uint32_t>(x[i]);
    ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), static_cast<uint32_t>(half[i].bits) << 16);
  }
}

}  // namespace
}  // namespace lockstep::kernels
