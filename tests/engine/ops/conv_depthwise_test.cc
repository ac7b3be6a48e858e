#include "engine/ops/conv_depthwise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/kernels/product/chains.h"
#include "engine/kernels/targets.h"
#include "engine/parallel/shards.h"
#include "tests/engine/kernels/arrays.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::ops {
namespace {

using kernels::Activation;
using testing_arrays::Bits;
using testing_arrays::Guarded;
using testing_arrays::HasFma;
using testing_arrays::kInf;
using testing_arrays::kNan;
using testing_arrays::Normals;

struct Case {
  std::string name;
  ConvShape shape;
  int64_t batch = 3;
};

struct Options {
  int64_t kernel_h = 3, kernel_w = 3, stride_h = 1, stride_w = 1, pad_h = 1, pad_w = 1;
  int64_t dilation_h = 1, dilation_w = 1, multiplier = 1;
};

ConvShape ShapeOf(int64_t h, int64_t w, int64_t channels, Options o = {}) {
  const auto extent = [](int64_t n, int64_t k, int64_t stride, int64_t pad, int64_t dilation) {
    return (n + 2 * pad - dilation * (k - 1) - 1) / stride + 1;
  };
  return {.in_h = h,
          .in_w = w,
          .in_c = channels,
          .out_h = extent(h, o.kernel_h, o.stride_h, o.pad_h, o.dilation_h),
          .out_w = extent(w, o.kernel_w, o.stride_w, o.pad_w, o.dilation_w),
          .out_c = channels * o.multiplier,
          .kernel_h = o.kernel_h,
          .kernel_w = o.kernel_w,
          .stride_h = o.stride_h,
          .stride_w = o.stride_w,
          .pad_top = o.pad_h,
          .pad_left = o.pad_w,
          .dilation_h = o.dilation_h,
          .dilation_w = o.dilation_w,
          .groups = channels};
}

Options Kernel(int64_t k, int64_t stride, int64_t pad, int64_t dilation = 1,
               int64_t multiplier = 1) {
  return {k, k, stride, stride, pad, pad, dilation, dilation, multiplier};
}

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {"3x3", ShapeOf(9, 13, 35)},
      {"3x3 of 16 channels", ShapeOf(7, 7, 16), 6},
      {"3x3 of 17 channels", ShapeOf(5, 4, 17)},
      {"3x3 of 2 channels", ShapeOf(6, 5, 2)},
      {"3x3 of a pixel", ShapeOf(1, 1, 5), 7},
      {"3x3 of two by two", ShapeOf(2, 2, 33), 11},
      {"3x3, stride 2, odd", ShapeOf(9, 15, 19, Kernel(3, 2, 1))},
      {"3x3, stride 2, even", ShapeOf(6, 8, 7, Kernel(3, 2, 0))},
      {"3x3, stride 3", ShapeOf(11, 10, 18, Kernel(3, 3, 2))},
      {"3x3, padding 3", ShapeOf(3, 4, 9, Kernel(3, 1, 3))},
      {"3x3, dilation 2", ShapeOf(9, 8, 20, Kernel(3, 1, 2, 2))},
      {"3x3, stride 2, dilation 3", ShapeOf(12, 13, 6, Kernel(3, 2, 3, 3))},
      {"3x3, stride 4, dilation 2", ShapeOf(12, 13, 6, Kernel(3, 4, 2, 2))},
      {"1x1, stride 2, padding 1", ShapeOf(5, 6, 3, Kernel(1, 2, 1))},
      {"2x2, stride 3: unread pixels", ShapeOf(8, 10, 6, Kernel(2, 3, 0))},
      {"5x5, stride 2", ShapeOf(11, 9, 21, Kernel(5, 2, 2))},
      {"7x7 of less than it", ShapeOf(3, 2, 8, Kernel(7, 1, 5))},
      {"two channels for each", ShapeOf(6, 7, 19, Kernel(3, 1, 1, 1, 2))},
      {"five channels for each, stride 2", ShapeOf(7, 6, 5, Kernel(3, 2, 1, 1, 5))},
      {"17x17: more than one chain", ShapeOf(18, 19, 3, Kernel(17, 1, 8))},
      {"29 channels for each: chains in the data gradient",
       ShapeOf(5, 4, 2, Kernel(3, 1, 1, 1, 29))},
      {"a signal", ShapeOf(1, 600, 3, {1, 4, 1, 2, 0, 2, 1, 1, 1}), 2},
      {"a long line", ShapeOf(2, 300, 18)},
      {"many lines", ShapeOf(40, 30, 4), 2},
      {"3x3, stride and dilation 2", ShapeOf(9, 29, 17, Kernel(3, 2, 2, 2))},
      {"5x5", ShapeOf(6, 19, 18, Kernel(5, 1, 2))},
      {"uneven", ShapeOf(9, 10, 8, {2, 4, 1, 3, 0, 2, 3, 1, 1})},
      {"wide", ShapeOf(3, 4, 300)},
      {"one line of many channels, which are shared out", ShapeOf(1, 40, 642), 1},
      {"1x1", ShapeOf(9, 40, 5, Kernel(1, 1, 0))},
      {"an empty batch", ShapeOf(4, 5, 6), 0},
  };
  return cases;
}

