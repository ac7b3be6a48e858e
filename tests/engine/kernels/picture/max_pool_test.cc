#include "engine/kernels/picture/max_pool.h"

#include <cstdint>
#include <type_traits>
#include <vector>

#include "engine/kernels/targets.h"
#include "gtest/gtest.h"
#include "tests/engine/kernels/arrays.h"
#include "tests/reference/pool.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::kernels {
namespace {

using reference::PoolAxis;
using testing_arrays::Bits;
using testing_arrays::Guarded;
using testing_arrays::kInf;
using testing_arrays::kNan;
using testing_arrays::Normals;

class MaxPoolTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(MaxPoolTest);

SlidingWindow WindowOf(const PoolAxis& axis) {
  return {axis.kernel, axis.stride, axis.padding, axis.dilation, axis.ceil_mode};
}

struct Pooled {
  std::vector<float> y, dx;
};

// Line by line, between guards of NaN.
template <class Place>
Pooled Pool(const std::vector<float>& x, const std::vector<float>& dy, int64_t channels,
            const PoolAxis& h, const PoolAxis& w, const std::vector<float>* old = nullptr) {
  const AxisTaps rows = MaxTaps(h.in, WindowOf(h)), columns = MaxTaps(w.in, WindowOf(w));
  const AxisTaps turned_rows = Turned(rows), turned_columns = Turned(columns);
  EXPECT_EQ(rows.outputs(), h.out());
  const Guarded from(x), dys(dy);
  Guarded y(h.out() * w.out() * channels), alone(w.out() * channels), dx(h.in * w.in * channels);
  if (old != nullptr) dx = Guarded(*old);
  std::vector<Place> places(static_cast<size_t>(h.out() * w.out() * channels));
  for (int64_t i = 0; i < h.out(); ++i) {
    const int64_t at = i * w.out() * channels;
    MaxPoolLine(rows, columns, i, w.kernel, channels, from.data(), y.data() + at,
                places.data() + at);
    MaxPoolLine(rows, columns, i, w.kernel, channels, from.data(), alone.data(),
                static_cast<Place*>(nullptr));
    const std::vector<float> line(y.data() + at, y.data() + at + w.out() * channels);
    EXPECT_EQ(Bits(alone.values()), Bits(line));
  }
  for (int64_t i = 0; i < h.in; ++i) {
    MaxPoolGradientLine(turned_rows, turned_columns, i, w.kernel, channels, dys.data(),
                        places.data(), old != nullptr, dx.data() + i * w.in * channels);
  }
  EXPECT_TRUE(y.Intact() && dx.Intact() && alone.Intact());
  return {y.values(), dx.values()};
}

template <class Place>
void ExpectReference(const std::vector<float>& x, int64_t channels, const PoolAxis& h,
                     const PoolAxis& w, uint64_t seed) {
  const auto want = reference::MaxPool(x, channels, h, w);
  const std::vector<float> dy = Normals(h.out() * w.out() * channels, seed);
  const std::vector<float> old = Normals(h.in * w.in * channels, seed + 1);
  const Pooled got = Pool<Place>(x, dy, channels, h, w);
  EXPECT_EQ(Bits(got.y), Bits(want.y));
  std::vector<float> dx(x.size(), 0.0f);
  for (size_t i = 0; i < dy.size(); ++i) dx[static_cast<size_t>(want.from[i])] += dy[i];
  EXPECT_EQ(got.dx, dx);  // windows in the same order: the same sums
  const Pooled added = Pool<Place>(x, dy, channels, h, w, &old);
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_EQ(added.dx[i], old[i] + dx[i]);
}

TEST_P(MaxPoolTest, IsItsDefinitionForAnyWindowAndNumberOfChannels) {
  Random random(1, 0);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random.Word() % static_cast<uint64_t>(n));
  };
  int ran = 0;
  for (const int64_t channels : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67}) {
    for (int trial = 0; trial < 6; ++trial) {
      const auto axis = [&] {
        const int64_t kernel = 1 + below(4);
        return PoolAxis{.in = 1 + below(9),
                        .kernel = kernel,
                        .stride = 1 + below(4),
                        .padding = below(kernel / 2 + 1),
                        .dilation = 1 + below(2),
                        .ceil_mode = below(2) == 1};
      };
      const PoolAxis h = axis(), w = axis();
      const auto usable = [](const PoolAxis& a) {
        if (a.in + 2 * a.padding < a.dilation * (a.kernel - 1) + 1 || a.out() < 1) return false;
        const AxisTaps taps = MaxTaps(a.in, WindowOf(a));
        for (int64_t i = 0; i < taps.outputs(); ++i) {
          if (taps.first[static_cast<size_t>(i)] == taps.first[static_cast<size_t>(i) + 1])
            return false;
        }
        return true;
      };
      if (!usable(h) || !usable(w)) continue;
      ++ran;
      // Few values, so that many are equal; some of them infinite, some NaN.
      std::vector<float> x(static_cast<size_t>(h.in * w.in * channels));
      for (float& v : x) {
        const int64_t pick = below(20);
        v = pick == 0 ? kNan : pick == 1 ? kInf : pick < 6 ? -kInf : static_cast<float>(pick / 4);
      }
      SCOPED_TRACE(::testing::Message() << h.in << "x" << w.in << "x" << channels << " kernel "
                                        << h.kernel << "x" << w.kernel);
      ExpectReference<uint8_t>(x, channels, h, w, 3);
      ExpectReference<int32_t>(x, channels, h, w, 3);
    }
  }
  EXPECT_GT(ran, 40);
}

TEST_P(MaxPoolTest, WindowsOfManyPlacesAreTold) {
  const PoolAxis h{.in = 20, .kernel = 17}, w{.in = 23, .kernel = 19, .stride = 2};
  ExpectReference<int32_t>(Normals(20 * 23 * 3, 5), 3, h, w, 6);
  const PoolAxis h16{.in = 17, .kernel = 16}, w16{.in = 18, .kernel = 16};  // the last of 8 bits
  std::vector<float> x(17 * 18 * 2, -1.0f);
  x.back() = x[x.size() - 2] = 1.0f;
  ExpectReference<uint8_t>(x, 2, h16, w16, 7);
}

TEST_P(MaxPoolTest, OfNothingButMinusInfinityTheFirstIsTaken) {
  const PoolAxis axis{.in = 3, .kernel = 3, .stride = 2, .padding = 1};
  const Pooled got = Pool<uint8_t>(std::vector<float>(9, -kInf), {1, 2, 4, 8}, 1, axis, axis);
  EXPECT_EQ(got.y, std::vector<float>(4, -kInf));
  EXPECT_EQ(got.dx, (std::vector<float>{1, 2, 0, 4, 8, 0, 0, 0, 0}));
}

}  // namespace
}  // namespace lockstep::kernels
