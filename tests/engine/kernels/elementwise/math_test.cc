// The elementary functions against long double over dense ranges, and the same bits on every target
// that has fused multiply-add and in every lane.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/engine/kernels/elementwise/math_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/kernels/elementwise/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::inline v0_1::kernels {
namespace HWY_NAMESPACE {
namespace {

#define LOCKSTEP_APPLY(NAME)                                                               \
  void Apply##NAME(const float* x, float* y, int64_t n) {                                  \
    const hn::ScalableTag<float> d;                                                        \
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));                                 \
    int64_t i = 0;                                                                         \
    for (; i + lanes <= n; i += lanes) hn::StoreU(NAME(d, hn::LoadU(d, x + i)), d, y + i); \
    const hn::CappedTag<float, 1> one;                                                     \
    for (; i < n; ++i) hn::StoreU(NAME(one, hn::LoadU(one, x + i)), one, y + i);           \
  }
LOCKSTEP_APPLY(Exp)
LOCKSTEP_APPLY(ExpOfNonPositive)
LOCKSTEP_APPLY(Log)
LOCKSTEP_APPLY(Log1p)
LOCKSTEP_APPLY(Tanh)
LOCKSTEP_APPLY(Sigmoid)
LOCKSTEP_APPLY(Softplus)
LOCKSTEP_APPLY(Erf)
#undef LOCKSTEP_APPLY

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lockstep::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <hwy/tests/hwy_gtest.h>

#include "tests/engine/kernels/fused.h"