int64_t OfX(const ConvShape& s) { return s.in_h * s.in_w * s.in_c; }
int64_t OfY(const ConvShape& s) { return s.out_h * s.out_w * s.out_c; }

// ---- The contract, one multiply-add at a time. Terms of a sum with their places in it, before
// what is padding was left out.
struct Term {
  int64_t k;
  float a, b;
};

// +0, then fused multiply-adds; `terms` of K that is cut into equal chains of at most 256.
float ChainedSum(const std::vector<Term>& terms, int64_t k) {
  const int64_t chains = kernels::ChainsOf(k);
  std::vector<float> sums(static_cast<size_t>(chains), 0.0f);
  for (const Term& t : terms) {
    int64_t chain = 0;
    while (t.k >= k * (chain + 1) / chains) ++chain;
    float& sum = sums[static_cast<size_t>(chain)];
    sum = std::fma(t.a, t.b, sum);
  }
  MergeTree(0, chains, [&](int64_t into, int64_t from) {
    sums[static_cast<size_t>(into)] += sums[static_cast<size_t>(from)];
  });
  return sums[0];
}

std::vector<float> WantForward(const Case& c, const float* x, const float* w) {
  const ConvShape& s = c.shape;
  std::vector<float> y;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t at = 0; at < OfY(s); ++at) {
      const int64_t o = at % s.out_c, ow = at / s.out_c % s.out_w, oh = at / s.out_c / s.out_w;
      std::vector<Term> terms;
      for (int64_t k = 0; k < s.kernel_h * s.kernel_w; ++k) {
        const int64_t h = oh * s.stride_h - s.pad_top + k / s.kernel_w * s.dilation_h;
        const int64_t v = ow * s.stride_w - s.pad_left + k % s.kernel_w * s.dilation_w;
        if (h < 0 || h >= s.in_h || v < 0 || v >= s.in_w) continue;
        terms.push_back({k, x[b * OfX(s) + (h * s.in_w + v) * s.in_c + o / s.group_out()],
                         w[o * s.kernel_h * s.kernel_w + k]});
      }
      y.push_back(ChainedSum(terms, s.kernel_h * s.kernel_w));
    }
  }
  return y;
}

std::vector<float> WantDataGradient(const Case& c, const float* dy, const float* w) {
  const ConvShape& s = c.shape;
  const int64_t taps = s.kernel_h * s.kernel_w, m = s.group_out();
  std::vector<float> dx;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t at = 0; at < OfX(s); ++at) {
      const int64_t i = at % s.in_c, v = at / s.in_c % s.in_w, h = at / s.in_c / s.in_w;
      std::vector<Term> terms;
      for (int64_t k = 0; k < taps; ++k) {
        const int64_t row = h + s.pad_top - k / s.kernel_w * s.dilation_h;
        const int64_t column = v + s.pad_left - k % s.kernel_w * s.dilation_w;
        if (row < 0 || row % s.stride_h != 0 || row / s.stride_h >= s.out_h) continue;
        if (column < 0 || column % s.stride_w != 0 || column / s.stride_w >= s.out_w) continue;
        const int64_t pixel = row / s.stride_h * s.out_w + column / s.stride_w;
        for (int64_t o = i * m; o < (i + 1) * m; ++o) {
          terms.push_back(
              {k * m + o - i * m, dy[b * OfY(s) + pixel * s.out_c + o], w[o * taps + k]});
        }
      }
      dx.push_back(ChainedSum(terms, taps * m));
    }
  }
  return dx;
}

