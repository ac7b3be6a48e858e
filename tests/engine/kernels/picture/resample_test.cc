#include "engine/kernels/picture/resample.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::Bits;
using testing_arrays::ExpectSameBitsOnFmaTargets;
using testing_arrays::Guarded;
using testing_arrays::kFloatEps;
using testing_arrays::kInf;
using testing_arrays::Normals;

class ResampleTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ResampleTest);

// Outputs that read none, one, several and many inputs, in no order.
AxisTaps SomeTaps(bool weighted, bool divides) {
  AxisTaps taps{.inputs = 700};
  for (const int64_t count : {0, 1, 2, 3, 255, 256, 257, 600, 1, 1}) {
    for (int64_t t = 0; t < count; ++t) taps.from.push_back((t * 37 + count) % taps.inputs);
    taps.first.push_back(static_cast<int64_t>(taps.from.size()));
  }
  if (weighted) taps.weight = Normals(taps.taps(), 8);
  if (divides) {
    for (int64_t i = 0; i < taps.outputs(); ++i)
      taps.divisor.push_back(1.0f + static_cast<float>(i));
  }
  return taps;
}

TEST_P(ResampleTest, SumsAreTheirFormulaAtAnyWidthAndEndWhereTheyShould) {
  const float divisor = 3.0f;
  for (const int64_t n : {0, 1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 131}) {
    for (const bool weighted : {false, true}) {
      for (const bool accumulate : {false, true}) {
        SCOPED_TRACE(::testing::Message() << n << " channels" << (weighted ? ", weighted" : ""));
        const AxisTaps taps = SomeTaps(weighted, true);
        const Guarded x(Normals(taps.inputs * n, 1));
        const std::vector<float> old = Normals(taps.outputs() * n, 2);
        Guarded y(old), by_rows(old);
        SumPixels(taps, x.data(), n, divisor, n, accumulate, y.data(), n);
        for (int64_t i = 0; i < taps.outputs(); ++i) {
          SumRows(taps, i, x.data(), n, divisor * taps.DivisorOf(i), n, accumulate,
                  by_rows.data() + i * n);
        }
        EXPECT_TRUE(y.Intact() && by_rows.Intact());
        EXPECT_EQ(Bits(y.values()), Bits(by_rows.values()));
        for (int64_t i = 0; i < taps.outputs(); ++i) {
          for (int64_t c = 0; c < n; ++c) {
            double sum = 0.0, size = 0.0;
            int64_t count = 0;
            for (int64_t t = taps.first[static_cast<size_t>(i)];
                 t < taps.first[static_cast<size_t>(i) + 1]; ++t, ++count) {
              const auto tap = static_cast<size_t>(t);
              const double term = static_cast<double>(x[taps.from[tap] * n + c]) *
                                  (weighted ? static_cast<double>(taps.weight[tap]) : 1.0);
              sum += term, size += std::abs(term);
            }
            const double by = static_cast<double>(divisor) * (1.0 + static_cast<double>(i));
            const double was =
                accumulate ? static_cast<double>(old[static_cast<size_t>(i * n + c)]) : 0.0;
            const double want = was + sum / by;
            // A term takes part in at most 256 + 3 additions and two more roundings.
            const double tolerance = (static_cast<double>(std::min<int64_t>(count, 259)) + 3.0) *
                                         kFloatEps * (size / by) +
                                     2.0 * kFloatEps * std::abs(want);
            ASSERT_TRUE(std::abs(static_cast<double>(y[i * n + c]) - want) <= tolerance)
                << i << ", " << c;
          }
        }
      }
    }
  }
}

TEST_P(ResampleTest, RunsOfCopiesKeepEveryBit) {
  const AxisTaps taps = BorderTaps(9, 2, 3, Border::kZero);
  for (const int64_t n : {1, 3, 17}) {
    std::vector<float> values = Normals(9 * n, 3);
    values[0] = -0.0f, values[1] = kInf;
    const Guarded x(values);
    Guarded y(taps.outputs() * n);
    SumPixels(taps, x.data(), n, 1.0f, n, /*accumulate=*/false, y.data(), n);
    std::vector<float> want(static_cast<size_t>(2 * n), 0.0f);
    want.insert(want.end(), values.begin(), values.end());
    want.resize(static_cast<size_t>(taps.outputs() * n), 0.0f);
    EXPECT_TRUE(y.Intact());
    EXPECT_EQ(Bits(y.values()), Bits(want));
  }
}

TEST(ResampleBitsTest, AreTheSameOnEveryTargetAndForEveryCutOfTheChannels) {
  const AxisTaps taps = SomeTaps(true, true);
  constexpr int64_t kChannels = 37;
  const std::vector<float> x = Normals(taps.inputs * kChannels, 4);
  std::vector<float> whole(static_cast<size_t>(taps.outputs() * kChannels)), cut = whole;
  SumPixels(taps, x.data(), kChannels, 1.0f, kChannels, false, whole.data(), kChannels);
  for (int64_t c = 0; c < kChannels; c += 5) {
    SumPixels(taps, x.data() + c, kChannels, 1.0f, std::min<int64_t>(5, kChannels - c), false,
              cut.data() + c, kChannels);
  }
  EXPECT_EQ(Bits(whole), Bits(cut));
  ExpectSameBitsOnFmaTargets([&] {
    std::vector<float> y(whole.size());
    SumPixels(taps, x.data(), kChannels, 1.0f, kChannels, false, y.data(), kChannels);
    return y;
  });
}

}  // namespace
}  // namespace lockstep::kernels
