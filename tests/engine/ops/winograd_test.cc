#include "engine/ops/winograd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/kernels/targets.h"
#include "engine/parallel/shards.h"
#include "tests/engine/ops/same_bits.h"
#include "tests/reference/conv.h"
//
#include <hwy/highway.h>
#include <hwy/tests/test_util-inl.h>

namespace lockstep::inline v0_1 {
namespace {

using ops::ConvAlgorithm;
using ops::ConvShape;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::string name;
  ConvShape shape;
  int64_t batch = 2;
};

ConvShape ShapeOf(int64_t h, int64_t w, int64_t in, int64_t out, int64_t pad = 1) {
  return {.in_h = h,
          .in_w = w,
          .in_c = in,
          .out_h = h + 2 * pad - 2,
          .out_w = w + 2 * pad - 2,
          .out_c = out,
          .kernel_h = 3,
          .kernel_w = 3,
          .pad_top = pad,
          .pad_left = pad};
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {
      {"whole tiles", ShapeOf(8, 16, 16, 32)},
      {"odd extents", ShapeOf(7, 13, 48, 16), 3},
      {"one pixel", ShapeOf(1, 1, 16, 16), 5},
      {"a line", ShapeOf(1, 30, 32, 16)},
      {"no padding", ShapeOf(9, 6, 16, 48, 0)},
      {"padding 2", ShapeOf(5, 6, 16, 16, 2)},
      {"channels of two chains", ShapeOf(4, 5, 288, 16)},
      {"several blocks of channels", ShapeOf(6, 6, 80, 144)},
      {"a wide line", ShapeOf(3, 131, 16, 16)},
      {"no samples", ShapeOf(5, 5, 16, 16), 0},
  };
  const size_t count = cases.size();
  for (size_t i = 0; i < count; ++i) {
    cases[i].shape.algorithm = ConvAlgorithm::kWinograd2;
    Case four = cases[i];
    four.name += ", F4";
    four.shape.algorithm = ConvAlgorithm::kWinograd4;
    cases.push_back(four);
  }
  return cases;
}

std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("winograd"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}

int64_t FromSize(const Case& c, bool gradient) {
  const ConvShape& s = c.shape;
  return c.batch * (gradient ? s.out_h * s.out_w * s.out_c : s.in_h * s.in_w * s.in_c);
}
int64_t ToSize(const Case& c, bool gradient) { return FromSize(c, !gradient); }

struct Extras {
  bool accumulate = false;
  kernels::Epilogue epilogue{};
  std::vector<int64_t> row_grid{};
  std::optional<ops::BlockFinished> finished{};
};

std::vector<float> Solve(const Case& c, bool gradient, const std::vector<float>& from,
                         const std::vector<float>& w, int threads, const Extras& extras = {},
                         const std::vector<float>& old = {}) {
  Context ctx({.threads = threads});
  std::vector<float> packed(static_cast<size_t>(ops::WinogradPackedFloats(c.shape, gradient)),
                            kNan);
  ops::WinogradPack(ctx, c.shape, gradient, w.data(), packed.data());
  std::vector<float> scratch(static_cast<size_t>(ops::WinogradScratch(threads, c.shape, gradient)),
                             kNan);
  std::vector<float> to(static_cast<size_t>(ToSize(c, gradient)), kNan);
  if (!old.empty()) to = old;
  ops::ConvArgs args{.batch = c.batch,
                     .from = from.data(),
                     .packed = packed.data(),
                     .to = to.data(),
                     .accumulate = extras.accumulate,
                     .epilogue = extras.epilogue,
                     .row_grid = extras.row_grid};
  if (extras.finished) args.finished.emplace(*extras.finished);
  ops::WinogradConv(ctx, c.shape, gradient, args, scratch);
  return to;
}

std::vector<float> SolveWeights(const Case& c, const std::vector<float>& x,
                                const std::vector<float>& dy, int threads,
                                const std::vector<int64_t>& segments = {},
                                const std::vector<float>& old = {},
                                std::atomic<bool>* not_finite = nullptr) {
  Context ctx({.threads = threads});
  std::vector<float> dw(static_cast<size_t>(c.shape.weights()), kNan);
  if (!old.empty()) dw = old;
  const auto count = std::max<int64_t>(1, static_cast<int64_t>(segments.size()) - 1);
  std::vector<float> scratch(
      static_cast<size_t>(ops::WinogradWeightGradientScratch(threads, c.shape, c.batch, count)),
      kNan);
  ops::WinogradWeightGradient(ctx, c.shape,
                              {.batch = c.batch,
                               .x = x.data(),
                               .dy = dy.data(),
                               .dw = dw.data(),
                               .accumulate = !old.empty(),
                               .segments = segments,
                               .not_finite = not_finite},
                              scratch);
  return dw;
}

std::vector<double> Doubles(const std::vector<float>& v) { return {v.begin(), v.end()}; }

// Root of the mean squared difference, and the largest.
struct Errors {
  double mean = 0.0, most = 0.0;
};
Errors ErrorsOf(const std::vector<float>& got, const std::vector<double>& want) {
  Errors errors;
  EXPECT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want[i]);
    if (std::isnan(error)) return {kNan, kNan};
    errors.mean += error * error;
    errors.most = std::max(errors.most, error);
  }
  errors.mean = std::sqrt(errors.mean / static_cast<double>(std::max<size_t>(1, got.size())));
  return errors;
}