// Chains as engine/ops/conv.h words them: whole lines, in any number of samples, as many as 256
// pixels hold; else parts of a line; where each pixel is read as it is, of one long line.
std::vector<float> WantWeightGradient(const Case& c, const float* x, const float* dy,
                                      const std::vector<int64_t>& segments) {
  const ConvShape& s = c.shape;
  const int64_t taps = s.kernel_h * s.kernel_w;
  const bool dense = taps == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0;
  std::vector<float> dw;
  for (int64_t at = 0; at < s.out_c * taps; ++at) {
    const int64_t o = at / taps, kh = at % taps / s.kernel_w, kw = at % s.kernel_w;
    std::vector<float> sums;
    for (size_t g = 0; g + 1 < segments.size(); ++g) {
      const int64_t samples = segments[g + 1] - segments[g];
      const int64_t width = dense ? samples * s.out_h * s.out_w : s.out_w;
      const int64_t lines = dense ? 1 : samples * s.out_h;
      std::vector<float> chains;
      const auto add_chain = [&](int64_t line, int64_t line_end, int64_t column, int64_t end) {
        float sum = 0.0f;
        for (int64_t l = line; l < line_end; ++l) {
          for (int64_t v = column; v < end; ++v) {
            const int64_t pixel = l * width + v + segments[g] * s.out_h * s.out_w;
            const int64_t b = pixel / (s.out_h * s.out_w);
            const int64_t oh = pixel / s.out_w % s.out_h, ow = pixel % s.out_w;
            const int64_t h = oh * s.stride_h - s.pad_top + kh * s.dilation_h;
            const int64_t w = ow * s.stride_w - s.pad_left + kw * s.dilation_w;
            if (h < 0 || h >= s.in_h || w < 0 || w >= s.in_w) continue;
            sum = std::fma(x[b * OfX(s) + (h * s.in_w + w) * s.in_c + o / s.group_out()],
                           dy[pixel * s.out_c + o], sum);
          }
        }
        chains.push_back(sum);
      };
      if (width <= 256) {
        const int64_t each = 256 / std::max<int64_t>(1, width), n = (lines + each - 1) / each;
        for (int64_t i = 0; i < n; ++i) add_chain(lines * i / n, lines * (i + 1) / n, 0, width);
      } else {
        const int64_t n = (width + 255) / 256;
        for (int64_t i = 0; i < lines * n; ++i)
          add_chain(i / n, i / n + 1, width * (i % n) / n, width * (i % n + 1) / n);
      }
      MergeTree(0, static_cast<int64_t>(chains.size()), [&](int64_t into, int64_t from) {
        chains[static_cast<size_t>(into)] += chains[static_cast<size_t>(from)];
      });
      sums.push_back(chains.empty() ? 0.0f : chains[0]);
    }
    MergeTree(0, static_cast<int64_t>(sums.size()), [&](int64_t into, int64_t from) {
      sums[static_cast<size_t>(into)] += sums[static_cast<size_t>(from)];
    });
    dw.push_back(sums[0]);
  }
  return dw;
}

// ---- What is tested, with poisoned workspaces and guarded results.
enum class Way { kForward, kDataGradient };

struct RunOptions {
  int threads = 1;
  bool accumulate = false;
  kernels::Epilogue epilogue{};
  std::vector<int64_t> row_grid{};
  std::optional<BlockFinished> finished{};
};
constexpr float kOld = 0.75f;

std::vector<float> Solve(const Case& c, Way way, const std::vector<float>& from,
                         const std::vector<float>& w, const RunOptions& run = {}) {
  Context ctx({.threads = run.threads});
  const ConvShape& s = c.shape;
  const bool forward = way == Way::kForward;
  Guarded packed(forward ? DepthwisePackedForwardFloats(s) : DepthwisePackedDataGradientFloats(s));
  Guarded scratch(forward ? DepthwiseForwardScratch(run.threads, s)
                          : DepthwiseDataGradientScratch(run.threads, s));
  Guarded to(c.batch * (forward ? OfY(s) : OfX(s)), run.accumulate ? kOld : kNan);
  (forward ? DepthwisePackForward : DepthwisePackDataGradient)(ctx, s, w.data(), packed.data());
  const Guarded guarded_from(from);
  const ConvArgs args{.batch = c.batch,
                      .from = guarded_from.data(),
                      .packed = packed.data(),
                      .to = to.data(),
                      .accumulate = run.accumulate,
                      .epilogue = run.epilogue,
                      .row_grid = run.row_grid,
                      .finished = run.finished};
  (forward ? DepthwiseForward : DepthwiseDataGradient)(ctx, s, args,
                                                       {scratch.data(), scratch.values().size()});
  EXPECT_TRUE(packed.Intact() && scratch.Intact() && to.Intact());
  return to.values();
}

