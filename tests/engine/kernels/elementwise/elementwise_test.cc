#include "engine/kernels/elementwise/elementwise.h"

#include <bit>
#include <cstdint>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::Guarded;
using testing_arrays::Normals;

class ElementwiseTest : public hwy::TestWithParamTarget {
 protected:
  ScopedFloatMode flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ElementwiseTest);

const std::vector<int64_t> kSizes = {0, 1, 3, 7, 8, 9, 16, 17, 40};

TEST_P(ElementwiseTest, SumsAtAnyLength) {
  for (const int64_t n : kSizes) {
    SCOPED_TRACE(n);
    const Guarded a(Normals(n, 1)), b(Normals(n, 2));
    Guarded sum(n), added(b.values());
    Add(a.data(), b.data(), sum.data(), n);
    AddTo(a.data(), added.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(sum[i], a[i] + b[i]);
      EXPECT_EQ(added[i], a[i] + b[i]);
    }
    EXPECT_TRUE(sum.Intact() && added.Intact());
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