// What a sum of `terms` products of standard normal numbers loses at most, times what the
// transforms make of it. Rounding of each of the about sqrt(terms) large partial sums and of the
// transforms is eps / 2 of values that reach sqrt(terms) times the transforms' gain: the product of
// the absolute row sums of A^T, B^T and G in either direction, 9 for F(2x2, 3x3) and 100 for F(4x4,
// 3x3) bound what actually comes out, 2 to 3 and 20 to 30.
double Bound(const ConvShape& s, int64_t terms) {
  const double gain = s.algorithm == ConvAlgorithm::kWinograd4 ? 100.0 : 9.0;
  return gain * 6e-8 * 5.0 * std::sqrt(static_cast<double>(terms));
}

TEST(WinogradTest, ForwardAndDataGradientAreTheConvolution) {
  for (const Case& c : Cases()) {
    ASSERT_TRUE(ops::WinogradApplies(c.shape)) << c.name;
    for (const bool gradient : {false, true}) {
      const auto from = RandomFloats(FromSize(c, gradient), 1);
      const auto w = RandomFloats(c.shape.weights(), 2);
      const auto got = Solve(c, gradient, from, w, 2);
      const auto from64 = Doubles(from), w64 = Doubles(w);
      const auto want =
          gradient ? reference::ConvDataGradient(c.shape, c.batch, from64.data(), w64.data())
                   : reference::ConvForward(c.shape, c.batch, from64.data(), w64.data());
      const int64_t terms = 9 * (gradient ? c.shape.out_c : c.shape.in_c);
      const Errors errors = ErrorsOf(got, want);
      EXPECT_TRUE(errors.most <= Bound(c.shape, terms)) << c.name << " " << errors.most;
    }
  }
}

TEST(WinogradTest, WeightGradientIsTheConvolutions) {
  for (const Case& c : Cases()) {
    const auto x = RandomFloats(FromSize(c, false), 1), dy = RandomFloats(FromSize(c, true), 2);
    const auto got = SolveWeights(c, x, dy, 2);
    const auto x64 = Doubles(x), dy64 = Doubles(dy);
    const auto want = reference::ConvWeightGradient(c.shape, 0, c.batch, x64.data(), dy64.data());
    const int64_t terms = std::max<int64_t>(9, c.batch * c.shape.out_h * c.shape.out_w);
    const Errors errors = ErrorsOf(got, want);
    EXPECT_TRUE(errors.most <= Bound(c.shape, terms)) << c.name << " " << errors.most;
  }
}

// The figures that winograd.h states.
TEST(WinogradTest, LosesWhatItsHeaderSays) {
  Case c{"", ShapeOf(16, 16, 64, 64), 2};
  const auto from = RandomFloats(FromSize(c, false), 1), w = RandomFloats(c.shape.weights(), 2);
  const auto from64 = Doubles(from), w64 = Doubles(w);
  const auto want = reference::ConvForward(c.shape, c.batch, from64.data(), w64.data());
  Context ctx({.threads = 1});
  std::vector<float> packed(static_cast<size_t>(ops::PackedForwardFloats(c.shape)));
  std::vector<float> scratch(static_cast<size_t>(ops::ConvForwardScratch(1, c.shape, c.batch)));
  std::vector<float> y(want.size());
  ops::PackForward(ctx, c.shape, w.data(), packed.data());
  ops::ConvForward(ctx, c.shape,
                   {.batch = c.batch, .from = from.data(), .packed = packed.data(), .to = y.data()},
                   scratch);
  const double direct = ErrorsOf(y, want).mean;
  c.shape.algorithm = ConvAlgorithm::kWinograd2;
  const double two = ErrorsOf(Solve(c, false, from, w, 1), want).mean;
  c.shape.algorithm = ConvAlgorithm::kWinograd4;
  const double four = ErrorsOf(Solve(c, false, from, w, 1), want).mean;
  RecordProperty("F2", std::to_string(two / direct));
  RecordProperty("F4", std::to_string(four / direct));
  EXPECT_TRUE(two <= 1.5 * direct) << two / direct;
  EXPECT_TRUE(four <= 10.0 * direct) << four / direct;
}

