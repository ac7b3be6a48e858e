#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <ostream>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "engine/ops/conv.h"
//
#include <hwy/highway.h>
#include <hwy/tests/test_util-inl.h>

namespace lockstep::inline v0_1 {
namespace {

bool TargetFuses() { return (hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX2 | HWY_NEON)) != 0; }

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  const char* name;
  int64_t batch;
  ops::ConvShape shape;
  std::vector<int64_t> segments = {};
  bool accumulate = false;
};

struct Extent {
  int64_t in, kernel, stride = 1, pad = 0, dilation = 1, pad_end = -1;  // -1: as pad
  int64_t out() const {
    return (in + pad + (pad_end < 0 ? pad : pad_end) - dilation * (kernel - 1) - 1) / stride + 1;
  }
};
ops::ConvShape Shape(int64_t in_c, int64_t out_c, const Extent& h, const Extent& w,
                     int64_t groups = 1) {
  return {.in_h = h.in,
          .in_w = w.in,
          .in_c = in_c,
          .out_h = h.out(),
          .out_w = w.out(),
          .out_c = out_c,
          .kernel_h = h.kernel,
          .kernel_w = w.kernel,
          .stride_h = h.stride,
          .stride_w = w.stride,
          .pad_top = h.pad,
          .pad_left = w.pad,
          .dilation_h = h.dilation,
          .dilation_w = w.dilation,
          .groups = groups};
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {
      {"3x3", 2, Shape(16, 32, {9, 3, 1, 1}, {11, 3, 1, 1})},
      {"odd channels", 3, Shape(19, 37, {7, 3, 1, 1}, {5, 3, 1, 1})},
      {"in shards", 5, Shape(15, 33, {14, 3, 1, 1}, {14, 3, 1, 1}), {0, 0, 2, 3, 3, 5, 5}, true},
      {"stem", 9, Shape(3, 24, {31, 7, 2, 3}, {33, 7, 2, 3}), {0, 2, 2, 9}},
      {"one channel", 3, Shape(1, 8, {12, 5}, {12, 5, 1, 2})},
      {"joined, all padding", 2, Shape(2, 5, {2, 3, 1, 3}, {1, 5, 2, 6})},
      {"1x1", 3, Shape(20, 50, {9, 1}, {13, 1})},
      {"1x1 in shards", 9, Shape(20, 50, {9, 1}, {13, 1}), {0, 4, 4, 9}},
      {"k1 s2 p1", 2, Shape(8, 12, {7, 1, 2, 1}, {6, 1, 2, 1})},
      {"k3 p3", 2, Shape(6, 9, {4, 3, 1, 3}, {3, 3, 1, 3})},
      {"k5 s3 p1", 2, Shape(5, 10, {11, 5, 3, 1}, {13, 5, 3, 1})},
      {"k3 s2 on 6x6", 2, Shape(10, 17, {6, 3, 2}, {6, 3, 2})},
      {"dilated", 2, Shape(4, 20, {13, 3, 1, 2, 2}, {17, 3, 2, 4, 3})},
      {"same, even kernel", 2, Shape(9, 11, {7, 4, 2, 1, 1, 2}, {8, 2, 1, 0, 1, 1})},
      {"groups", 2, Shape(10, 15, {6, 3, 1, 1}, {7, 3, 1, 1}, 5)},
      {"4 -> 16 in 2 groups", 3, Shape(4, 16, {6, 3, 1, 1}, {7, 3, 1, 1}, 2)},
      {"odd groups", 3, Shape(9, 21, {6, 3, 2, 1}, {7, 3, 2, 1}, 3)},
      {"depthwise", 2, Shape(7, 14, {6, 3, 1, 1}, {7, 3, 1, 1}, 7)},
      {"long lines", 4, Shape(3, 40, {3, 3, 1, 1}, {601, 3, 1, 1}), {0, 1, 4}},
      {"long lines, strided", 2, Shape(9, 6, {4, 3, 2, 1}, {1100, 3, 2, 1})},
      {"signal", 4, Shape(12, 10, {1, 1}, {300, 9, 1, 4})},
      {"one pixel lines", 3, Shape(12, 10, {300, 3, 1, 1}, {1, 1})},
      {"whole picture", 70, Shape(11, 13, {3, 3}, {3, 3}), {0, 33, 70}},
      {"several blocks", 2, Shape(130, 140, {5, 3, 1, 1}, {6, 3, 1, 1})},
      {"several blocks, 1x1", 2, Shape(300, 270, {5, 1, 2}, {6, 1})},
      {"product", 3, Shape(130, 140, {9, 1}, {11, 1}), {}, true},
      {"product in shards", 3, Shape(130, 140, {5, 1}, {6, 1}), {0, 1, 3}},
      {"empty batch", 0, Shape(4, 8, {5, 3}, {5, 3}), {}, true},
      {"empty shards", 0, Shape(4, 8, {5, 3}, {5, 3}), {0, 0, 0}},
      {"many samples", 40, Shape(16, 16, {12, 3, 1, 1}, {12, 3, 1, 1}), {0, 11, 25, 40}},
  };
  for (int64_t in_c = 1; in_c <= 7; ++in_c) {
    cases.push_back({"1x1 s2", 2, Shape(in_c, 9, {7, 1, 2}, {9, 1, 2})});
  }
  return cases;
}

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name << " " << c.shape.in_c << "->" << c.shape.out_c;
}

