// Which convolutions the functions of engine/ops/conv.h hand to Winograd's algorithm, that what
// they give is then still the convolution, and that what is booked for a batch is enough for
// smaller ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/ops/conv.h"
#include "engine/ops/winograd.h"
#include "tests/engine/ops/same_bits.h"
#include "tests/reference/conv.h"

namespace lockstep::inline v0_1 {
namespace {

using ops::ConvAlgorithm;
using ops::ConvShape;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr ConvAlgorithm kFast[] = {ConvAlgorithm::kWinograd2, ConvAlgorithm::kWinograd4};

ConvShape ShapeOf(int64_t h, int64_t w, int64_t in, int64_t out,
                  ConvAlgorithm algorithm = ConvAlgorithm::kDirect, int64_t pad = 1) {
  return {.in_h = h,
          .in_w = w,
          .in_c = in,
          .out_h = h + 2 * pad - 2,
          .out_w = w + 2 * pad - 2,
          .out_c = out,
          .kernel_h = 3,
          .kernel_w = 3,
          .pad_top = pad,
          .pad_left = pad,
          .algorithm = algorithm};
}
ConvShape By(ConvAlgorithm algorithm, ConvShape shape) {
  shape.algorithm = algorithm;
  return shape;
}

std::vector<float> RandomFloats(int64_t count, uint64_t seed) {
  Random random(seed, StreamOf("conv algorithm"));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(random.Normal());
  return values;
}
std::vector<float> Poisoned(int64_t count) {
  return std::vector<float>(static_cast<size_t>(count), kNan);
}

struct Data {
  std::vector<float> x, dy, w;
};
Data DataOf(const ConvShape& s, int64_t batch) {
  return {RandomFloats(batch * s.in_h * s.in_w * s.in_c, 1),
          RandomFloats(batch * s.out_h * s.out_w * s.out_c, 2), RandomFloats(s.weights(), 3)};
}

// y, dx and dw, with the scratch of a batch of `booked` samples.
struct Results {
  std::vector<float> y, dx, dw;
};
Results Solve(const ConvShape& s, int64_t batch, const Data& data, int threads, int64_t booked = 0,
              std::span<const int64_t> segments = {}) {
  booked = std::max(booked, batch);
  Context ctx({.threads = threads});
  Results r{Poisoned(static_cast<int64_t>(data.dy.size())),
            Poisoned(static_cast<int64_t>(data.x.size())), Poisoned(s.weights())};
  std::vector<float> packed = Poisoned(ops::PackedForwardFloats(s));
  std::vector<float> scratch = Poisoned(ops::ConvForwardScratch(threads, s, booked));
  ops::PackForward(ctx, s, data.w.data(), packed.data());
  ops::ConvForward(
      ctx, s, {.batch = batch, .from = data.x.data(), .packed = packed.data(), .to = r.y.data()},
      scratch);
  packed = Poisoned(ops::PackedDataGradientFloats(s));
  scratch = Poisoned(ops::ConvDataGradientScratch(threads, s, booked));
  ops::PackDataGradient(ctx, s, data.w.data(), packed.data());
  ops::ConvDataGradient(
      ctx, s, {.batch = batch, .from = data.dy.data(), .packed = packed.data(), .to = r.dx.data()},
      scratch);
  const auto shards = std::max<int64_t>(1, static_cast<int64_t>(segments.size()) - 1);
  scratch = Poisoned(ops::ConvWeightGradientScratch(threads, s, booked, shards));
  ops::ConvWeightGradient(ctx, s,
                          {.batch = batch,
                           .x = data.x.data(),
                           .dy = data.dy.data(),
                           .dw = r.dw.data(),
                           .segments = segments},
                          scratch);
  return r;
}

using lockstep::SameBits;
bool SameBits(const Results& a, const Results& b) {
  return SameBits(a.y, b.y) && SameBits(a.dx, b.dx) && SameBits(a.dw, b.dw);
}

const ConvShape kShapes[] = {ShapeOf(8, 16, 32, 64), ShapeOf(7, 13, 48, 32), ShapeOf(4, 4, 32, 32),
                             ShapeOf(6, 9, 32, 48, ConvAlgorithm::kDirect, 0),
                             ShapeOf(6, 7, 288, 32)};

// The bits are those of the functions that winograd.h declares.
TEST(ConvAlgorithmTest, WinogradIsUsedWhereItMayBeAndPays) {
  for (const ConvShape& direct : kShapes) {
    constexpr int64_t kBatch = 2;
    const Data data = DataOf(direct, kBatch);
    const Results by_sums = Solve(direct, kBatch, data, 2);
    for (const ConvAlgorithm algorithm : kFast) {
      const ConvShape s = By(algorithm, direct);
      const Results got = Solve(s, kBatch, data, 2);
      EXPECT_FALSE(SameBits(got.y, by_sums.y));
      EXPECT_FALSE(SameBits(got.dx, by_sums.dx));
      EXPECT_FALSE(SameBits(got.dw, by_sums.dw));

      Context ctx({.threads = 1});
      for (const bool gradient : {false, true}) {
        std::vector<float> packed = Poisoned(ops::WinogradPackedFloats(s, gradient));
        std::vector<float> scratch = Poisoned(ops::WinogradScratch(1, s, gradient));
        std::vector<float> to = Poisoned(static_cast<int64_t>((gradient ? got.dx : got.y).size()));
        ops::WinogradPack(ctx, s, gradient, data.w.data(), packed.data());
        ops::WinogradConv(ctx, s, gradient,
                          {.batch = kBatch,
                           .from = gradient ? data.dy.data() : data.x.data(),
                           .packed = packed.data(),
                           .to = to.data()},
                          scratch);
        EXPECT_TRUE(SameBits(to, gradient ? got.dx : got.y));
      }
      std::vector<float> scratch =
          Poisoned(ops::WinogradWeightGradientScratch(1, s, kBatch, /*segments=*/1));
      std::vector<float> dw = Poisoned(s.weights());
      ops::WinogradWeightGradient(
          ctx, s, {.batch = kBatch, .x = data.x.data(), .dy = data.dy.data(), .dw = dw.data()},
          scratch);
      EXPECT_TRUE(SameBits(dw, got.dw));
    }
  }
}

TEST(ConvAlgorithmTest, EverythingElseIsSummedDirectly) {
  std::vector<ConvShape> shapes = {
      ShapeOf(8, 8, 16, 64), ShapeOf(8, 8, 64, 16), ShapeOf(8, 8, 40, 32), ShapeOf(8, 8, 32, 33),
      ShapeOf(3, 8, 32, 32), ShapeOf(8, 3, 32, 32), ShapeOf(5, 6, 288, 32)};
  ConvShape stride = ShapeOf(9, 9, 32, 32), dilated = stride, groups = stride, column = stride;
  stride.stride_h = stride.stride_w = 2, stride.out_h = stride.out_w = 5;
  dilated.dilation_h = dilated.dilation_w = 2, dilated.out_h = dilated.out_w = 7;
  groups.groups = 2;
  column.kernel_w = 1, column.pad_left = 0;
  shapes.insert(shapes.end(), {stride, dilated, groups, column});
  for (const ConvShape& direct : shapes) {
    const Data data = DataOf(direct, 2);
    const Results want = Solve(direct, 2, data, 1);
    for (const ConvAlgorithm algorithm : kFast)
      EXPECT_TRUE(SameBits(Solve(By(algorithm, direct), 2, data, 2), want));
  }
}

// A bound as winograd_test.cc derives it: eps / 2 times 5 sqrt(terms), times the gain of the
// transforms, 9 and 100.
TEST(ConvAlgorithmTest, WhateverTheAlgorithmItIsTheConvolution) {
  constexpr int64_t kBatch = 3;
  for (const ConvShape& direct : kShapes) {
    const Data data = DataOf(direct, kBatch);
    const std::vector<double> x(data.x.begin(), data.x.end()), dy(data.dy.begin(), data.dy.end()),
        w(data.w.begin(), data.w.end());
    const std::vector<double> y = reference::ConvForward(direct, kBatch, x.data(), w.data());
    const std::vector<double> dx = reference::ConvDataGradient(direct, kBatch, dy.data(), w.data());
    const std::vector<double> dw =
        reference::ConvWeightGradient(direct, 0, kBatch, x.data(), dy.data());
    for (const ConvAlgorithm algorithm : kFast) {
      const double gain = algorithm == ConvAlgorithm::kWinograd4 ? 100.0 : 9.0;
      const auto expect = [&](const std::vector<float>& got, const std::vector<double>& want,
                              int64_t terms) {
        const double bound = gain * 6e-8 * 5.0 * std::sqrt(static_cast<double>(terms));
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < got.size(); ++i)
          ASSERT_TRUE(std::abs(got[i] - want[i]) <= bound) << i << ": " << got[i] - want[i];
      };
      const Results got = Solve(By(algorithm, direct), kBatch, data, 2);
      expect(got.y, y, 9 * direct.in_c);
      expect(got.dx, dx, 9 * direct.out_c);
      expect(got.dw, dw, kBatch * direct.out_h * direct.out_w);
    }
  }
}

TEST(ConvAlgorithmTest, ThreadsChangeNoBit) {
  constexpr int64_t kSegments[] = {0, 1, 1, 4, 5};
  for (const ConvShape& direct : kShapes) {
    const Data data = DataOf(direct, 5);
    for (const ConvAlgorithm algorithm : kFast) {
      const ConvShape s = By(algorithm, direct);
      const Results one = Solve(s, 5, data, 1, 0, kSegments);
      for (const int threads : {2, 3, 8})
        EXPECT_TRUE(SameBits(Solve(s, 5, data, threads, 0, kSegments), one)) << threads;
    }
  }
}

// A smaller batch is not cut as a larger one is: it can be more pieces of fewer chains. The picture
// is one chain of tiles a sample, 17 of which are fewer pieces than 16.
TEST(ConvAlgorithmTest, WhatIsBookedIsEnoughForAnySmallerBatch) {
  const ConvShape shapes[] = {ShapeOf(16, 16, 32, 32), ShapeOf(16, 16, 32, 32, kFast[0]),
                              ShapeOf(32, 32, 32, 32, kFast[1])};
  for (const ConvShape& s : shapes) {
    const int64_t booked = s.in_h == 16 ? 34 : 17;
    const Data all = DataOf(s, booked);
    for (const int64_t batch :
         {int64_t{0}, int64_t{1}, int64_t{15}, int64_t{16}, booked - 2, booked - 1, booked}) {
      if (batch > booked) continue;
      const int64_t from = batch * s.in_h * s.in_w * s.in_c,
                    to = batch * s.out_h * s.out_w * s.out_c;
      const Data data{
          {all.x.begin(), all.x.begin() + from}, {all.dy.begin(), all.dy.begin() + to}, all.w};
      const std::vector<int64_t> halves = {0, batch / 2, batch};
      for (const int threads : {1, 2}) {
        EXPECT_TRUE(SameBits(Solve(s, batch, data, threads, booked), Solve(s, batch, data, 1)));
        EXPECT_TRUE(SameBits(Solve(s, batch, data, threads, booked, halves),
                             Solve(s, batch, data, 1, 0, halves)));
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
