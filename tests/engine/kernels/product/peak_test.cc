#include "engine/kernels/product/peak.h"

#include <cstdint>
#include <vector>

#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

class PeakTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(PeakTest);

// Aligned to 64 bytes, with a line before and behind that must stay as it is.
class Lines {
 public:
  explicit Lines(int64_t n) : n_(n), memory_(static_cast<size_t>(n + 3 * kLine), kOutside) {
    const auto at = reinterpret_cast<uintptr_t>(memory_.data()) / sizeof(float) % kLine;
    begin_ = memory_.data() + kLine + (kLine - static_cast<int64_t>(at)) % kLine;
    // Small whole numbers, each another: sums and products of them are exact.
    for (int64_t i = 0; i < n; ++i) begin_[i] = static_cast<float>(i % 61 + 1);
  }
  float* data() { return begin_; }
  float operator[](int64_t i) const { return begin_[i]; }
  bool Intact() const {
    for (int64_t i = 1; i <= kLine; ++i) {
      if (begin_[-i] != kOutside || begin_[n_ - 1 + i] != kOutside) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kLine = 16;
  static constexpr float kOutside = 1e30f;
  int64_t n_;
  std::vector<float> memory_;
  float* begin_;
};

// What is said to be moved is moved: every element counts, and nothing beside them.
TEST_P(PeakTest, StreamsTouchEveryElementAndNoOther) {
  for (const int64_t n : {int64_t{0}, kStreamFloats, 5 * kStreamFloats}) {
    SCOPED_TRACE(n);
    Lines a(n), b(n), c(n);
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(b[i]);
    EXPECT_EQ(StreamRead(b.data(), n), sum);
    StreamUpdate(-2.0f, c.data(), n);
    StreamTriad(b.data(), c.data(), 3.0f, a.data(), n);
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(c[i], -2.0f * b[i]);
      EXPECT_EQ(a[i], b[i] + 3.0f * c[i]);
    }
    EXPECT_TRUE(a.Intact() && b.Intact() && c.Intact());
  }
}

TEST_P(PeakTest, ChainsOfMultiplyAddsTendToTheirFixedPoint) {
  const Peak peak = PeakMultiplyAdds(100, 0.5f, 1.0f);
  EXPECT_EQ(peak.mean, 2.0f);
  EXPECT_GT(peak.operations, 0);
}

}  // namespace
}  // namespace lockstep::kernels