std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("conv weight gradient"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}
int64_t XFloats(const Case& c) { return c.batch * c.shape.in_h * c.shape.in_w * c.shape.in_c; }
int64_t DyFloats(const Case& c) { return c.batch * c.shape.out_h * c.shape.out_w * c.shape.out_c; }

// dw on `threads` threads. Scratch starts as NaN and must suffice; so does dw where nothing is
// added to it.
std::vector<float> Solve(const Case& c, int threads, const std::vector<float>& x,
                         const std::vector<float>& dy, std::atomic<bool>* not_finite = nullptr) {
  Context ctx({.threads = threads});
  std::vector<float> dw = RandomFloats(c.shape.weights(), 3);
  if (!c.accumulate) std::fill(dw.begin(), dw.end(), kNan);
  const auto segments = static_cast<int64_t>(c.segments.size()) - 1;
  std::vector<float> scratch(
      static_cast<size_t>(ops::ConvWeightGradientScratch(threads, c.shape, c.batch, segments)),
      kNan);
  ops::ConvWeightGradient(ctx, c.shape,
                          {.batch = c.batch,
                           .x = x.data(),
                           .dy = dy.data(),
                           .dw = dw.data(),
                           .accumulate = c.accumulate,
                           .segments = c.segments,
                           .not_finite = not_finite},
                          scratch);
  return dw;
}
std::vector<float> Solve(const Case& c, int threads) {
  return Solve(c, threads, RandomFloats(XFloats(c), 1), RandomFloats(DyFloats(c), 2));
}

struct Element {
  int64_t o, kh, kw, i;
  const float* x;
  const float* dy;
};

Element ElementOf(const ops::ConvShape& s, int64_t at, const float* x, const float* dy) {
  const int64_t i = at % s.group_in(), kw = at / s.group_in() % s.kernel_w;
  const int64_t kh = at / s.group_in() / s.kernel_w % s.kernel_h;
  return {at / (s.group_in() * s.kernel_w * s.kernel_h), kh, kw, i, x, dy};
}

// Calls term(x, dy) for the pixels with number p in [begin, end) (all samples, lines, columns) that
// the element's tap finds inside the picture, in ascending order.
template <class Term>
void ForTerms(const ops::ConvShape& s, const Element& e, int64_t begin, int64_t end,
              const Term& term) {
  const int64_t channel = e.o / s.group_out() * s.group_in() + e.i;
  for (int64_t p = begin; p < end; ++p) {
    const int64_t ow = p % s.out_w, oh = p / s.out_w % s.out_h, b = p / s.out_w / s.out_h;
    const int64_t h = oh * s.stride_h - s.pad_top + e.kh * s.dilation_h;
    const int64_t w = ow * s.stride_w - s.pad_left + e.kw * s.dilation_w;
    if (h < 0 || h >= s.in_h || w < 0 || w >= s.in_w) continue;
    term(e.x[((b * s.in_h + h) * s.in_w + w) * s.in_c + channel], e.dy[p * s.out_c + e.o]);
  }
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where the chains of the segment of samples [begin, end) begin, and its end: numbers of pixels.
// This is the contract of engine/ops/conv.h once more.
std::vector<int64_t> ChainBounds(const ops::ConvShape& s, int64_t begin, int64_t end) {
  const int64_t sample = s.out_h * s.out_w, lines = (end - begin) * s.out_h;
  const bool dense = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 &&
                     s.pad_top == 0 && s.pad_left == 0 && s.out_h == s.in_h && s.out_w == s.in_w;
  std::vector<int64_t> bounds;
  if (dense) {
    const int64_t pixels = (end - begin) * sample;
    const int64_t n = std::max<int64_t>(1, CeilDiv(pixels, 256));
    for (int64_t i = 0; i < n; ++i) bounds.push_back(begin * sample + pixels * i / n);
  } else if (s.out_w <= 256) {
    const int64_t n = std::max<int64_t>(1, CeilDiv(lines, 256 / s.out_w));
    for (int64_t i = 0; i < n; ++i) bounds.push_back(begin * sample + lines * i / n * s.out_w);
  } else {
    const int64_t parts = CeilDiv(s.out_w, 256);
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t part = 0; part < parts; ++part) {
        bounds.push_back(begin * sample + line * s.out_w + s.out_w * part / parts);
      }
    }
    if (lines == 0) bounds.push_back(begin * sample);
  }
  bounds.push_back(end * sample);
  return bounds;
}

