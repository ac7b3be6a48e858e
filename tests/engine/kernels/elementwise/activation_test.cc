#include "engine/kernels/elementwise/activation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/activation.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::Bits;
using testing_arrays::Guarded;
using testing_arrays::kFloatEps;
using testing_arrays::kInf;
using testing_arrays::kNan;
using testing_arrays::Normals;

const std::vector<ActivationSpec> kAll = {
    {.kind = ActivationKind::kRelu},
    {.kind = ActivationKind::kRelu6},
    {.kind = ActivationKind::kLeakyRelu, .slope = 0.1f},
    {.kind = ActivationKind::kLeakyRelu, .slope = -0.5f},
    {.kind = ActivationKind::kGelu},
    {.kind = ActivationKind::kGeluTanh},
    {.kind = ActivationKind::kSilu},
    {.kind = ActivationKind::kSigmoid},
    {.kind = ActivationKind::kTanh},
    {.kind = ActivationKind::kSoftplus},
    {.kind = ActivationKind::kSoftplus, .beta = 2.5f, .threshold = 5.0f},
};

std::string Name(const ActivationSpec& spec) {
  return "kind " + std::to_string(static_cast<int>(spec.kind)) + " slope " +
         std::to_string(spec.slope) + " beta " + std::to_string(spec.beta);
}

class ActivationTest : public hwy::TestWithParamTarget {
 protected:
  ScopedFloatMode flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ActivationTest);

// Inside a function come at most about ten roundings of intermediate values that are no larger than
// 1 + |x|; the derivatives, bounded by 1.2, multiply them by no more than 1 + x^2 / 2 where they
// have not vanished.
double Tolerance(double x) { return 10.0 * kFloatEps * (1.0 + std::min(std::abs(x), 20.0)); }

TEST_P(ActivationTest, ForwardMatchesReference) {
  std::vector<float> x = Normals(4001, /*seed=*/1, 0.0, 3.0);
  for (int i = -1000; i <= 1000; ++i) x.push_back(static_cast<float>(i) * 0.05f);
  const auto n = static_cast<int64_t>(x.size());
  for (const ActivationSpec& spec : kAll) {
    SCOPED_TRACE(Name(spec));
    std::vector<float> y(x.size(), kNan);
    ActivationForward(spec, x.data(), y.data(), n);
    for (size_t i = 0; i < x.size(); ++i) {
      const auto at = static_cast<double>(x[i]);
      const double want = reference::Activate(spec, at);
      const double error = std::abs(static_cast<double>(y[i]) - want);
      ASSERT_TRUE(error <= Tolerance(at)) << y[i] << " for " << want << " at " << at;
    }
  }
}

TEST_P(ActivationTest, BackwardMatchesComplexStep) {
  const std::vector<float> x = Normals(4001, /*seed=*/2, 0.0, 3.0);
  const std::vector<float> dy = Normals(4001, /*seed=*/3);
  const auto n = static_cast<int64_t>(x.size());
  for (const ActivationSpec& spec : kAll) {
    SCOPED_TRACE(Name(spec));
    std::vector<float> y(x.size(), kNan), dx(x.size(), kNan);
    ActivationForward(spec, x.data(), y.data(), n);
    ActivationBackward(spec, BackwardTakesOutput(spec) ? y.data() : x.data(), dy.data(), dx.data(),
                       n);
    for (size_t i = 0; i < x.size(); ++i) {
      const auto at = static_cast<double>(x[i]);
      const double want = static_cast<double>(dy[i]) * reference::ActivationSlope(spec, at);
      const double error = std::abs(static_cast<double>(dx[i]) - want);
      ASSERT_TRUE(error <= Tolerance(at) * std::abs(static_cast<double>(dy[i])))
          << dx[i] << " for " << want << " at " << at;
    }
  }
}

// Streamed or not, the bits are the same, and nothing beyond the ends is written: at the beginning
// of a cache line, where the stores go past the caches, and off it, where they cannot.
TEST_P(ActivationTest, StreamedGivesTheSameBits) {
  constexpr size_t kLine = 16, kRoom = 256;
  for (const ActivationSpec& spec : kAll) {
    SCOPED_TRACE(Name(spec));
    const std::vector<float> x = Normals(kRoom, 4), dy = Normals(kRoom, 5);
    for (const size_t n : {1, 15, 16, 33, 131}) {
      for (const size_t off : {0, 1}) {
        std::vector<float> room(kRoom, 7.0f), want(kRoom, 7.0f);
        const size_t past = reinterpret_cast<uintptr_t>(room.data()) / sizeof(float) % kLine;
        const size_t at = kLine - past + off;
        const auto count = static_cast<int64_t>(n);
        ActivationForward(spec, x.data(), want.data() + at, count);
        ActivationForward(spec, x.data(), room.data() + at, count, /*stream=*/true);
        EXPECT_EQ(Bits(room), Bits(want));
        ActivationBackward(spec, x.data(), dy.data(), want.data() + at, count);
        ActivationBackward(spec, x.data(), dy.data(), room.data() + at, count, /*stream=*/true);
        EXPECT_EQ(Bits(room), Bits(want));
      }
    }
  }
}

