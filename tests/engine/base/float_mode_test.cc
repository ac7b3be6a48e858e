#include "engine/base/float_mode.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <limits>

namespace lockstep::inline v0_1 {
namespace {

#if defined(__x86_64__) || defined(__aarch64__)

// Reckoned by the machine, where the call stands: modes are no matter of the compiler's.
template <class T>
__attribute__((noinline)) T Quotient(T a, T b) {
  volatile T x = a, y = b;
  volatile T quotient = x / y;
  return quotient;
}
__attribute__((noinline)) float Sum(float a, float b) {
  volatile float x = a, y = b;
  volatile float sum = x + y;
  return sum;
}

constexpr float kTiny = std::numeric_limits<float>::denorm_min();

class FloatMode : public ::testing::Test {
 protected:
  void SetUp() override { std::fegetenv(&before_); }
  void TearDown() override { std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
};

TEST_F(FloatMode, FlushesDenormalsAndRestoresTheThreadsMode) {
  {
    const ScopedFloatMode mode;
    EXPECT_EQ(Sum(kTiny, kTiny), 0.0f);
  }
  EXPECT_GT(Sum(kTiny, kTiny), 0.0f);
}

TEST_F(FloatMode, RoundsToNearestWhateverTheHostDoes) {
  const float third = Quotient(1.0f, 3.0f), sum = Sum(1.0f, 1e-10f);
  const long double long_third = Quotient(1.0L, 3.0L);
  for (const int rounding : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST}) {
    std::fesetround(rounding);
    {
      const ScopedFloatMode mode;
      EXPECT_EQ(std::fegetround(), FE_TONEAREST);
      EXPECT_EQ(Quotient(1.0f, 3.0f), third);
      EXPECT_EQ(Sum(1.0f, 1e-10f), sum);
      EXPECT_EQ(Quotient(1.0L, 3.0L), long_third);
    }
    EXPECT_EQ(std::fegetround(), rounding);
  }
  std::fesetround(FE_UPWARD);
  EXPECT_GT(Sum(1.0f, 1e-10f), sum);
}

// feenableexcept is glibc's.
#if defined(__x86_64__) && defined(__GLIBC__)
TEST_F(FloatMode, NothingTrapsAndTheHostTrapsAgainAfterwards) {
  std::feclearexcept(FE_ALL_EXCEPT);
  const int traps = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;
  feenableexcept(traps);
  {
    const ScopedFloatMode mode;
    EXPECT_EQ(fegetexcept(), 0);
    Quotient(1.0f, 0.0f);
    Quotient(0.0f, 0.0f);
    Quotient(1.0L, 0.0L);
    Quotient(0.0L, 0.0L);
  }
  EXPECT_EQ(fegetexcept(), traps);
  EXPECT_EQ(std::fetestexcept(FE_ALL_EXCEPT), 0);
  EXPECT_EQ(Quotient(1.0f, 2.0f), 0.5f);  // with flags left standing, the first division would trap
  EXPECT_EQ(Quotient(1.0L, 2.0L), 0.5L);
}
#endif

TEST_F(FloatMode, FlagsAreTheHostsOwn) {
  std::feclearexcept(FE_ALL_EXCEPT);
  {
    const ScopedFloatMode mode;
    Quotient(1.0f, 0.0f);
    Quotient(0.0L, 0.0L);
  }
  EXPECT_EQ(std::fetestexcept(FE_ALL_EXCEPT), 0);
  std::feraiseexcept(FE_DIVBYZERO);
  {
    const ScopedFloatMode mode;
    Quotient(0.0f, 0.0f);
    std::feclearexcept(FE_ALL_EXCEPT);
  }
  EXPECT_EQ(std::fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO);
}

TEST_F(FloatMode, ScopesWithinScopesAndModesSetWithinThem) {
  std::fesetround(FE_UPWARD);
  {
    const ScopedFloatMode outer;
    {
      const ScopedFloatMode inner;
      std::fesetround(FE_DOWNWARD);
    }
    EXPECT_EQ(std::fegetround(), FE_TONEAREST);
    EXPECT_EQ(Sum(kTiny, kTiny), 0.0f);
  }
  EXPECT_EQ(std::fegetround(), FE_UPWARD);
}

#endif

}  // namespace
}  // namespace lockstep