// The tree over [lo, hi) of leaf(i).
template <class Leaf>
float Tree(int64_t lo, int64_t hi, const Leaf& leaf) {
  if (hi - lo == 1) return leaf(lo);
  const auto mid = lo + static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(hi - lo - 1)));
  return Tree(lo, mid, leaf) + Tree(mid, hi, leaf);
}

class ConvWeightGradientTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ConvWeightGradientTest);

// With a * b rounded and added, or fused: a product passes at most 257 roundings in its chain, one
// at each level of the trees, and one when the old value is added.
TEST_P(ConvWeightGradientTest, IsTheSumOverPixels) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(testing::Message() << c);
    const std::vector<float> x = RandomFloats(XFloats(c), 1), dy = RandomFloats(DyFloats(c), 2);
    const std::vector<float> old = RandomFloats(c.shape.weights(), 3);
    for (const int threads : {1, 3}) {
      const std::vector<float> dw = Solve(c, threads, x, dy);
      const int64_t step = std::max<int64_t>(1, c.shape.weights() / 5000);
      for (int64_t at = 0; at < c.shape.weights(); at += step) {
        const Element e = ElementOf(c.shape, at, x.data(), dy.data());
        double want = c.accumulate ? static_cast<double>(old[static_cast<size_t>(at)]) : 0.0;
        double size = std::abs(want);
        ForTerms(c.shape, e, 0, c.batch * c.shape.out_h * c.shape.out_w, [&](double a, double b) {
          want += a * b;
          size += std::abs(a * b);
        });
        const double error = std::abs(dw[static_cast<size_t>(at)] - want);
        ASSERT_TRUE(error <= 1.001 * 0x1p-24 * (257 + 10 + 4 + 1) * size)
            << dw[static_cast<size_t>(at)] << " not " << want << " at " << at;
      }
    }
  }
}

TEST_P(ConvWeightGradientTest, HasTheSameBitsForAnyNumberOfThreads) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(testing::Message() << c);
    const std::vector<float> one = Solve(c, 1);
    for (const int threads : {2, 3, 8}) {
      const std::vector<float> many = Solve(c, threads);
      EXPECT_EQ(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)), 0) << threads;
    }
  }
}

// And so the same bits on every target.
TEST_P(ConvWeightGradientTest, AddsInTheOrderOfItsContract) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(testing::Message() << c);
    const std::vector<float> x = RandomFloats(XFloats(c), 1), dy = RandomFloats(DyFloats(c), 2);
    const std::vector<float> old = RandomFloats(c.shape.weights(), 3);
    const std::vector<float> dw = Solve(c, 2, x, dy);
    if (!TargetFuses()) GTEST_SKIP() << "this target rounds products before it adds them";
    const std::vector<int64_t> segments =
        c.segments.empty() ? std::vector<int64_t>{0, c.batch} : c.segments;
    const int64_t step = std::max<int64_t>(1, c.shape.weights() / 5000) | 1;
    for (int64_t at = 0; at < c.shape.weights(); at += step) {
      const Element e = ElementOf(c.shape, at, x.data(), dy.data());
      const auto segment = [&](int64_t s) {
        const std::vector<int64_t> bounds = ChainBounds(c.shape, segments[static_cast<size_t>(s)],
                                                        segments[static_cast<size_t>(s) + 1]);
        return Tree(0, static_cast<int64_t>(bounds.size()) - 1, [&](int64_t chain) {
          float sum = 0.0f;
          ForTerms(c.shape, e, bounds[static_cast<size_t>(chain)],
                   bounds[static_cast<size_t>(chain) + 1],
                   [&](float a, float b) { sum = std::fma(a, b, sum); });
          return sum;
        });
      };
      float want = Tree(0, static_cast<int64_t>(segments.size()) - 1, segment);
      if (c.accumulate) want = old[static_cast<size_t>(at)] + want;
      ASSERT_EQ(std::bit_cast<uint32_t>(dw[static_cast<size_t>(at)]), std::bit_cast<uint32_t>(want))
          << at;
    }
  }
}

