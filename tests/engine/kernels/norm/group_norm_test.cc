// The pieces that group norm adds to the per-channel kernels; the whole is tested in
// tests/engine/ops/group_norm_test.cc.
#include "engine/kernels/norm/group_norm.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/base/float_mode.h"
#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using testing_arrays::Bits;
using testing_arrays::Guarded;
using testing_arrays::kFloatEps;
using testing_arrays::kNan;
using testing_arrays::Normals;

class GroupNormTest : public hwy::TestWithParamTarget {
 protected:
  ScopedFloatMode flush_;
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(GroupNormTest);

TEST_P(GroupNormTest, InputGradientIsItsFormulaAtAnyShape) {
  for (const int64_t rows : {0, 1, 3, 4, 9}) {
    for (const int64_t channels : {1, 7, 8, 16, 35}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << channels);
      const int64_t n = rows * channels;
      const Guarded x(Normals(n, 1)), dy(Normals(n, 2)), mean(Normals(channels, 3)),
          inv_std(Normals(channels, 4)), a(Normals(channels, 5)), b(Normals(channels, 6)),
          e(Normals(channels, 7));
      Guarded dx(n), over_x(x.values()), over_dy(dy.values());
      const auto run = [&](const float* from_x, const float* from_dy, float* to) {
        GroupInputGradient(from_x, from_dy, rows, channels, mean.data(), inv_std.data(), a.data(),
                           b.data(), e.data(), to);
      };
      run(x.data(), dy.data(), dx.data());
      run(over_x.data(), dy.data(), over_x.data());
      run(x.data(), over_dy.data(), over_dy.data());
      EXPECT_TRUE(dx.Intact());
      EXPECT_EQ(Bits(over_x.values()), Bits(dx.values()));
      EXPECT_EQ(Bits(over_dy.values()), Bits(dx.values()));
      for (int64_t i = 0; i < n; ++i) {
        const int64_t c = i % channels;
        const auto wide = [](float v) { return static_cast<double>(v); };
        const double xhat = (wide(x[i]) - wide(mean[c])) * wide(inv_std[c]);
        const double want = wide(a[c]) * wide(dy[i]) + wide(b[c]) + wide(e[c]) * xhat;
        // Six roundings of terms below 50.
        ASSERT_TRUE(std::abs(wide(dx[i]) - want) <= 6.0 * 50.0 * kFloatEps);
      }
    }
  }
}

TEST(GroupStatisticsTest, MergesTheChannelsOfEachGroup) {
  // Two positions of four channels in two groups: {1, 3 | 5, 7} and {2, 2 | 2, 2}.
  const std::vector<double> mean = {2.0, 6.0, 2.0, 2.0}, m2 = {2.0, 2.0, 0.0, 0.0};
  std::vector<float> group_mean(4), mean_low(4, kNan), inv_std(4);
  GroupStatistics(mean.data(), m2.data(), 2, 4, 2, 4.0, group_mean.data(), mean_low.data(),
                  inv_std.data());
  EXPECT_EQ(mean_low, std::vector<float>(4, 0.0f));
  EXPECT_EQ(group_mean, (std::vector<float>{4.0f, 4.0f, 2.0f, 2.0f}));
  EXPECT_EQ(inv_std, (std::vector<float>{1.0f / 3.0f, 1.0f / 3.0f, 0.5f, 0.5f}));
}

}  // namespace
}  // namespace lockstep::kernels