TEST_P(ActivationTest, AnyLengthInPlaceAndNothingBeyondTheEnds) {
  for (const ActivationSpec& spec : kAll) {
    SCOPED_TRACE(Name(spec));
    for (const int64_t n : {0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 33}) {
      SCOPED_TRACE(n);
      const Guarded x(Normals(n, 4)), dy(Normals(n, 5));
      Guarded y(n), dx(n), in_place(x.values()), dx_over_dy(dy.values());
      ActivationForward(spec, x.data(), y.data(), n);
      const float* saved = BackwardTakesOutput(spec) ? y.data() : x.data();
      ActivationBackward(spec, saved, dy.data(), dx.data(), n);
      Guarded dx_over_saved(std::vector<float>(saved, saved + n));

      ActivationForward(spec, in_place.data(), in_place.data(), n);
      ActivationBackward(spec, saved, dx_over_dy.data(), dx_over_dy.data(), n);
      ActivationBackward(spec, dx_over_saved.data(), dy.data(), dx_over_saved.data(), n);
      EXPECT_EQ(Bits(in_place.values()), Bits(y.values()));
      EXPECT_EQ(Bits(dx_over_dy.values()), Bits(dx.values()));
      EXPECT_EQ(Bits(dx_over_saved.values()), Bits(dx.values()));
      EXPECT_TRUE(y.Intact() && dx.Intact() && in_place.Intact());
      // One element alone gives what it gives among others.
      for (int64_t i = 0; i < n; ++i) {
        float alone = kNan;
        ActivationForward(spec, x.data() + i, &alone, 1);
        EXPECT_EQ(alone, y[i]);
      }
    }
  }
}

TEST_P(ActivationTest, NanStaysNanAndLargeValuesStayFinite) {
  for (const ActivationSpec& spec : kAll) {
    SCOPED_TRACE(Name(spec));
    const std::vector<float> x = {kNan, 1e30f, -1e30f, 3e38f, -3e38f, 1e-30f, -1e-30f, 0.0f, -0.0f};
    const std::vector<float> dy(x.size(), 1.0f);
    const auto n = static_cast<int64_t>(x.size());
    std::vector<float> y(x.size()), dx(x.size());
    ActivationForward(spec, x.data(), y.data(), n);
    ActivationBackward(spec, BackwardTakesOutput(spec) ? y.data() : x.data(), dy.data(), dx.data(),
                       n);
    EXPECT_TRUE(std::isnan(y[0]));
    for (size_t i = 1; i < x.size(); ++i) {
      EXPECT_TRUE(std::isfinite(y[i])) << x[i] << " " << y[i];
      EXPECT_TRUE(std::isfinite(dx[i])) << x[i] << " " << dx[i];
      const double want = reference::Activate(spec, static_cast<double>(x[i]));
      EXPECT_TRUE(std::abs(static_cast<double>(y[i]) - want) <= 1e-6 * (1e-20 + std::abs(want)))
          << x[i] << " " << y[i];
    }
    // A NaN that comes down passes even where the kink would stop it from the other side.
    const float nan_dy = kNan;
    const float two = 2.0f;
    float got = 0.0f;
    ActivationBackward(spec, &two, &nan_dy, &got, 1);
    EXPECT_TRUE(std::isnan(got));
  }
}

TEST_P(ActivationTest, SoftplusIsTheIdentityBeyondItsThreshold) {
  const ActivationSpec spec = {.kind = ActivationKind::kSoftplus, .beta = 2.0f, .threshold = 20.0f};
  const std::vector<float> x = {10.0f, 10.1f, 50.0f, kInf};
  std::vector<float> y(x.size());
  ActivationForward(spec, x.data(), y.data(), 4);
  EXPECT_EQ(y[1], 10.1f);
  EXPECT_EQ(y[2], 50.0f);
  EXPECT_EQ(y[3], kInf);
}

TEST(ActivationBitsTest, SameOnEveryTargetWithFma) {
  const ScopedFloatMode flush;
  const std::vector<float> x = Normals(1003, /*seed=*/6, 0.0, 4.0);
  testing_arrays::ExpectSameBitsOnFmaTargets([&] {
    std::vector<float> all;
    for (const ActivationSpec& spec : kAll) {
      std::vector<float> y(x.size()), dx(x.size());
      ActivationForward(spec, x.data(), y.data(), 1003);
      ActivationBackward(spec, x.data(), x.data(), dx.data(), 1003);
      all.insert(all.end(), y.begin(), y.end());
      all.insert(all.end(), dx.begin(), dx.end());
    }
    return all;
  });
}

}  // namespace
}  // namespace lockstep::kernels