namespace lockstep::inline v0_1::kernels {
namespace {

HWY_EXPORT(ApplyExp);
HWY_EXPORT(ApplyExpOfNonPositive);
HWY_EXPORT(ApplyLog);
HWY_EXPORT(ApplyLog1p);
HWY_EXPORT(ApplyTanh);
HWY_EXPORT(ApplySigmoid);
HWY_EXPORT(ApplySoftplus);
HWY_EXPORT(ApplyErf);

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kMin = std::numeric_limits<float>::min();
constexpr float kMax = std::numeric_limits<float>::max();

using testing_arrays::HasFma;

using Apply = std::function<std::vector<float>(const std::vector<float>&)>;

#define LOCKSTEP_FUNCTION(NAME)                                                            \
  Apply([](const std::vector<float>& x) {                                                  \
    const ScopedFloatMode flush;                                                           \
    std::vector<float> y(x.size());                                                        \
    HWY_DYNAMIC_DISPATCH(Apply##NAME)(x.data(), y.data(), static_cast<int64_t>(x.size())); \
    return y;                                                                              \
  })

float BitsToFloat(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// About `count` floats of both signs with magnitudes in [lo, hi], equally spaced in their bits: the
// same number in every binade.
std::vector<float> Dense(float lo, float hi, int count, bool negative) {
  uint32_t first, last;
  std::memcpy(&first, &lo, sizeof first);
  std::memcpy(&last, &hi, sizeof last);
  const uint32_t step = std::max<uint32_t>(1, (last - first) / static_cast<uint32_t>(count));
  std::vector<float> x;
  for (uint64_t bits = first; bits <= last; bits += step) {
    x.push_back(BitsToFloat(static_cast<uint32_t>(bits)));
    if (negative) x.push_back(-x.back());
  }
  return x;
}

// The largest error in units of the last place of the exact value. Exact values below the smallest
// normal float are left out: there the result may be flushed.
double WorstUlp(const Apply& f, const std::function<long double(long double)>& exact,
                const std::vector<float>& x, float* where) {
  const std::vector<float> y = f(x);
  double worst = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    const long double want = exact(static_cast<long double>(x[i]));
    if (std::abs(want) < 1.0001L * kMin || std::abs(want) > kMax) continue;
    int exponent;
    std::frexp(want, &exponent);
    const long double error =
        std::abs(static_cast<long double>(y[i]) - want) / std::ldexp(1.0L, exponent - 24);
    if (!(static_cast<double>(error) <= worst)) {
      worst = static_cast<double>(error);
      *where = x[i];
      if (std::isnan(worst)) return worst;
    }
  }
  return worst;
}

class MathTest : public hwy::TestWithParamTarget {
 protected:
  // `limit` in ulp with FMA. Without, each of a polynomial's last steps rounds twice.
  void CheckUlp(const char* name, const Apply& f, long double (*exact)(long double),
                const std::vector<float>& x, double limit) {
    float where = 0.0f;
    const double worst = WorstUlp(f, exact, x, &where);
    RecordProperty(std::string(name) + "_ulp", std::to_string(worst));
    EXPECT_TRUE(worst <= (HasFma() ? limit : limit + 1.5))
        << name << ": " << worst << " ulp at " << where;
  }
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(MathTest);

constexpr int kCount = 200000;

TEST_P(MathTest, ErrorsAreWithinAFewUlp) {
  const auto sigmoid = [](long double x) { return 1.0L / (1.0L + std::exp(-x)); };
  const auto softplus = [](long double x) {
    return std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x)));
  };
  CheckUlp(
      "exp", LOCKSTEP_FUNCTION(Exp), [](long double x) { return std::exp(x); },
      Dense(1e-30f, 88.72283f, kCount, true), 1.0);
  std::vector<float> negative = Dense(1e-30f, 87.3f, kCount, false);
  for (float& x : negative) x = -x;
  CheckUlp(
      "exp-", LOCKSTEP_FUNCTION(ExpOfNonPositive), [](long double x) { return std::exp(x); },
      negative, 1.0);
  CheckUlp(
      "log", LOCKSTEP_FUNCTION(Log), [](long double x) { return std::log(x); },
      Dense(kMin, kMax, kCount, false), 1.0);
  CheckUlp(
      "log near 1", LOCKSTEP_FUNCTION(Log), [](long double x) { return std::log(x); },
      Dense(0.5f, 2.0f, kCount, false), 1.0);
  CheckUlp(
      "log1p", LOCKSTEP_FUNCTION(Log1p), [](long double x) { return std::log1p(x); },
      Dense(1e-30f, 0.9999f, kCount, true), 1.5);
  CheckUlp(
      "log1p+", LOCKSTEP_FUNCTION(Log1p), [](long double x) { return std::log1p(x); },
      Dense(0.9f, kMax, kCount, false), 1.0);
  CheckUlp(
      "tanh", LOCKSTEP_FUNCTION(Tanh), [](long double x) { return std::tanh(x); },
      Dense(1e-30f, 20.0f, kCount, true), 2.5);
  CheckUlp("sigmoid", LOCKSTEP_FUNCTION(Sigmoid), sigmoid, Dense(1e-30f, 87.0f, kCount, true), 2.5);
  CheckUlp("softplus", LOCKSTEP_FUNCTION(Softplus), softplus, Dense(1e-30f, 87.0f, kCount, true),
           2.0);
  CheckUlp(
      "erf", LOCKSTEP_FUNCTION(Erf), [](long double x) { return std::erf(x); },
      Dense(1e-30f, 6.0f, kCount, true), 4.0);
}

void ExpectValues(const Apply& f, const std::vector<float>& x, const std::vector<float>& want) {
  // Each value in every lane of the vector loop and in the tail.
  for (size_t i = 0; i < x.size(); ++i) {
    SCOPED_TRACE(x[i]);
    const std::vector<float> y = f(std::vector<float>(35, x[i]));
    for (const float v : y) {
      if (std::isnan(want[i])) {
        EXPECT_TRUE(std::isnan(v)) << v;
      } else {
        EXPECT_EQ(v, want[i]);
      }
    }
  }
}

TEST_P(MathTest, LimitsAndNan) {
  // A NaN whose payload has its low bits set must survive the exponent arithmetic too.
  const float odd_nan = BitsToFloat(0x7FC001FFu), negative_nan = BitsToFloat(0xFFFFFFFFu);
  const std::vector<float> nans = {kNan, odd_nan, negative_nan};
  for (const Apply& f :
       {LOCKSTEP_FUNCTION(Exp), LOCKSTEP_FUNCTION(ExpOfNonPositive), LOCKSTEP_FUNCTION(Log),
        LOCKSTEP_FUNCTION(Log1p), LOCKSTEP_FUNCTION(Tanh), LOCKSTEP_FUNCTION(Sigmoid),
        LOCKSTEP_FUNCTION(Softplus), LOCKSTEP_FUNCTION(Erf)}) {
    ExpectValues(f, nans, nans);
  }
  ExpectValues(LOCKSTEP_FUNCTION(Exp),
               {0.0f, -0.0f, kInf, -kInf, kMax, -kMax, 88.7229f, -87.4f, -104.0f, kMin},
               {1.0f, 1.0f, kInf, 0.0f, kInf, 0.0f, kInf, 0.0f, 0.0f, 1.0f});
  ExpectValues(LOCKSTEP_FUNCTION(ExpOfNonPositive), {0.0f, -0.0f, -kInf, -kMax, -87.4f, -kMin},
               {1.0f, 1.0f, 0.0f, 0.0f, 0.0f, 1.0f});
  ExpectValues(LOCKSTEP_FUNCTION(Log), {1.0f, 0.0f, -0.0f, kInf, -kInf, -1.0f, -kMin},
               {0.0f, -kInf, -kInf, kInf, kNan, kNan, kNan});
  ExpectValues(LOCKSTEP_FUNCTION(Log1p), {0.0f, -1.0f, kInf, -kInf, -1.5f, kMin},
               {0.0f, -kInf, kInf, kNan, kNan, kMin});
  ExpectValues(LOCKSTEP_FUNCTION(Tanh), {0.0f, kInf, -kInf, kMax, -kMax, 20.0f, -9.1f, kMin},
               {0.0f, 1.0f, -1.0f, 1.0f, -1.0f, 1.0f, -1.0f, kMin});
  ExpectValues(LOCKSTEP_FUNCTION(Sigmoid), {0.0f, kInf, -kInf, kMax, -kMax, kMin},
               {0.5f, 1.0f, 0.0f, 1.0f, 0.0f, 0.5f});
  ExpectValues(LOCKSTEP_FUNCTION(Softplus), {kInf, -kInf, kMax, -kMax, 30.0f},
               {kInf, 0.0f, kMax, 0.0f, 30.0f});
  ExpectValues(LOCKSTEP_FUNCTION(Erf), {0.0f, kInf, -kInf, kMax, -kMax, 4.0f, -3.92f},
               {0.0f, 1.0f, -1.0f, 1.0f, -1.0f, 1.0f, -1.0f});
}

TEST_P(MathTest, BoundedFunctionsStayInTheirBounds) {
  for (const float v : LOCKSTEP_FUNCTION(Tanh)(Dense(1.0f, 20.0f, kCount, true)))
    ASSERT_TRUE(std::abs(v) <= 1.0f);
  for (const float v : LOCKSTEP_FUNCTION(Erf)(Dense(1.0f, 20.0f, kCount, true)))
    ASSERT_TRUE(std::abs(v) <= 1.0f);
  for (const float v : LOCKSTEP_FUNCTION(Sigmoid)(Dense(1.0f, 200.0f, kCount, true)))
    ASSERT_TRUE(v >= 0.0f && v <= 1.0f);
}

// FNV-1a of the bits of the results.
uint64_t Hash(const std::vector<float>& values, uint64_t hash) {
  for (const float v : values) {
    uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    hash = (hash ^ bits) * 0x100000001B3u;
  }
  return hash;
}

TEST_P(MathTest, SameBitsInEveryLaneAndOnEveryTargetWithFma) {
  const std::vector<float> x = Dense(1e-3f, 80.0f, 20001, false);
  uint64_t hash = 0xCBF29CE484222325;
  for (const Apply& f : {LOCKSTEP_FUNCTION(Exp), LOCKSTEP_FUNCTION(Log), LOCKSTEP_FUNCTION(Log1p),
                         LOCKSTEP_FUNCTION(Tanh), LOCKSTEP_FUNCTION(Sigmoid),
                         LOCKSTEP_FUNCTION(Softplus), LOCKSTEP_FUNCTION(Erf)}) {
    const std::vector<float> y = f(x);
    hash = Hash(y, hash);
    for (size_t i = 1234; i < 1234 + 16; ++i) EXPECT_EQ(f({x[i]})[0], y[i]);
  }
  // Written down from a run on AVX2; every other target with FMA must agree.
  EXPECT_TRUE(!HasFma() || hash == 0x2BFD041F624B2BBAu) << std::hex << hash;
}

}  // namespace
}  // namespace lockstep::kernels
#endif  // HWY_ONCE