TEST(WinogradTest, TheSameBitsForAnyNumberOfThreadsAndOnEveryTarget) {
  std::vector<std::string> targets;
  std::vector<std::vector<float>> first;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if (target == HWY_EMU128 || target == HWY_SCALAR) continue;  // no fused multiply-add
    hwy::SetSupportedTargetsForTest(target);
    std::vector<std::vector<float>> all;
    for (const int threads : {1, 2, 3, 8}) {
      size_t at = 0;
      for (const Case& c : Cases()) {
        const auto x = RandomFloats(FromSize(c, false), 1), dy = RandomFloats(FromSize(c, true), 2);
        const auto w = RandomFloats(c.shape.weights(), 3);
        for (const auto& result : {Solve(c, false, x, w, threads), Solve(c, true, dy, w, threads),
                                   SolveWeights(c, x, dy, threads)}) {
          if (threads == 1) {
            all.push_back(result);
          } else {
            EXPECT_TRUE(SameBits(result, all[at])) << c.name << ", threads " << threads;
          }
          ++at;
        }
      }
    }
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_TRUE(SameBits(all[i], first[i])) << i << " " << hwy::TargetName(target);
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(WinogradTest, ASampleHasTheBitsItHasAlone) {
  Case c{"", ShapeOf(7, 9, 32, 16), 5};
  for (const auto algorithm : {ConvAlgorithm::kWinograd2, ConvAlgorithm::kWinograd4}) {
    c.shape.algorithm = algorithm;
    c.batch = 5;
    const auto x = RandomFloats(FromSize(c, false), 1), w = RandomFloats(c.shape.weights(), 2);
    const auto all = Solve(c, false, x, w, 2);
    c.batch = 1;
    const int64_t in = FromSize(c, false), out = ToSize(c, false);
    for (int64_t b = 0; b < 5; ++b) {
      const auto alone = Solve(c, false, {x.begin() + b * in, x.begin() + (b + 1) * in}, w, 1);
      EXPECT_TRUE(SameBits(alone, {all.begin() + b * out, all.begin() + (b + 1) * out})) << b;
    }
  }
}

TEST(WinogradTest, TheEpilogueFinishesWhatTheSumsBegan) {
  for (const Case& c : Cases()) {
    const auto x = RandomFloats(FromSize(c, false), 1), w = RandomFloats(c.shape.weights(), 2);
    const auto old = RandomFloats(ToSize(c, false), 3), add = RandomFloats(ToSize(c, false), 4);
    const auto scale = RandomFloats(c.shape.out_c, 5), bias = RandomFloats(c.shape.out_c, 6);
    const auto plain = Solve(c, false, x, w, 2);
    Extras extras{.accumulate = true,
                  .epilogue = {.scale = scale.data(),
                               .bias = bias.data(),
                               .add = add.data(),
                               .add_stride = c.shape.out_c,
                               .activation = kernels::Activation::kRelu}};
    const auto got = Solve(c, false, x, w, 2, extras, old);
    for (size_t i = 0; i < got.size(); ++i) {
      const size_t o = i % static_cast<size_t>(c.shape.out_c);
      const float v = std::fma(scale[o], old[i] + plain[i], bias[o]) + add[i];
      ASSERT_EQ(got[i], v <= 0.0f ? 0.0f : v) << c.name;
    }
  }
}

TEST(WinogradTest, EveryCellIsReportedOnceAndFinished) {
  for (const auto algorithm : {ConvAlgorithm::kWinograd2, ConvAlgorithm::kWinograd4}) {
    Case c{"", ShapeOf(7, 10, 16, 80), 3};
    c.shape.algorithm = algorithm;
    const auto x = RandomFloats(FromSize(c, false), 1), w = RandomFloats(c.shape.weights(), 2);
    const auto plain = Solve(c, false, x, w, 1);
    Extras extras;
    for (int64_t line = 0; line < 21; line += 3) extras.row_grid.push_back(line * 10);
    extras.row_grid.push_back(210);
    std::mutex mutex;
    std::vector<int> seen(210 * 80);
    const auto finished = [&](int64_t row, int64_t row_end, int64_t column, int64_t column_end) {
      const std::lock_guard lock(mutex);
      EXPECT_TRUE(std::count(extras.row_grid.begin(), extras.row_grid.end(), row) == 1);
      EXPECT_EQ(row_end - row, 30);
      for (int64_t r = row; r < row_end; ++r) {
        for (int64_t o = column; o < column_end; ++o) ++seen[static_cast<size_t>(r * 80 + o)];
      }
    };
    extras.finished.emplace(finished);
    EXPECT_TRUE(SameBits(Solve(c, false, x, w, 8, extras), plain));
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), 210 * 80);
  }
}