std::vector<float> SolveWeightGradient(const Case& c, const std::vector<float>& x,
                                       const std::vector<float>& dy,
                                       const std::vector<int64_t>& segments, int threads,
                                       bool accumulate = false,
                                       std::atomic<bool>* not_finite = nullptr) {
  Context ctx({.threads = threads});
  const ConvShape& s = c.shape;
  const auto count = static_cast<int64_t>(segments.size()) - 1;
  Guarded scratch(DepthwiseWeightGradientScratch(threads, s, c.batch, count));
  Guarded dw(s.weights(), accumulate ? kOld : kNan);
  const Guarded guarded_x(x), guarded_dy(dy);
  DepthwiseWeightGradient(ctx, s,
                          {.batch = c.batch,
                           .x = guarded_x.data(),
                           .dy = guarded_dy.data(),
                           .dw = dw.data(),
                           .accumulate = accumulate,
                           .segments = segments,
                           .not_finite = not_finite},
                          {scratch.data(), scratch.values().size()});
  EXPECT_TRUE(scratch.Intact() && dw.Intact());
  return dw.values();
}

struct Numbers {
  std::vector<float> x, dy, w;
  explicit Numbers(const Case& c)
      : x(Normals(c.batch * OfX(c.shape), 1)),
        dy(Normals(c.batch * OfY(c.shape), 2)),
        w(Normals(c.shape.weights(), 3)) {}
};

std::vector<std::vector<int64_t>> SegmentsOf(int64_t batch) {
  return {{0, batch}, {0, 0, batch / 2, batch, batch}};
}

class DepthwiseTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(DepthwiseTest);

// On targets with fused multiply-add to the bit, whatever the number of threads; where products are
// rounded first, by less than 2^-22 of the sum of the sizes of at most 600 terms of size one.
void ExpectSame(const std::vector<float>& got, const std::vector<float>& want, double terms,
                const std::string& what) {
  if (HasFma()) {
    ASSERT_EQ(Bits(got), Bits(want)) << what;
    return;
  }
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_TRUE(std::abs(got[i] - want[i]) <= terms * 16 * 0x1p-22) << what << i;
}

TEST_P(DepthwiseTest, EverySumIsInTheOrderOfItsContract) {
  for (const Case& c : Cases()) {
    const Numbers n(c);
    const auto taps = static_cast<double>(c.shape.kernel_h * c.shape.kernel_w);
    const std::vector<float> y = WantForward(c, n.x.data(), n.w.data());
    const std::vector<float> dx = WantDataGradient(c, n.dy.data(), n.w.data());
    for (const int threads : {1, 2, 3, 8}) {
      const std::string what = c.name + ", threads " + std::to_string(threads);
      ExpectSame(Solve(c, Way::kForward, n.x, n.w, {.threads = threads}), y, taps, what);
      ExpectSame(Solve(c, Way::kDataGradient, n.dy, n.w, {.threads = threads}), dx,
                 taps * static_cast<double>(c.shape.group_out()), what);
      for (const std::vector<int64_t>& segments : SegmentsOf(c.batch)) {
        ExpectSame(SolveWeightGradient(c, n.x, n.dy, segments, threads),
                   WantWeightGradient(c, n.x.data(), n.dy.data(), segments),
                   static_cast<double>(c.batch * c.shape.out_h * c.shape.out_w), what);
      }
    }
  }
}

TEST_P(DepthwiseTest, TheEpilogueIsAppliedInItsOrder) {
  for (const Case& c : Cases()) {
    for (const Way way : {Way::kForward, Way::kDataGradient}) {
      const Numbers n(c);
      const bool forward = way == Way::kForward;
      const std::vector<float>& from = forward ? n.x : n.dy;
      const std::vector<float> plain = Solve(c, way, from, n.w);
      const auto channels = static_cast<size_t>(forward ? c.shape.out_c : c.shape.in_c);
      const std::vector<float> scale = Normals(static_cast<int64_t>(channels), 4);
      const std::vector<float> bias = Normals(static_cast<int64_t>(channels), 5);
      const std::vector<float> add = Normals(static_cast<int64_t>(plain.size()), 6);
      for (int parts = 0; parts < 32; ++parts) {
        const bool accumulate = parts & 1, relu = parts & 16;
        const kernels::Epilogue epilogue{
            .scale = parts & 2 ? scale.data() : nullptr,
            .bias = parts & 4 ? bias.data() : nullptr,
            .add = parts & 8 ? add.data() : nullptr,
            .add_stride = static_cast<int64_t>(channels),
            .activation = relu ? Activation::kRelu : Activation::kNone};
        const std::vector<float> got = Solve(
            c, way, from, n.w, {.threads = 2, .accumulate = accumulate, .epilogue = epilogue});
        for (size_t i = 0; i < got.size(); ++i) {
          const size_t ch = i % channels;
          float v = plain[i];
          if (accumulate) v = kOld + v;
          if (parts & 2) {
            const float b = parts & 4 ? bias[ch] : 0.0f;
            v = (parts & 4) == 0 ? scale[ch] * v
                : HasFma()       ? std::fma(scale[ch], v, b)
                                 : scale[ch] * v + b;
          } else if (parts & 4) {
            v = v + bias[ch];
          }
          if (parts & 8) v = v + add[i];
          if (relu && v < 0) v = 0.0f;
          ASSERT_EQ(got[i], v) << c.name << " parts " << parts << " at " << i;
        }
      }
    }
  }
}

