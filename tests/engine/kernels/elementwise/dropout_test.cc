#include "engine/kernels/elementwise/dropout.h"

#include <cmath>
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

using testing_arrays::Bits;
using testing_arrays::Guarded;
using testing_arrays::kNan;
using testing_arrays::Normals;

class DropoutTest : public hwy::TestWithParamTarget {
 protected:
  ScopedFloatMode flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(DropoutTest);

bool Kept(const DropoutMask& mask, int64_t i) {
  const auto words = Philox(mask.seed, mask.stream, static_cast<uint64_t>(i / 4));
  return static_cast<double>(words[static_cast<size_t>(i % 4)]) >=
         static_cast<double>(mask.p) * 0x1p32;
}

TEST_P(DropoutTest, MaskIsPhiloxWordByWordForAnyRange) {
  // All 64 bits of seed and stream matter.
  const DropoutMask mask = {.seed = 0x123456789ABCDEF0, .stream = 0xFEDCBA9876543210, .p = 0.3f};
  const int64_t n = 200;
  const std::vector<float> x = Normals(n, /*seed=*/1);
  const float scale = static_cast<float>(1.0 / (1.0 - static_cast<double>(mask.p)));
  for (int64_t begin = 0; begin < 40; ++begin) {
    for (const int64_t length : {0, 1, 2, 5, 16, 31, 64, 150}) {
      const int64_t end = begin + length;
      Guarded y(n);
      Dropout(mask, begin, end, x.data(), y.data());
      EXPECT_TRUE(y.Intact());
      for (int64_t i = 0; i < n; ++i) {
        if (i < begin || i >= end) {
          ASSERT_TRUE(std::isnan(y[i])) << "written outside of the range";
        } else {
          ASSERT_EQ(y[i], Kept(mask, i) ? x[static_cast<size_t>(i)] * scale : 0.0f)
              << begin << " " << end << " " << i;
        }
      }
    }
  }
}

// The counter has 64 bits: elements beyond 4 * 2^32 draw words of their own.
TEST_P(DropoutTest, CountersBeyond32Bits) {
  const DropoutMask mask = {.seed = 5, .stream = 6, .p = 0.5f};
  const int64_t begin = (int64_t{1} << 34) - 19, length = 40;
  const std::vector<float> x(static_cast<size_t>(length), 1.0f);
  std::vector<float> y(x.size(), kNan);
  // Base pointers of a tensor that is there in part only.
  const auto offset = static_cast<uintptr_t>(begin) * sizeof(float);
  const auto* x0 = reinterpret_cast<const float*>(reinterpret_cast<uintptr_t>(x.data()) - offset);
  auto* y0 = reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(y.data()) - offset);
  Dropout(mask, begin, begin + length, x0, y0);
  for (int64_t i = 0; i < length; ++i)
    EXPECT_EQ(y[static_cast<size_t>(i)], Kept(mask, begin + i) ? 2.0f : 0.0f);
}

TEST_P(DropoutTest, KeepsTheRightShareAndTheMean) {
  const int64_t n = 1 << 18;
  const std::vector<float> ones(static_cast<size_t>(n), 1.0f);
  std::vector<float> y(ones.size());
  for (const float p : {0.0f, 0.1f, 0.5f, 0.9f}) {
    Dropout({.seed = 1, .stream = 2, .p = p}, 0, n, ones.data(), y.data());
    double kept = 0.0, sum = 0.0;
    for (const float v : y) {
      kept += v != 0.0f ? 1.0 : 0.0;
      sum += static_cast<double>(v);
    }
    const double q = 1.0 - static_cast<double>(p), count = static_cast<double>(n);
    // Five standard deviations of a binomial count.
    const double tolerance = 5.0 * std::sqrt(count * q * (1.0 - q));
    EXPECT_TRUE(std::abs(kept - count * q) <= tolerance) << p;
    // The scale was rounded once.
    EXPECT_TRUE(std::abs(sum - count) <= tolerance / q + 1e-7 * count);
  }
}

TEST_P(DropoutTest, AllOrNothingInPlaceAndNan) {
  const std::vector<float> x = Normals(37, /*seed=*/2);
  std::vector<float> y(x.size(), kNan);
  Dropout({.p = 0.0f}, 0, 37, x.data(), y.data());
  EXPECT_EQ(y, x);
  Dropout({.p = 1.0f}, 0, 37, x.data(), y.data());
  EXPECT_EQ(y, std::vector<float>(37, 0.0f));

  const DropoutMask half = {.seed = 3, .p = 0.5f};
  std::vector<float> in_place = x;
  Dropout(half, 0, 37, x.data(), y.data());
  Dropout(half, 0, 37, in_place.data(), in_place.data());
  EXPECT_EQ(Bits(in_place), Bits(y));
  const std::vector<float> nans(37, kNan);
  Dropout(half, 0, 37, nans.data(), y.data());
  for (int64_t i = 0; i < 37; ++i) EXPECT_EQ(std::isnan(y[static_cast<size_t>(i)]), Kept(half, i));
}

}  // namespace
}  // namespace lockstep::kernels
