#include "engine/ops/conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "engine/ops/conv_few_channels.h"
#include "tests/engine/ops/same_bits.h"
#include "tests/reference/conv.h"
//
#include <hwy/highway.h>
#include <hwy/tests/test_util-inl.h>

namespace lockstep::inline v0_1 {
namespace {

using kernels::Activation;
using ops::ConvShape;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

enum class Way { kForward, kDataGradient };

struct Case {
  std::string name;
  ConvShape shape;
  int64_t batch = 2;
  int64_t to_rows(Way way) const { return batch * (way == Way::kForward ? out() : in()); }
  int64_t in() const { return shape.in_h * shape.in_w; }
  int64_t out() const { return shape.out_h * shape.out_w; }
};

struct Options {
  int64_t kernel_h = 3, kernel_w = 3, stride_h = 1, stride_w = 1, pad_h = 1, pad_w = 1;
  int64_t dilation_h = 1, dilation_w = 1, groups = 1;
};

ConvShape ShapeOf(int64_t h, int64_t w, int64_t in, int64_t out, Options o = {}) {
  const auto extent = [](int64_t n, int64_t k, int64_t stride, int64_t pad, int64_t dilation) {
    return (n + 2 * pad - dilation * (k - 1) - 1) / stride + 1;
  };
  return {.in_h = h,
          .in_w = w,
          .in_c = in,
          .out_h = extent(h, o.kernel_h, o.stride_h, o.pad_h, o.dilation_h),
          .out_w = extent(w, o.kernel_w, o.stride_w, o.pad_w, o.dilation_w),
          .out_c = out,
          .kernel_h = o.kernel_h,
          .kernel_w = o.kernel_w,
          .stride_h = o.stride_h,
          .stride_w = o.stride_w,
          .pad_top = o.pad_h,
          .pad_left = o.pad_w,
          .dilation_h = o.dilation_h,
          .dilation_w = o.dilation_w,
          .groups = o.groups};
}

Options Kernel(int64_t k, int64_t stride, int64_t pad, int64_t dilation = 1, int64_t groups = 1) {
  return {k, k, stride, stride, pad, pad, dilation, dilation, groups};
}

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {"3x3", ShapeOf(9, 31, 20, 36)},
      {"3x3 of one line of tiles", ShapeOf(14, 14, 64, 33), 1},
      {"3x3 of small pictures", ShapeOf(7, 7, 40, 16), 5},
      {"3x3 of two by two", ShapeOf(2, 2, 17, 31), 13},
      {"3x3 of one pixel", ShapeOf(1, 1, 5, 7), 9},
      {"3x3 of one channel", ShapeOf(12, 13, 1, 15)},
      {"5x3 of four channels, 300 out", ShapeOf(6, 7, 4, 300, {5, 3, 2, 1, 2, 0, 2, 1})},
      {"3x3, one channel out", ShapeOf(6, 5, 19, 1)},
      {"3x3, many channels", ShapeOf(4, 5, 300, 18)},
      {"3x3, stride 2", ShapeOf(11, 17, 24, 17, Kernel(3, 2, 1))},
      {"3x3, stride 2, even", ShapeOf(6, 16, 130, 34, Kernel(3, 2, 1))},
      {"3x3, stride 3, no padding", ShapeOf(10, 18, 3, 5, Kernel(3, 3, 0))},
      {"3x3, dilation 2", ShapeOf(9, 12, 8, 11, Kernel(3, 1, 2, 2))},
      {"3x3, stride 2, dilation 2", ShapeOf(11, 13, 6, 9, Kernel(3, 2, 2, 2))},
      {"3x3, stride 2, dilation 3", ShapeOf(13, 16, 6, 9, Kernel(3, 2, 3, 3))},
      {"3x3, stride 6, dilation 4", ShapeOf(19, 22, 4, 5, Kernel(3, 6, 4, 4))},
      {"3x3, padding beyond the kernel", ShapeOf(3, 4, 6, 10, Kernel(3, 1, 5))},
      {"2x2, stride 3: pixels that nothing reads", ShapeOf(8, 9, 7, 5, Kernel(2, 3, 0))},
      {"5x5", ShapeOf(8, 19, 12, 16, Kernel(5, 1, 2))},
      {"5x5 of a picture smaller than it", ShapeOf(2, 3, 12, 16, Kernel(5, 1, 4))},
      {"7x7, stride 2", ShapeOf(20, 29, 3, 40, Kernel(7, 2, 3))},
      {"1x1", ShapeOf(6, 7, 70, 50, Kernel(1, 1, 0))},
      {"1x1, many channels", ShapeOf(3, 5, 530, 20, Kernel(1, 1, 0)), 3},
      {"1x1, stride 2", ShapeOf(7, 8, 20, 33, Kernel(1, 2, 0))},
      {"1x1, padding", ShapeOf(4, 3, 5, 6, Kernel(1, 1, 1))},
      {"a signal", ShapeOf(1, 40, 6, 20, {1, 5, 1, 2, 0, 2})},
      {"a column", ShapeOf(40, 1, 6, 20, {5, 1, 3, 1, 2, 0, 2})},
      {"uneven", ShapeOf(9, 10, 8, 6, {2, 4, 1, 3, 0, 2, 3, 1})},
      {"groups", ShapeOf(6, 9, 12, 20, Kernel(3, 1, 1, 1, 4))},
      {"groups of 17, stride 2", ShapeOf(7, 6, 34, 34, Kernel(3, 2, 1, 1, 2))},
      {"depthwise", ShapeOf(5, 8, 6, 12, Kernel(3, 1, 1, 1, 6))},
      {"an empty batch", ShapeOf(5, 8, 6, 12), 0},
      {"many tiles", ShapeOf(10, 48, 16, 64)},
  };
  return cases;
}

