// Every update kernel against the scalar reference: the same bits with fused multiply-add, within
// the rounding errors without; nothing beside the range is touched; bad gradients are seen.
#include "engine/kernels/optimizer/optimizer_update.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/fused.h"
#include "tests/reference/optimizer.h"
// clang-format off: targets.h comes first
#include <hwy/tests/hwy_gtest.h>
// clang-format on

namespace lockstep::inline v0_1::kernels {
namespace {

constexpr double kEps = std::numeric_limits<float>::epsilon();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Around the lane counts of every target, and more than one turn of the longest loop.
constexpr int64_t kSizes[] = {0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100};

// n numbers at a misaligned place, between walls of NaN that nobody may read or write.
class Walled {
 public:
  Walled(int64_t n, int64_t skip, Random& random, bool squared = false)
      : begin_(static_cast<size_t>(kWall + skip)),
        data_(begin_ + static_cast<size_t>(n) + kWall, kNan) {
    for (int64_t i = 0; i < n; ++i) {
      const double x = random.Normal();
      (*this)[i] = static_cast<float>(squared ? x * x : x);
    }
  }
  float* data() { return data_.data() + begin_; }
  float& operator[](int64_t i) { return data_[begin_ + static_cast<size_t>(i)]; }
  bool walls_stand() const {
    for (size_t i = 0; i < data_.size(); ++i) {
      if ((i < begin_ || i + kWall >= data_.size()) && !std::isnan(data_[i])) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kWall = 19;
  size_t begin_;
  std::vector<float> data_;
};

class OptimizerUpdateTest : public hwy::TestWithParamTarget {
 protected:
  // The bits of `want` where the target has fused multiply-add, else `exact` within `tolerance`.
  static void Expect(float got, float want, double exact, double tolerance) {
    if (testing_arrays::Fuses(GetParam())) {
      EXPECT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(want)) << got << " " << want;
    }
    EXPECT_FALSE(!(std::abs(got - exact) <= tolerance)) << got << " against " << exact;
  }
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(OptimizerUpdateTest);

TEST_P(OptimizerUpdateTest, SgdIsTheReference) {
  const SgdFactors plain{.learning_rate = 0.1f, .grad_scale = 0.7f};
  const SgdFactors decayed{.learning_rate = 0.1f, .weight_decay = 0.3f, .grad_scale = -1.0f};
  const SgdFactors momentum{
      .learning_rate = 0.1f, .weight_decay = 0.01f, .momentum = 0.9f, .gradient_weight = 0.4f};
  const SgdFactors nesterov{.learning_rate = 0.1f, .momentum = 0.9f, .nesterov = true};
  for (const SgdFactors& f : {plain, decayed, momentum, nesterov}) {
    for (const int64_t n : kSizes) {
      for (const int64_t skip : {0, 1, 5}) {
        SCOPED_TRACE("n " + std::to_string(n) + ", skip " + std::to_string(skip));
        Random random(7, static_cast<uint64_t>(n));
        Walled g(n, skip, random), p(n, 0, random), b(n, skip, random);
        Walled p32 = p, b32 = b, before = p;
        const bool has_buffer = f.momentum != 0.0f;
        EXPECT_TRUE(UpdateSgd(f, g.data(), n, p.data(), has_buffer ? b.data() : nullptr));
        for (int64_t i = 0; i < n; ++i) {
          double p64 = p32[i], b64 = b32[i];
          const double size = std::abs(p64) + std::abs(b64) + std::abs(g[i]);
          reference::Sgd<double>(f, g[i], p64, has_buffer ? &b64 : nullptr);
          reference::Sgd<float>(f, g[i], p32[i], has_buffer ? &b32[i] : nullptr);
          // At most eight roundings, and no factor above one: none exceeds eps / 2 of the operands.
          Expect(p[i], p32[i], p64, 4 * kEps * size);
          Expect(b[i], b32[i], b64, 4 * kEps * size);
        }
        EXPECT_TRUE(g.walls_stand() && p.walls_stand() && b.walls_stand());
      }
    }
  }
}

TEST_P(OptimizerUpdateTest, AdamIsTheReference) {
  const AdamFactors adam_w{.one_minus_beta1 = 0.1f,
                           .beta2 = 0.999f,
                           .one_minus_beta2 = 0.001f,
                           .step_size = 0.01f,
                           .inv_sqrt_correction2 = 3.0f,
                           .eps = 1e-3f,
                           .keep = 0.99f,
                           .grad_scale = 0.5f};
  AdamFactors adam = adam_w;
  adam.keep = 1.0f;
  adam.l2 = 0.3f;
  AdamFactors no_momentum = adam_w;
  no_momentum.one_minus_beta1 = 1.0f;
  for (const AdamFactors& f : {adam_w, adam, no_momentum}) {
    for (const bool amsgrad : {false, true}) {
      for (const int64_t n : kSizes) {
        for (const int64_t skip : {0, 3}) {
          SCOPED_TRACE("n " + std::to_string(n) + ", skip " + std::to_string(skip));
          Random random(8, static_cast<uint64_t>(n));
          Walled g(n, skip, random), p(n, 0, random), m(n, skip, random), v(n, 1, random, true);
          Walled w(n, 2, random, true);
          Walled p32 = p, m32 = m, v32 = v, w32 = w;
          EXPECT_TRUE(UpdateAdam(f, g.data(), n, p.data(), m.data(), v.data(),
                                 amsgrad ? w.data() : nullptr));
          for (int64_t i = 0; i < n; ++i) {
            double p64 = p32[i], m64 = m32[i], v64 = v32[i], w64 = w32[i];
            const double p_old = std::abs(p64), m_old = std::abs(m64);
            reference::Adam<double>(f, g[i], p64, m64, v64, amsgrad ? &w64 : nullptr);
            reference::Adam<float>(f, g[i], p32[i], m32[i], v32[i], amsgrad ? &w32[i] : nullptr);
            // d has three roundings of its terms, m three more of the sum of its terms; all terms
            // of v are positive. The quotient inherits m's error and adds its own seven.
            const double d = std::abs(f.grad_scale * g[i]) + f.l2 * p_old;
            const double v_terms = f.beta2 * v64 + f.one_minus_beta2 * d * d + v64;
            const double denominator =
                std::sqrt(amsgrad ? w64 : v64) * f.inv_sqrt_correction2 + f.eps;
            const double v_error = 8 * kEps * v_terms;
            const double quotient = (m_old + d) / denominator;
            Expect(m[i], m32[i], m64, 4 * kEps * (m_old + d));
            Expect(v[i], v32[i], v64, v_error);
            Expect(w[i], w32[i], w64, v_error);
            const double from_v = v_error * f.inv_sqrt_correction2 / std::sqrt(v64) / denominator;
            Expect(p[i], p32[i], p64,
                   2 * kEps * p_old + f.step_size * quotient * (8 * kEps + from_v));
          }
          EXPECT_TRUE(g.walls_stand() && p.walls_stand() && m.walls_stand() && v.walls_stand() &&
                      w.walls_stand());
        }
      }
    }
  }
}

// Whoever gives the bits of the reference gives those of every other target: what runs here was
// compared above, and what does not is said to be left out.
TEST(OptimizerUpdateTargets, Avx512IsCompared) {
  if ((hwy::SupportedTargets() & HWY_AVX3) == 0) GTEST_SKIP() << "this machine has no AVX-512";
}

// What allows blocks of any size, and threads to take any of them.
TEST_P(OptimizerUpdateTest, CuttingTheRangeAnywhereGivesTheSameBits) {
  const AdamFactors f{.one_minus_beta1 = 0.1f,
                      .beta2 = 0.99f,
                      .one_minus_beta2 = 0.01f,
                      .step_size = 0.01f,
                      .eps = 1e-8f,
                      .l2 = 0.1f};
  const int64_t n = 67;
  for (int64_t cut = 0; cut <= n; ++cut) {
    Random random(9, 0);
    Walled g(n, 0, random), p(n, 0, random), m(n, 0, random), v(n, 0, random, true);
    Walled p2 = p, m2 = m, v2 = v;
    UpdateAdam(f, g.data(), n, p.data(), m.data(), v.data(), nullptr);
    UpdateAdam(f, g.data(), cut, p2.data(), m2.data(), v2.data(), nullptr);
    UpdateAdam(f, g.data() + cut, n - cut, p2.data() + cut, m2.data() + cut, v2.data() + cut,
               nullptr);
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(p[i]), std::bit_cast<uint32_t>(p2[i])) << cut;
    }
  }
}

// So that pieces may cover the padding between parameters.
TEST_P(OptimizerUpdateTest, ZerosStayZero) {
  std::vector<float> g(21, 0.0f), p = g, m = g, v = g, w = g;
  for (int step = 0; step < 3; ++step) {
    const AdamFactors adam{.one_minus_beta1 = 0.1f,
                           .beta2 = 0.99f,
                           .one_minus_beta2 = 0.01f,
                           .step_size = 0.01f,
                           .inv_sqrt_correction2 = 10.0f,
                           .eps = std::numeric_limits<float>::min(),
                           .keep = 0.9f,
                           .l2 = 0.1f,
                           .grad_scale = -1.0f};
    EXPECT_TRUE(UpdateAdam(adam, g.data(), 21, p.data(), m.data(), v.data(), w.data()));
    const SgdFactors sgd{.learning_rate = 0.1f,
                         .weight_decay = 0.1f,
                         .momentum = 0.9f,
                         .nesterov = true,
                         .grad_scale = -1.0f};
    EXPECT_TRUE(UpdateSgd(sgd, g.data(), 21, p.data(), m.data()));
    UpdateAverage(0.1f, p.data(), 21, w.data());
  }
  for (size_t i = 0; i < 21; ++i) {
    EXPECT_TRUE(p[i] == 0.0f && m[i] == 0.0f && v[i] == 0.0f && w[i] == 0.0f) << i;
  }
}

// One element alone, wherever it is; huge and tiny ones are no reason to stop.
TEST_P(OptimizerUpdateTest, ReportsGradientsThatAreNotFinite) {
  const int64_t n = 37;
  for (const float value : {kNan, kInfinity, -kInfinity, 3e38f, -3e38f, 1e-45f}) {
    for (int64_t at = 0; at < n; ++at) {
      SCOPED_TRACE(std::to_string(value) + " at " + std::to_string(at));
      Random random(10, 0);
      Walled g(n, 1, random), p(n, 0, random), m(n, 0, random), v(n, 0, random, true);
      g[at] = value;
      const SgdFactors sgd{.learning_rate = 0.1f, .momentum = 0.5f};
      const AdamFactors adam{
          .one_minus_beta1 = 0.1f, .beta2 = 0.99f, .one_minus_beta2 = 0.01f, .eps = 1e-8f};
      EXPECT_EQ(UpdateSgd(sgd, g.data(), n, p.data(), nullptr), std::isfinite(value));
      EXPECT_EQ(UpdateSgd(sgd, g.data(), n, p.data(), m.data()), std::isfinite(value));
      EXPECT_EQ(UpdateAdam(adam, g.data(), n, p.data(), m.data(), v.data(), nullptr),
                std::isfinite(value));
      EXPECT_EQ(std::isfinite(SumOfSquares(g.data(), n)), std::isfinite(value));
    }
  }
}

// Squares of floats are exact in double, so only the order of the additions counts, and that is
// prescribed: element i goes to lane i % 16, lanes fold as a binary tree.
TEST_P(OptimizerUpdateTest, SumOfSquaresHasTheBitsOfSixteenLanes) {
  for (const int64_t n : {0, 1, 3, 15, 16, 17, 40, 1000, 1023}) {
    for (const int64_t skip : {0, 1, 6}) {
      Random random(11, static_cast<uint64_t>(n));
      Walled x(n, skip, random);
      std::array<double, 16> lanes{};
      for (int64_t i = 0; i < n; ++i) lanes[static_cast<size_t>(i % 16)] += double{x[i]} * x[i];
      for (size_t half = 8; half > 0; half /= 2) {
        for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
      }
      EXPECT_EQ(SumOfSquares(x.data(), n), lanes[0]) << n;
    }
  }
  const float huge[] = {3e38f, 3e38f};
  EXPECT_NEAR(SumOfSquares(huge, 2) / 1.8e77, 1.0, kEps);
}

TEST_P(OptimizerUpdateTest, AverageIsTheReference) {
  for (const int64_t n : kSizes) {
    Random random(12, static_cast<uint64_t>(n));
    Walled p(n, 1, random), average(n, 0, random);
    Walled average32 = average;
    UpdateAverage(0.01f, p.data(), n, average.data());
    for (int64_t i = 0; i < n; ++i) {
      double average64 = average32[i];
      const double size = std::abs(p[i]) + std::abs(average64);
      reference::Average<double>(0.01f, p[i], average64);
      reference::Average<float>(0.01f, p[i], average32[i]);
      Expect(average[i], average32[i], average64, 2 * kEps * size);
    }
    EXPECT_TRUE(p.walls_stand() && average.walls_stand());
  }
}

TEST_P(OptimizerUpdateTest, AverageOfConstantsDoesNotDrift) {
  std::vector<float> p = {0.1f, -3.0f, 1e30f}, average = p;
  for (int i = 0; i < 1000; ++i) UpdateAverage(0.001f, p.data(), 3, average.data());
  EXPECT_EQ(average, p);
}

}  // namespace
}  // namespace lockstep::kernels
