#include "engine/kernels/elementwise/losses.h"

#include <cmath>
#include <complex>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/losses.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::Bits;
using testing_arrays::Guarded;
using testing_arrays::kFloatEps;
using testing_arrays::kNan;
using testing_arrays::Normals;

using Complex = std::complex<double>;

class LossesTest : public hwy::TestWithParamTarget {
 protected:
  // kernel(x, scale, dx): the loss over n elements. want(z, i): the reference for element i.
  static void Check(int64_t n, const std::vector<float>& values,
                    const std::function<double(const float*, float, float*)>& kernel,
                    const std::function<Complex(Complex, int64_t)>& want) {
    const Guarded x(values);
    Guarded dx(n), in_place(values);
    const float scale = 0.25f;
    const double loss = kernel(x.data(), scale, dx.data());
    EXPECT_EQ(loss, kernel(x.data(), scale, nullptr));
    EXPECT_EQ(loss, kernel(in_place.data(), scale, in_place.data()));
    EXPECT_EQ(Bits(in_place.values()), Bits(dx.values()));
    EXPECT_TRUE(dx.Intact());
    double want_loss = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      const Complex f = want(Complex(static_cast<double>(x[i]), 1e-50), i);
      want_loss += f.real();
      const double slope = static_cast<double>(scale) * f.imag() * 1e50;
      const double error = std::abs(static_cast<double>(dx[i]) - slope);
      // Some ten roundings of terms no larger than 1 + |x| times the weights, which are below 5.
      ASSERT_TRUE(error <= 50.0 * kFloatEps * (1.0 + std::abs(slope))) << i << " " << x[i];
    }
    // All terms are positive: up to 128 additions to a lane, rounding at random, and ten roundings
    // in a term.
    EXPECT_TRUE(std::abs(loss - want_loss) <= 30.0 * kFloatEps * (1.0 + want_loss))
        << loss << " for " << want_loss;
  }

  ScopedFloatMode flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(LossesTest);

const std::vector<int64_t> kSizes = {0, 1, 7, 16, 17, 33, 128, 2049};

std::vector<float> Positive(int64_t n, uint64_t seed) {
  std::vector<float> x = Normals(n, seed);
  for (float& v : x) v = 0.1f + std::abs(v);
  return x;
}

TEST_P(LossesTest, BceWithLogits) {
  for (const int64_t rows : kSizes) {
    for (const int64_t columns : {1, 3, 17}) {
      for (const bool weighted : {false, true}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << columns << " " << weighted);
        const int64_t n = rows * columns;
        std::vector<float> t = Normals(n, /*seed=*/1);
        // Labels, and soft labels.
        for (float& v : t) v = v > 1.0f ? 0.3f : v > 0.0f ? 1.0f : 0.0f;
        const std::vector<float> w = Positive(n, /*seed=*/2), p = Positive(columns, /*seed=*/3);
        const BceOptions options = {.weights = weighted ? w.data() : nullptr,
                                    .pos_weight = weighted ? p.data() : nullptr};
        Check(
            n, Normals(n, /*seed=*/4, 0.0, 4.0),
            [&](const float* x, float scale, float* dx) {
              return BceWithLogits(x, t.data(), rows, columns, options, scale, dx);
            },
            [&](Complex x, int64_t i) {
              const auto at = static_cast<size_t>(i);
              const auto column = static_cast<size_t>(i % columns);
              return reference::BceWithLogits(x, static_cast<double>(t[at]),
                                              weighted ? static_cast<double>(w[at]) : 1.0,
                                              weighted ? static_cast<double>(p[column]) : 1.0);
            });
      }
    }
  }
}

TEST_P(LossesTest, SquaredErrorAndHuber) {
  for (const int64_t n : kSizes) {
    SCOPED_TRACE(n);
    const std::vector<float> t = Normals(n, /*seed=*/5);
    const auto target = [&](int64_t i) { return static_cast<double>(t[static_cast<size_t>(i)]); };
    Check(
        n, Normals(n, /*seed=*/6),
        [&](const float* x, float scale, float* dx) {
          return SquaredError(x, t.data(), n, scale, dx);
        },
        [&](Complex x, int64_t i) { return reference::SquaredError(x, target(i)); });
    for (const float delta : {0.3f, 1.0f, 2.0f}) {
      Check(
          n, Normals(n, /*seed=*/6),
          [&](const float* x, float scale, float* dx) {
            return Huber(x, t.data(), n, delta, scale, dx);
          },
          [&](Complex x, int64_t i) {
            return reference::Huber(x, target(i), static_cast<double>(delta));
          });
    }
  }
}

TEST_P(LossesTest, ExtremeLogitsStayFinite) {
  const std::vector<float> x = {1e30f, -1e30f, 200.0f, -200.0f};
  const std::vector<float> t = {1.0f, 0.0f, 0.0f, 1.0f};
  std::vector<float> dx(4);
  EXPECT_EQ(BceWithLogits(x.data(), t.data(), 4, 1, {}, 1.0f, dx.data()), 400.0);
  EXPECT_EQ(dx, (std::vector<float>{0.0f, 0.0f, 1.0f, -1.0f}));
}

TEST_P(LossesTest, NanIsSeenInTheLossAndItsElement) {
  const std::vector<float> t(20, 0.5f);
  for (const size_t at : {size_t{3}, size_t{18}}) {
    std::vector<float> x = Normals(20, /*seed=*/7), dx(20);
    x[at] = kNan;
    EXPECT_TRUE(std::isnan(BceWithLogits(x.data(), t.data(), 20, 1, {}, 1.0f, dx.data())));
    for (size_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(dx[i]), i == at);
    EXPECT_TRUE(std::isnan(SquaredError(x.data(), t.data(), 20, 1.0f, dx.data())));
    for (size_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(dx[i]), i == at);
    EXPECT_TRUE(std::isnan(Huber(x.data(), t.data(), 20, 1.0f, 1.0f, dx.data())));
    for (size_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(dx[i]), i == at);
  }
}

TEST(LossesBitsTest, SameOnEveryTargetWithFma) {
  const ScopedFloatMode flush;
  const std::vector<float> x = Normals(2051, /*seed=*/8), t = Normals(2051, /*seed=*/9);
  testing_arrays::ExpectSameBitsOnFmaTargets([&] {
    std::vector<float> dx(x.size()), all;
    for (const double loss : {BceWithLogits(x.data(), t.data(), 2051, 1, {}, 1.0f, dx.data()),
                              SquaredError(x.data(), t.data(), 2051, 1.0f, nullptr),
                              Huber(x.data(), t.data(), 2051, 1.0f, 1.0f, nullptr)}) {
      all.push_back(static_cast<float>(loss));
    }
    all.insert(all.end(), dx.begin(), dx.end());
    return all;
  });
}

}  // namespace
}  // namespace lockstep::kernels