std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("conv"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

struct Operands {
  std::vector<float> from, w, old, add, scale, bias;
};
Operands OperandsOf(const Case& c, Way way) {
  const ConvShape& s = c.shape;
  const bool forward = way == Way::kForward;
  const int64_t to = c.to_rows(way) * (forward ? s.out_c : s.in_c);
  const int64_t from =
      c.to_rows(forward ? Way::kDataGradient : Way::kForward) * (forward ? s.in_c : s.out_c);
  const int64_t channels = forward ? s.out_c : s.in_c;
  return {RandomFloats(from, 1), RandomFloats(s.weights(), 2), RandomFloats(to, 3),
          RandomFloats(to, 4),   RandomFloats(channels, 5),    RandomFloats(channels, 6)};
}

struct Extras {
  bool accumulate = false, scale = false, bias = false, add = false, relu = false;
  std::vector<int64_t> row_grid = {};
};

std::vector<float> Solve(const Case& c, Way way, const Operands& operands, int threads,
                         const Extras& extras = {}, std::optional<ops::BlockFinished> finished = {},
                         float* to = nullptr) {
  Context ctx({.threads = threads});
  const bool forward = way == Way::kForward;
  std::vector<float> packed(static_cast<size_t>(forward ? ops::PackedForwardFloats(c.shape)
                                                        : ops::PackedDataGradientFloats(c.shape)),
                            kNan);
  (forward ? ops::PackForward : ops::PackDataGradient)(ctx, c.shape, operands.w.data(),
                                                       packed.data());
  std::vector<float> scratch(
      static_cast<size_t>((forward ? ops::ConvForwardScratch : ops::ConvDataGradientScratch)(
          threads, c.shape, c.batch)),
      kNan);
  std::vector<float> result(operands.old.size(), kNan);
  if (extras.accumulate) result = operands.old;
  if (to != nullptr && extras.accumulate) std::copy(result.begin(), result.end(), to);
  const ops::ConvArgs args{
      .batch = c.batch,
      .from = operands.from.data(),
      .packed = packed.data(),
      .to = to == nullptr ? result.data() : to,
      .accumulate = extras.accumulate,
      .epilogue = {.scale = extras.scale ? operands.scale.data() : nullptr,
                   .bias = extras.bias ? operands.bias.data() : nullptr,
                   .add = extras.add ? operands.add.data() : nullptr,
                   .add_stride = forward ? c.shape.out_c : c.shape.in_c,
                   .activation = extras.relu ? Activation::kRelu : Activation::kNone},
      .row_grid = extras.row_grid,
      .finished = finished};
  (forward ? ops::ConvForward : ops::ConvDataGradient)(ctx, c.shape, args, scratch);
  return result;
}

std::vector<double> Reference(const Case& c, Way way, const std::vector<float>& from,
                              const std::vector<float>& w, bool absolute) {
  const auto widen = [&](const std::vector<float>& values) {
    std::vector<double> wide(values.begin(), values.end());
    if (absolute) {
      for (double& v : wide) v = std::abs(v);
    }
    return wide;
  };
  const std::vector<double> wide_from = widen(from), wide_w = widen(w);
  return way == Way::kForward
             ? reference::ConvForward(c.shape, c.batch, wide_from.data(), wide_w.data())
             : reference::ConvDataGradient(c.shape, c.batch, wide_from.data(), wide_w.data());
}

class ConvTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ConvTest);