// Padding is skipped, not multiplied by zero: a dy that only meets padding with some tap must leave
// that tap's gradient finite.
TEST_P(ConvWeightGradientTest, PaddingIsSkipped) {
  for (const int64_t in_c : {3, 16}) {
    const Case c{"padding", 1, Shape(in_c, 20, {5, 3, 1, 1}, {6, 3, 1, 1})};
    const std::vector<float> x = RandomFloats(XFloats(c), 1);
    std::vector<float> dy = RandomFloats(DyFloats(c), 2);
    std::fill_n(dy.begin(), c.shape.out_c, std::numeric_limits<float>::infinity());
    const std::vector<float> dw = Solve(c, 1, x, dy);
    for (int64_t at = 0; at < c.shape.weights(); ++at) {
      const Element e = ElementOf(c.shape, at, nullptr, nullptr);
      EXPECT_EQ(std::isfinite(dw[static_cast<size_t>(at)]), e.kh == 0 || e.kw == 0) << at;
    }
  }
}

TEST_P(ConvWeightGradientTest, ReportsWhatIsNotFinite) {
  for (const int64_t out_c : {1, 16, 37}) {
    const Case c{"not finite", 2, Shape(5, out_c, {5, 3, 1, 1}, {6, 3, 1, 1})};
    const std::vector<float> x = RandomFloats(XFloats(c), 1);
    std::vector<float> dy = RandomFloats(DyFloats(c), 2);
    for (const int threads : {1, 3}) {
      std::atomic<bool> not_finite = false;
      Solve(c, threads, x, dy, &not_finite);
      EXPECT_FALSE(not_finite);
      for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
        const float good = std::exchange(dy.back(), bad);
        not_finite = false;
        Solve(c, threads, x, dy, &not_finite);
        EXPECT_TRUE(not_finite);
        dy.back() = good;
      }
    }
  }
}

TEST_P(ConvWeightGradientTest, ScratchForTheLargestBatchServesSmallerOnes) {
  for (const Case& c : Cases()) {
    for (const int threads : {1, 4}) {
      const int64_t largest = ops::ConvWeightGradientScratch(threads, c.shape, 64, 8);
      for (const int64_t batch : {0, 1, 7, 63, 64}) {
        for (const int64_t segments : {1, 3, 8}) {
          EXPECT_LE(ops::ConvWeightGradientScratch(threads, c.shape, batch, segments), largest);
        }
      }
    }
  }
}

TEST_P(ConvWeightGradientTest, RefusesTooLittleScratch) {
  const ops::ConvShape shape = Shape(4, 8, {5, 3}, {5, 3});
  Context ctx({.threads = 1});
  const std::vector<float> x(100), dy(72);
  std::vector<float> dw(static_cast<size_t>(shape.weights())), scratch(10);
  EXPECT_THROW(
      ops::ConvWeightGradient(
          ctx, shape, {.batch = 1, .x = x.data(), .dy = dy.data(), .dw = dw.data()}, scratch),
      CheckFailure);
}

// A million terms of 0.01, all of one sign: every product passes at most 257 roundings in its chain
// and one at each level of the tree over the chains. PyTorch 2 loses 3.2e-5 in a product that long.
TEST(ConvWeightGradientAccuracy, LongSumsStayWithinTheBoundOfTheirTree) {
  for (const int64_t kernel : {1, 3}) {
    const int64_t pad = kernel / 2;
    const Case c{"long", 4, Shape(1, 2, {500, kernel, 1, pad}, {500, kernel, 1, pad})};
    const std::vector<float> x(static_cast<size_t>(XFloats(c)), 0.1f);
    const std::vector<float> dy(static_cast<size_t>(DyFloats(c)), 0.1f);
    const std::vector<float> dw = Solve(c, 2, x, dy);
    for (int64_t at = 0; at < c.shape.weights(); ++at) {
      const Element e = ElementOf(c.shape, at, x.data(), dy.data());
      double want = 0.0;
      ForTerms(c.shape, e, 0, 4 * 500 * 500, [&](double a, double b) { want += a * b; });
      const double error = std::abs(dw[static_cast<size_t>(at)] - want) / want;
      constexpr double kBound = 1.001 * 0x1p-24 * (257 + 12);  // 4000 chains
      EXPECT_TRUE(error <= kBound) << error;
    }
  }
}

}  // namespace
}  // namespace lockstep