// Shards are rounded to float one by one and merge by the tree: so ranks get the bits of one
// process.
TEST(WinogradTest, ShardsMergeAsATreeAndAreAddedToOldGradients) {
  for (const auto algorithm : {ConvAlgorithm::kWinograd2, ConvAlgorithm::kWinograd4}) {
    Case c{"", ShapeOf(9, 9, 16, 32), 7};
    c.shape.algorithm = algorithm;
    const auto x = RandomFloats(FromSize(c, false), 1), dy = RandomFloats(FromSize(c, true), 2);
    const int64_t in = 81 * 16, out = 81 * 32;
    const std::vector<int64_t> segments = {0, 2, 2, 5, 6, 7};
    std::vector<std::vector<float>> shards;
    for (size_t s = 0; s + 1 < segments.size(); ++s) {
      Case one = c;
      one.batch = segments[s + 1] - segments[s];
      shards.push_back(SolveWeights(one, {x.begin() + segments[s] * in, x.end()},
                                    {dy.begin() + segments[s] * out, dy.end()}, 2));
    }
    MergeTree(0, 5, [&](int64_t into, int64_t from) {
      for (size_t i = 0; i < shards[0].size(); ++i)
        shards[static_cast<size_t>(into)][i] += shards[static_cast<size_t>(from)][i];
    });
    EXPECT_TRUE(SameBits(SolveWeights(c, x, dy, 3, segments), shards[0]));
    auto old = RandomFloats(c.shape.weights(), 9);
    const auto added = SolveWeights(c, x, dy, 3, segments, old);
    for (size_t i = 0; i < old.size(); ++i) old[i] += shards[0][i];
    EXPECT_TRUE(SameBits(added, old));
  }
}

// A step of fewer samples, and shards of a batch, may be cut into more pieces than the whole batch.
TEST(WinogradTest, ScratchForABatchIsEnoughForFewer) {
  for (const auto algorithm : {ConvAlgorithm::kWinograd2, ConvAlgorithm::kWinograd4}) {
    ConvShape shape = ShapeOf(8, 8, 16, 16);
    shape.algorithm = algorithm;
    for (const int threads : {1, 8}) {
      int64_t most = 0;
      for (int64_t batch = 0; batch < 600; ++batch) {
        const int64_t floats = ops::WinogradWeightGradientScratch(threads, shape, batch, 1);
        EXPECT_GE(floats, most) << batch << ", threads " << threads;
        most = std::max(most, floats);
      }
    }
    // 16 chunks are 16 pieces, 17 are 9.
    const int64_t chunk = algorithm == ConvAlgorithm::kWinograd2 ? 4 : 16;  // samples
    Case c{"", shape, 16 * chunk};
    const auto x = RandomFloats(FromSize(c, false), 1), dy = RandomFloats(FromSize(c, true), 2);
    std::vector<float> dw(static_cast<size_t>(shape.weights()), kNan);
    std::vector<float> scratch(
        static_cast<size_t>(ops::WinogradWeightGradientScratch(1, shape, c.batch + chunk, 1)),
        kNan);
    Context ctx({.threads = 1});
    ops::WinogradWeightGradient(
        ctx, shape, {.batch = c.batch, .x = x.data(), .dy = dy.data(), .dw = dw.data()}, scratch);
    EXPECT_TRUE(SameBits(dw, SolveWeights(c, x, dy, 2)));
  }
}

TEST(WinogradTest, AGradientThatIsNotFiniteIsReported) {
  Case c{"", ShapeOf(6, 6, 16, 16), 2};
  c.shape.algorithm = ConvAlgorithm::kWinograd2;
  auto x = RandomFloats(FromSize(c, false), 1);
  const auto dy = RandomFloats(FromSize(c, true), 2);
  std::atomic<bool> found = false;
  SolveWeights(c, x, dy, 2, {}, {}, &found);
  EXPECT_FALSE(found);
  x[100] = std::numeric_limits<float>::infinity();
  SolveWeights(c, x, dy, 2, {}, {}, &found);
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace lockstep