// A chain of n multiply-adds errs by at most n u sum|a b|, u = 2^-24 (2u where the target rounds
// products first); a level of the tree by u of it once more. The parts of the epilogue add one
// rounding each of what they yield.
TEST_P(ConvTest, AgreesWithTheReferenceInDouble) {
  constexpr double u = 0x1p-24;
  for (const Case& c : Cases()) {
    for (const Way way : {Way::kForward, Way::kDataGradient}) {
      SCOPED_TRACE(testing::Message() << c.name << (way == Way::kForward ? "" : ", gradient"));
      const Operands operands = OperandsOf(c, way);
      const std::vector<double> sums = Reference(c, way, operands.from, operands.w, false);
      const std::vector<double> sizes = Reference(c, way, operands.from, operands.w, true);
      const size_t channels = operands.bias.size();
      for (const Extras& extras :
           {Extras{}, Extras{.accumulate = true}, Extras{.bias = true, .relu = true},
            Extras{.accumulate = true, .scale = true, .bias = true, .add = true, .relu = true}}) {
        const std::vector<float> got = Solve(c, way, operands, 2, extras);
        for (size_t i = 0; i < got.size(); ++i) {
          double want = sums[i], size = sizes[i];
          if (extras.accumulate) want += operands.old[i], size += std::abs(operands.old[i]);
          if (extras.scale) {
            want *= operands.scale[i % channels];
            size *= std::abs(operands.scale[i % channels]);
          }
          if (extras.bias) {
            want += operands.bias[i % channels];
            size += std::abs(operands.bias[i % channels]);
          }
          if (extras.add) want += operands.add[i], size += std::abs(operands.add[i]);
          if (extras.relu) want = std::max(want, 0.0);
          ASSERT_TRUE(std::abs(got[i] - want) <= 2 * (256 + 16) * u * size)
              << "at " << i << ": " << got[i] << " for " << want;
        }
      }
    }
  }
}

TEST_P(ConvTest, HasTheSameBitsForAnyNumberOfThreads) {
  for (const Case& c : Cases()) {
    for (const Way way : {Way::kForward, Way::kDataGradient}) {
      SCOPED_TRACE(testing::Message() << c.name << (way == Way::kForward ? "" : ", gradient"));
      const Operands operands = OperandsOf(c, way);
      const Extras extras{.accumulate = true, .scale = true, .bias = true, .add = true};
      const std::vector<float> one = Solve(c, way, operands, 1, extras);
      for (const int threads : {2, 3, 8}) {
        const std::vector<float> many = Solve(c, way, operands, threads, extras);
        EXPECT_TRUE(SameBits(one, many)) << threads;
      }
    }
  }
}

TEST_P(ConvTest, ASampleHasTheSameBitsInAnyBatch) {
  for (const Case& c : Cases()) {
    for (const Way way : {Way::kForward, Way::kDataGradient}) {
      SCOPED_TRACE(testing::Message() << c.name << (way == Way::kForward ? "" : ", gradient"));
      const Operands operands = OperandsOf(c, way);
      const std::vector<float> all = Solve(c, way, operands, 2);
      for (int64_t b = 0; b < c.batch; ++b) {
        Case one = c;
        one.batch = 1;
        Operands part = operands;
        const auto slice = [&](const std::vector<float>& values) {
          const auto size = static_cast<int64_t>(values.size()) / c.batch;
          return std::vector<float>(values.begin() + b * size, values.begin() + (b + 1) * size);
        };
        part.from = slice(operands.from);
        part.old = slice(operands.old);
        EXPECT_EQ(Solve(one, way, part, 1), slice(all)) << b;
      }
    }
  }
}