TEST_P(DepthwiseTest, OldWeightGradientsAreAddedTo) {
  for (const Case& c : Cases()) {
    const Numbers n(c);
    const std::vector<float> sum = SolveWeightGradient(c, n.x, n.dy, {0, c.batch}, 2);
    const std::vector<float> got = SolveWeightGradient(c, n.x, n.dy, {0, c.batch}, 2, true);
    for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(got[i], kOld + sum[i]) << c.name;
  }
}

TEST_P(DepthwiseTest, PaddingIsSkippedAndNeverMultiplied) {
  // Each pixel of a picture of one reads by the middle of the window alone.
  const Case c{"a pixel", ShapeOf(1, 1, 21), 2};
  const std::vector<float> ones(42, 1.0f);
  std::vector<float> w(static_cast<size_t>(c.shape.weights()), kInf);
  for (size_t o = 0; o < 21; ++o) w[o * 9 + 4] = 2.0f;
  for (const Way way : {Way::kForward, Way::kDataGradient})
    EXPECT_EQ(Solve(c, way, ones, w), std::vector<float>(42, 2.0f));
  const std::vector<float> dw =
      SolveWeightGradient(c, std::vector<float>(42, 3.0f), ones, {0, 2}, 1);
  for (size_t i = 0; i < dw.size(); ++i) EXPECT_EQ(dw[i], i % 9 == 4 ? 6.0f : 0.0f) << i;
}

TEST_P(DepthwiseTest, FinishedCellsCoverTheResultOnceAndAreDone) {
  for (const Case& c : Cases()) {
    const Numbers n(c);
    const int64_t rows = c.batch * c.shape.out_h * c.shape.out_w;
    if (rows == 0) continue;
    const std::vector<float> want = Solve(c, Way::kForward, n.x, n.w);
    for (const bool gridded : {false, true}) {
      RunOptions run{.threads = 3};
      if (gridded) {  // cells of one, two, three, ... lines
        run.row_grid = {0};
        for (int64_t lines = 1; run.row_grid.back() < rows; ++lines)
          run.row_grid.push_back(std::min(rows, run.row_grid.back() + lines * c.shape.out_w));
      }
      std::mutex mutex;
      std::vector<int> times(want.size(), 0);
      const auto count = [&](int64_t row, int64_t row_end, int64_t column, int64_t column_end) {
        const std::scoped_lock lock(mutex);
        EXPECT_EQ(column % 16, 0);
        if (gridded) {
          const auto cell = std::ranges::find(run.row_grid, row);
          ASSERT_NE(cell, run.row_grid.end());
          EXPECT_EQ(*(cell + 1), row_end);
        }
        for (int64_t r = row; r < row_end; ++r) {
          for (int64_t o = column; o < column_end; ++o)
            ++times[static_cast<size_t>(r * c.shape.out_c + o)];
        }
      };
      run.finished.emplace(count);
      EXPECT_EQ(Solve(c, Way::kForward, n.x, n.w, run), want);
      EXPECT_EQ(std::ranges::count(times, 1), static_cast<std::ptrdiff_t>(times.size())) << c.name;
    }
  }
}

TEST_P(DepthwiseTest, AGradientThatIsNotFiniteIsReported) {
  const Case& c = Cases()[0];
  Numbers n(c);
  for (const float bad : {0.0f, kNan, kInf}) {
    n.dy[17] = bad;
    std::atomic<bool> found = false;
    SolveWeightGradient(c, n.x, n.dy, {0, c.batch}, 2, false, &found);
    EXPECT_EQ(found.load(), bad != 0.0f);
  }
}

}  // namespace
}  // namespace lockstep::ops