// The sum of one element, chain by chain and as a tree; terms[chain] holds its multiply-adds.
struct Terms {
  std::vector<std::vector<std::array<float, 2>>> chains;

  float Chain(size_t i) const {
    float sum = 0.0f;
    for (const auto& [a, b] : chains[i]) sum = std::fma(a, b, sum);
    return sum;
  }
  float Tree(size_t lo, size_t hi) const {
    if (hi - lo == 1) return Chain(lo);
    const size_t mid = lo + std::bit_floor(hi - lo - 1);
    return Tree(lo, mid) + Tree(mid, hi);
  }
};

TEST_P(ConvTest, AddsInTheOrderOfItsContract) {
  for (const Case& c : Cases()) {
    for (const Way way : {Way::kForward, Way::kDataGradient}) {
      SCOPED_TRACE(testing::Message() << c.name << (way == Way::kForward ? "" : ", gradient"));
      const ConvShape& s = c.shape;
      const bool forward = way == Way::kForward;
      const Operands operands = OperandsOf(c, way);
      const std::vector<float> got = Solve(c, way, operands, 2);
      if ((hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX2 | HWY_NEON)) == 0) {
        GTEST_SKIP() << "this target rounds products before it adds them";
      }
      if (c.batch == 0) continue;
      const int64_t taps = s.kernel_h * s.kernel_w;
      const int64_t channels = forward ? s.group_in() : s.group_out();
      const int64_t parts = (channels + 255) / 256;
      // Into few channels each tap has chains of its own, and taps add up line by line, those that
      // read further left first.
      const bool few = !forward && ops::UsesFewChannels(s);
      const int64_t of_taps =
          parts > 1 || few ? taps : (taps + 256 / channels - 1) / (256 / channels);
      std::vector<Terms> terms(got.size() / static_cast<size_t>(c.batch));
      for (Terms& t : terms) t.chains.resize(static_cast<size_t>(of_taps * parts));
      // Terms come in ascending order of (kh, kw, i), for the gradient of (o, kh, kw): its taps
      // are sorted by going through them once each.
      for (int64_t tap = 0; tap < (forward ? 1 : taps); ++tap) {
        reference::ForEachConvTerm(s, [&](int64_t at_x, int64_t at_y, int64_t at_w) {
          const int64_t of = at_w / s.group_in() % taps;
          if (!forward && of != tap) return;
          const int64_t channel =
              forward ? at_w % s.group_in() : at_w / s.group_in() / taps % s.group_out();
          int64_t chain = 0;
          if (parts > 1) {
            while ((chain + 1) * channels / parts <= channel) ++chain;
            chain += of * parts;
          } else {
            while ((chain + 1) * taps / of_taps <= of) ++chain;
          }
          terms[static_cast<size_t>(forward ? at_y : at_x)]
              .chains[static_cast<size_t>(chain)]
              .push_back({operands.from[static_cast<size_t>(forward ? at_x : at_y)],
                          operands.w[static_cast<size_t>(at_w)]});
        });
      }
      for (size_t i = 0; i < terms.size(); i += 3) {
        const Terms& t = terms[i];
        float want = 0.0f;
        if (few) {
          for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
            for (int64_t kw = s.kernel_w; kw-- > 0;) {
              const auto tap = static_cast<size_t>((kh * s.kernel_w + kw) * parts);
              if (!t.chains[tap].empty()) want += t.Tree(tap, tap + static_cast<size_t>(parts));
            }
          }
        } else {
          want = t.Tree(0, t.chains.size());
        }
        ASSERT_EQ(got[i], want) << i;
      }
    }
  }
}

// What lies in the padding is not multiplied: a weight that is infinite leaves a pixel finite if
// the pixel does not read through it.
TEST_P(ConvTest, SkipsTapsOutsideThePicture) {
  for (const Case& c : Cases()) {
    for (const Way way : {Way::kForward, Way::kDataGradient}) {
      SCOPED_TRACE(testing::Message() << c.name << (way == Way::kForward ? "" : ", gradient"));
      Operands operands = OperandsOf(c, way);
      const ConvShape& s = c.shape;
      const int64_t taps = s.kernel_h * s.kernel_w;
      const auto poisoned = static_cast<size_t>((taps - 1) * s.group_in());  // the last tap
      operands.w[poisoned] = std::numeric_limits<float>::infinity();
      const std::vector<double> want = Reference(c, way, operands.from, operands.w, false);
      const std::vector<float> got = Solve(c, way, operands, 1);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(std::isfinite(got[i]), std::isfinite(want[i])) << i;
      }
    }
  }
}

TEST_P(ConvTest, HandsOverFinishedElementsOnceInWholeCellsOfTheGrid) {
  for (const Case& c : Cases()) {
    for (const Way way : {Way::kForward, Way::kDataGradient}) {
      const Operands operands = OperandsOf(c, way);
      const std::vector<float> want = Solve(c, way, operands, 1);
      const bool forward = way == Way::kForward;
      const int64_t line = forward ? c.shape.out_w : c.shape.in_w;
      const int64_t channels = forward ? c.shape.out_c : c.shape.in_c;
      const int64_t rows = c.to_rows(way);
      std::vector<int64_t> grid;
      for (int64_t row = 0; row < rows; row += 3 * line) grid.push_back(row);
      grid.push_back(rows);
      for (const bool gridded : {false, true}) {
        for (const int threads : {1, 8}) {
          SCOPED_TRACE(testing::Message()
                       << c.name << (forward ? "" : ", gradient") << " on " << threads);
          std::mutex mutex;
          std::vector<int> times(static_cast<size_t>(rows * channels));
          std::vector<float> to(want.size(), kNan);
          int64_t wrong = 0;
          const auto collect = [&](int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
            const std::lock_guard lock(mutex);
            wrong += c0 % 16;
            if (gridded) {
              const auto cell = std::find(grid.begin(), grid.end(), r0);
              if (cell == grid.end() || *(cell + 1) != r1) ++wrong;
            }
            for (int64_t i = r0; i < r1; ++i) {
              for (int64_t j = c0; j < c1; ++j) {
                const auto at = static_cast<size_t>(i * channels + j);
                ++times[at];
                if (!(to[at] == want[at])) ++wrong;
              }
            }
          };
          Extras extras;
          if (gridded) extras.row_grid = grid;
          Solve(c, way, operands, threads, extras, ops::BlockFinished(collect), to.data());
          EXPECT_EQ(wrong, 0);
          EXPECT_EQ(std::count(times.begin(), times.end(), 1), rows * channels);
        }
      }
    }
  }
}

TEST(ConvScratchTest, RefusesTooLittle) {
  Context ctx({.threads = 1});
  const ConvShape shape = ShapeOf(4, 4, 8, 8);
  const std::vector<float> x(4 * 4 * 8);
  std::vector<float> packed(static_cast<size_t>(ops::PackedForwardFloats(shape)));
  std::vector<float> y(4 * 4 * 8), scratch(1);
  EXPECT_THROW(
      ops::ConvForward(ctx, shape,
                       {.batch = 1, .from = x.data(), .packed = packed.data(), .to = y.data()},
                       scratch),
      CheckFailure);
}

// The targets that fuse multiply-adds agree among themselves.
TEST(ConvTargetsTest, GiveTheSameBits) {
  std::vector<std::vector<float>> first;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if ((target & (HWY_AVX3 | HWY_AVX2 | HWY_NEON)) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    std::vector<std::vector<float>> all;
    for (const Case& c : Cases()) {
      for (const Way way : {Way::kForward, Way::kDataGradient}) {
        all.push_back(Solve(c, way, OperandsOf(c, way), 1));
      }
    }
    hwy::SetSupportedTargetsForTest(0);
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_TRUE(SameBits(first[i], all[i]))
          << Cases()[i / 2].name << " on " << hwy::TargetName(target);
    }
  }
}

}  // namespace
}  // namespace lockstep
