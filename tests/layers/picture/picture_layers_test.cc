// Pooling, resizing and padding as layers: against their definitions in double for random shapes,
// and what PyTorch does in the corners where others went wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "layers/picture/adaptive_pool.h"
#include "layers/picture/pad.h"
#include "layers/picture/pool.h"
#include "layers/picture/upsample.h"
#include "tests/layers/layer_runner.h"
#include "tests/reference/pool.h"

namespace lockstep::inline v0_1 {
namespace {

using reference::PixelMap;
using reference::PoolAxis;
using ::testing::HasSubstr;
using testing::LayerRunner;
using testing::Values;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class L>
std::unique_ptr<Layer> Own(L layer) {
  return std::make_unique<L>(std::move(layer));
}

struct Ran {
  std::vector<float> y, dx;
  Shape out;
};

template <class L>
Ran RunLayer(L layer, const std::vector<float>& x, const Shape& in, int threads = 1,
             std::vector<float> dy = {}) {
  LayerRunner runner(Own(std::move(layer)), in, {}, threads);
  EXPECT_TRUE(runner.status().ok()) << runner.status().message();
  if (!runner.status().ok()) return {};
  Ran ran;
  ran.out = runner.out();
  ran.y = runner.Forward(x, in);
  if (dy.empty()) dy = Values(2, runner.out().size());
  ran.dx = runner.Backward(x, in, dy);
  const std::vector<float> evaluated = runner.Forward(x, in, testing::Mode::kEvaluate);
  for (size_t i = 0; i < ran.y.size(); ++i)
    EXPECT_TRUE(evaluated[i] == ran.y[i] || (std::isnan(evaluated[i]) && std::isnan(ran.y[i])));
  return ran;
}

template <class L>
std::string ErrorOf(L layer, const Shape& in) {
  return LayerRunner(Own(std::move(layer)), in).status().message();
}

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed, 0) {}
  int64_t Below(int64_t n) {
    return static_cast<int64_t>(random_.Word() % static_cast<uint64_t>(n));
  }
  PoolAxis Axis(bool dilates) {
    const int64_t kernel = 1 + Below(4);
    return {.in = 5 + Below(8),
            .kernel = kernel,
            .stride = 1 + Below(3),
            .padding = Below(kernel / 2 + 1),
            .dilation = dilates ? 1 + Below(2) : 1,
            .ceil_mode = false};
  }

 private:
  Random random_;
};

// Values are below 1, weights sum up to `gain` at most; some ten roundings of each term, and the
// positions of linear weights are rounded once more.
void ExpectMap(const Ran& ran, const PixelMap& map, const std::vector<float>& x, int64_t batch,
               int64_t pixels, int64_t channels, double gain = 1.0) {
  const std::vector<float> dys = Values(2, static_cast<int64_t>(ran.y.size()));
  const auto out = static_cast<int64_t>(map.size()) * channels, in = pixels * channels;
  ASSERT_EQ(static_cast<int64_t>(ran.y.size()), batch * out);
  ASSERT_EQ(static_cast<int64_t>(ran.dx.size()), batch * in);
  std::vector<double> reads(static_cast<size_t>(pixels), 0.0);
  for (const auto& taps : map) {
    for (const auto& tap : taps) reads[static_cast<size_t>(tap.pixel)] += std::abs(tap.weight);
  }
  const double most = *std::max_element(reads.begin(), reads.end());
  for (int64_t b = 0; b < batch; ++b) {
    const std::vector<double> xs(x.begin() + b * in, x.begin() + (b + 1) * in);
    const std::vector<double> dy(dys.begin() + b * out, dys.begin() + (b + 1) * out);
    const auto y = reference::Apply(map, xs, channels);
    const auto dx = reference::ApplyTransposed(map, dy, pixels, channels);
    for (int64_t i = 0; i < out; ++i)
      ASSERT_TRUE(std::abs(static_cast<double>(ran.y[static_cast<size_t>(b * out + i)]) -
                           y[static_cast<size_t>(i)]) <= gain * 1e-6)
          << i;
    for (int64_t i = 0; i < in; ++i)
      ASSERT_TRUE(std::abs(static_cast<double>(ran.dx[static_cast<size_t>(b * in + i)]) -
                           dx[static_cast<size_t>(i)]) <= std::max(1.0, most) * 1e-6)
          << i;
  }
}

TEST(AvgPoolTest, IsItsDefinitionForRandomWindows) {
  Draw draw(1);
  for (int trial = 0; trial < 40; ++trial) {
    PoolAxis h = draw.Axis(false), w = draw.Axis(false);
    h.ceil_mode = w.ceil_mode = draw.Below(2) == 1;
    const bool counts = draw.Below(2) == 1;
    std::optional<int64_t> divisor;
    if (draw.Below(3) == 0) divisor = draw.Below(2) == 0 ? 5 : -3;
    const int64_t batch = 1 + draw.Below(3), channels = 1 + draw.Below(19);
    const Shape in{batch, h.in, w.in, channels};
    SCOPED_TRACE(trial);
    const std::vector<float> x = Values(1, in.size());
    const Ran ran = RunLayer(AvgPool2d({h.kernel, w.kernel}, {.stride = Window(h.stride, w.stride),
                                                              .padding = {h.padding, w.padding},
                                                              .ceil_mode = h.ceil_mode,
                                                              .count_include_pad = counts,
                                                              .divisor_override = divisor}),
                             x, in);
    EXPECT_EQ(ran.out, (Shape{batch, h.out(), w.out(), channels}));
    ExpectMap(ran, reference::AvgPool(h, w, counts, divisor), x, batch, h.in * w.in, channels,
              divisor ? static_cast<double>(h.kernel * w.kernel) / 3.0 + 1.0 : 1.0);
  }
}

TEST(MaxPoolTest, IsItsDefinitionForRandomWindows) {
  Draw draw(2);
  for (int trial = 0; trial < 40; ++trial) {
    PoolAxis h = draw.Axis(true), w = draw.Axis(true);
    h.ceil_mode = w.ceil_mode = draw.Below(2) == 1;
    if (h.in + 2 * h.padding <= h.dilation * (h.kernel - 1)) continue;
    if (w.in + 2 * w.padding <= w.dilation * (w.kernel - 1)) continue;
    const int64_t batch = 1 + draw.Below(3), channels = 1 + draw.Below(19);
    const Shape in{batch, h.in, w.in, channels};
    SCOPED_TRACE(trial);
    std::vector<float> x = Values(1, in.size());
    for (float& v : x) v = std::floor(v * 4.0f);  // many are equal
    const Ran ran = RunLayer(MaxPool2d({h.kernel, w.kernel}, {.stride = Window(h.stride, w.stride),
                                                              .padding = {h.padding, w.padding},
                                                              .dilation = {h.dilation, w.dilation},
                                                              .ceil_mode = h.ceil_mode}),
                             x, in);
    EXPECT_EQ(ran.out, (Shape{batch, h.out(), w.out(), channels}));
    const std::vector<float> dy = Values(2, ran.out.size());
    const int64_t n_in = in.sample_size(), n_out = ran.out.sample_size();
    std::vector<float> dx(x.size(), 0.0f);
    for (int64_t b = 0; b < batch; ++b) {
      const auto want = reference::MaxPool(
          std::vector<float>(x.begin() + b * n_in, x.begin() + (b + 1) * n_in), channels, h, w);
      for (int64_t i = 0; i < n_out; ++i) {
        ASSERT_EQ(ran.y[static_cast<size_t>(b * n_out + i)], want.y[static_cast<size_t>(i)]);
        dx[static_cast<size_t>(b * n_in + want.from[static_cast<size_t>(i)])] +=
            dy[static_cast<size_t>(b * n_out + i)];
      }
    }
    EXPECT_EQ(ran.dx, dx);
  }
}

TEST(AdaptiveAvgPoolTest, IsItsDefinitionForAnyNumberOfOutputs) {
  for (const auto& [h, w, oh, ow] : std::vector<std::array<int64_t, 4>>{{7, 7, 1, 1},
                                                                        {7, 5, 3, 2},
                                                                        {4, 6, 2, 3},
                                                                        {3, 5, 7, 11},
                                                                        {1, 9, 1, 4},
                                                                        {6, 1, 4, 1},
                                                                        {5, 8, 5, 3}}) {
    const Shape in{2, h, w, 11};
    SCOPED_TRACE(::testing::Message() << h << "x" << w << " to " << oh << "x" << ow);
    const std::vector<float> x = Values(1, in.size());
    const Ran ran = RunLayer(AdaptiveAvgPool2d({oh, ow}), x, in);
    EXPECT_EQ(ran.out, (Shape{2, oh, ow, 11}));
    ExpectMap(ran, reference::AdaptiveAvgPool(h, w, oh, ow), x, 2, h * w, 11);
  }
}

TEST(UpsampleTest, LinearIsItsDefinition) {
  for (const auto& [h, w, oh, ow] : std::vector<std::array<int64_t, 4>>{
           {3, 4, 6, 8}, {5, 7, 3, 2}, {1, 1, 3, 4}, {4, 4, 4, 9}, {2, 5, 1, 5}, {6, 3, 13, 7}}) {
    for (const bool align : {false, true}) {
      const Shape in{2, h, w, 5};
      SCOPED_TRACE(::testing::Message()
                   << h << "x" << w << " to " << oh << "x" << ow << (align ? ", aligned" : ""));
      const auto step = [&](int64_t from, int64_t to) {
        if (align)
          return to > 1 ? static_cast<double>(from - 1) / static_cast<double>(to - 1) : 0.0;
        return static_cast<double>(from) / static_cast<double>(to);
      };
      const std::vector<float> x = Values(1, in.size());
      const Ran ran = RunLayer(Upsample({.size = Window(oh, ow),
                                         .mode = UpsampleOptions::Mode::kLinear,
                                         .align_corners = align}),
                               x, in);
      ExpectMap(ran, reference::Bilinear(h, w, oh, ow, step(h, oh), step(w, ow), align), x, 2,
                h * w, 5);
    }
  }
}

TEST(UpsampleTest, AFactorSaysWhereOutputsLieThoughTheSizeIsRounded) {
  const Shape in{1, 1, 7, 1};
  const std::vector<float> x = {0, 1, 2, 3, 4, 5, 6};
  const Ran ran = RunLayer(Upsample({.scale_factor = 1.7, .mode = UpsampleOptions::Mode::kLinear}),
                           x, {1, 7, 1});
  ASSERT_EQ(ran.out, (Shape{1, 11, 1}));  // floor(11.9)
  for (int i = 0; i < 11; ++i) {
    const double want = std::min(6.0, std::max(0.0, (i + 0.5) / 1.7 - 0.5));
    EXPECT_NEAR(ran.y[static_cast<size_t>(i)], want, 1e-6);
  }
  const Ran nearest =
      RunLayer(Upsample({.scale_factor = UpsampleOptions::Factor(1.0, 1.7)}), x, in);
  EXPECT_EQ(nearest.y, (std::vector<float>{0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5}));
  EXPECT_EQ(nearest.out, (Shape{1, 1, 11, 1}));
}

TEST(UpsampleTest, NearestRepeatsPixelsAndSumsTheirGradients) {
  const Ran ran = RunLayer(Upsample({.scale_factor = 2.0}), {1, 2, kInf, kNan}, {1, 2, 2, 1}, 1,
                           {1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3});
  EXPECT_EQ((std::vector<float>(ran.y.begin(), ran.y.begin() + 8)),
            (std::vector<float>{1, 1, 2, 2, 1, 1, 2, 2}));
  EXPECT_EQ(ran.y[8], kInf);
  EXPECT_TRUE(std::isnan(ran.y[15]));
  EXPECT_EQ(ran.dx, (std::vector<float>{4, 4, 8, 12}));
}

// A tap of weight 0 would make NaN of an infinity beside a pixel that is itself copied.
TEST(UpsampleTest, PixelsThatLieOnPixelsDoNotTouchTheirNeighbours) {
  const Ran ran = RunLayer(
      Upsample(
          {.size = Window(1, 3), .mode = UpsampleOptions::Mode::kLinear, .align_corners = true}),
      {1, kInf}, {1, 1, 2, 1});
  EXPECT_EQ(ran.y, (std::vector<float>{1, kInf, kInf}));
  // Every third, seventh, ... lies on one of the 11, however 10 / (size - 1) is rounded.
  std::vector<float> x(11, 1.0f);
  for (size_t i = 0; i < 11; i += 2) x[i] = kInf;
  for (const int64_t between : {3, 7, 16, 49}) {
    const int64_t size = 10 * between + 1;
    const Ran many = RunLayer(Upsample({.size = Window(1, size),
                                        .mode = UpsampleOptions::Mode::kLinear,
                                        .align_corners = true}),
                              x, {1, 1, 11, 1});
    for (int64_t i = 1; i < 10; i += 2)
      EXPECT_EQ(many.y[static_cast<size_t>(i * between)], 1.0f) << i << " of " << size;
  }
}

// ---- Where others went wrong.

TEST(MaxPoolTest, CeilModeHasNoWindowInThePaddingAlone) {
  // 3 + 2 with a kernel of 2 and a stride of 2: rounded up it would be three windows, the last
  // beyond the end: -infinity. So it is left out.
  const Ran ran = RunLayer(MaxPool2d(2, {.stride = 2, .padding = 1, .ceil_mode = true}),
                           {1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 3, 3, 1});
  EXPECT_EQ(ran.out, (Shape{1, 2, 2, 1}));
  EXPECT_EQ(ran.y, (std::vector<float>{1, 3, 7, 9}));
  const Ran edge =
      RunLayer(MaxPool1d(2, {.stride = 3, .ceil_mode = true}), {1, 2, 3, 4}, {1, 4, 1});
  EXPECT_EQ(edge.y, (std::vector<float>{2, 4}));
  const Ran dropped = RunLayer(MaxPool1d(1, {.stride = 2, .ceil_mode = true}), {1, 2}, {1, 2, 1});
  EXPECT_EQ(dropped.y, (std::vector<float>{1}));
}

TEST(AvgPoolTest, CeilModeDividesByWhatIsThere) {
  // The last window of (1, 2, 5) holds one value: 5, whatever its kernel; with a padding of one
  // the window (5, 0) lies within x and padding: 2.5. Beyond the padding nothing counts.
  const auto pool = [](AvgPool1dOptions options) {
    return RunLayer(AvgPool1d(2, options), {1, 2, 5}, {1, 3, 1}).y;
  };
  EXPECT_EQ(pool({.stride = 2, .ceil_mode = true}), (std::vector<float>{1.5f, 5.0f}));
  EXPECT_EQ(pool({.stride = 2, .padding = 1}), (std::vector<float>{0.5f, 3.5f}));
  const auto three = [](AvgPool1dOptions options) {
    return RunLayer(AvgPool1d(3, options), {1, 2, 3, 5}, {1, 4, 1}).y;
  };
  // (0 1 2) (2 3 5), then (5 0 -): 5 / 2, the padding counts and what is beyond does not.
  EXPECT_EQ(three({.stride = 2, .padding = 1, .ceil_mode = true}),
            (std::vector<float>{1.0f, 10.0f / 3.0f, 2.5f}));
  EXPECT_EQ(three({.stride = 2, .padding = 1, .ceil_mode = true, .count_include_pad = false}),
            (std::vector<float>{1.5f, 10.0f / 3.0f, 5.0f}));
}

TEST(AvgPoolTest, AnAverageOfIntegersIsExact) {
  std::vector<float> x(9);
  for (size_t i = 0; i < 9; ++i) x[i] = static_cast<float>(i + 1);
  EXPECT_EQ(RunLayer(AvgPool2d(3), x, {1, 3, 3, 1}).y, std::vector<float>{5.0f});
  EXPECT_EQ(RunLayer(AdaptiveAvgPool2d(1), x, {1, 3, 3, 1}).y, std::vector<float>{5.0f});
}

TEST(MaxPoolTest, NanWinsAndInfinitiesAreNumbers) {
  EXPECT_TRUE(std::isnan(RunLayer(MaxPool1d(3), {kNan, 1, kInf}, {1, 3, 1}).y[0]));
  EXPECT_TRUE(std::isnan(RunLayer(MaxPool1d(3), {1, kInf, kNan}, {1, 3, 1}).y[0]));
  const Ran last = RunLayer(MaxPool1d(3), {kNan, kNan, 1}, {1, 3, 1}, 1, {2});
  EXPECT_EQ(last.dx, (std::vector<float>{0, 2, 0}));
  const Ran none = RunLayer(MaxPool2d(3, {.stride = 1, .padding = 1}), std::vector<float>(4, -kInf),
                            {1, 2, 2, 1}, 1, {1, 2, 4, 8});
  EXPECT_EQ(none.y, std::vector<float>(4, -kInf));
  EXPECT_EQ(none.dx, (std::vector<float>{15, 0, 0, 0}));
}

TEST(MaxPoolTest, OfEqualOnesTheFirstByRowsIsTaken) {
  const Ran ran = RunLayer(MaxPool2d(2), {1, 3, 3, 3}, {1, 2, 2, 1}, 1, {7});
  EXPECT_EQ(ran.dx, (std::vector<float>{0, 7, 0, 0}));
}

TEST(MaxPoolTest, LongWindowsHavePlacesBeyondEightBits) {
  std::vector<float> x = Values(3, 700);
  x[650] = 2.0f;
  const Ran ran = RunLayer(MaxPool1d(700), x, {1, 700, 1}, 1, {3});
  EXPECT_EQ(ran.y, std::vector<float>{2.0f});
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(ran.dx[i], i == 650 ? 3.0f : 0.0f);
}

// 65536 equal values of the same sign: chains of 256 of them lose a few roundings.
TEST(AdaptiveAvgPoolTest, ALongAverageIsExactEnough) {
  const std::vector<float> x(1 << 16, 0.1f);
  EXPECT_NEAR(RunLayer(AdaptiveAvgPool1d(1), x, {1, 1 << 16, 1}).y[0], 0.1f, 0.1f * 512 * 6e-8);
}

TEST(PadTest, BordersAreWhatPyTorchMakesOfThem) {
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};
  const Shape in{1, 2, 3, 1};
  const Borders borders(2, 1, 1, 0);  // left, right, top, bottom
  const std::vector<float> dy = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const Ran zero = RunLayer(ZeroPad2d(borders), x, in, 1, dy);
  EXPECT_EQ(zero.out, (Shape{1, 3, 6, 1}));
  EXPECT_EQ(zero.y, (std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 4, 5, 6, 0}));
  EXPECT_EQ(zero.dx, std::vector<float>(6, 1.0f));
  const Ran mirror = RunLayer(ReflectionPad2d(borders), x, in, 1, dy);
  EXPECT_EQ(mirror.y, (std::vector<float>{6, 5, 4, 5, 6, 5, 3, 2, 1, 2, 3, 2, 6, 5, 4, 5, 6, 5}));
  EXPECT_EQ(mirror.dx, (std::vector<float>{1, 3, 2, 2, 6, 4}));
  const Ran edge = RunLayer(ReplicationPad2d(borders), x, in, 1, dy);
  EXPECT_EQ(edge.y, (std::vector<float>{1, 1, 1, 2, 3, 3, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6}));
  EXPECT_EQ(edge.dx, (std::vector<float>{6, 2, 4, 3, 1, 2}));
  const Ran cut = RunLayer(ZeroPad2d({-1, 1, -1, 0}), x, in, 1, {1, 2, 3});
  EXPECT_EQ(cut.y, (std::vector<float>{5, 6, 0}));
  EXPECT_EQ(cut.dx, (std::vector<float>{0, 0, 0, 0, 1, 2}));
}

TEST(PictureLayersTest, WhatChangesNothingIsNoOperation) {
  for (const auto& make : std::vector<std::function<std::unique_ptr<Layer>()>>{
           [] { return Own(ZeroPad2d(0)); }, [] { return Own(AdaptiveAvgPool2d(0)); },
           [] {
             return Own(AdaptiveAvgPool2d({4, 5}));
           },
           [] { return Own(Upsample({.scale_factor = 1.0})); },
           [] {
             return Own(Upsample({.size = Window(4, 5), .mode = UpsampleOptions::Mode::kLinear}));
           }}) {
    const LayerRunner runner(make(), {2, 4, 5, 3});
    ASSERT_TRUE(runner.status().ok()) << runner.status().message();
    EXPECT_EQ(runner.program().graph().nodes().size(), 1u);  // the loss
  }
}

TEST(PictureLayersTest, TheSameBitsForAnyNumberOfThreadsAndPartialBatches) {
  const auto bits = [](auto layer, const Shape& in) {
    const std::vector<float> x = Values(5, in.size());
    const Ran one = RunLayer(layer, x, in);
    for (const int threads : {2, 3, 8}) {
      const Ran more = RunLayer(layer, x, in, threads);
      EXPECT_EQ(more.y, one.y);
      EXPECT_EQ(more.dx, one.dx);
    }
    LayerRunner runner(Own(layer), in, {}, 3);
    for (const int64_t batch : {in[0], int64_t{1}, int64_t{0}}) {
      const auto part = in.WithBatch(batch);
      const std::vector<float> y = runner.Forward(std::span(x).first(part.size()), part);
      EXPECT_EQ(y, std::vector<float>(one.y.begin(), one.y.begin() + std::ssize(y)));
    }
  };
  bits(MaxPool2d(3, {.stride = 2, .padding = 1}), {5, 33, 31, 19});
  bits(AvgPool2d(3, {.stride = 2, .padding = 1}), {5, 33, 31, 19});
  bits(AdaptiveAvgPool2d(1), {3, 14, 13, 256});
  bits(AdaptiveAvgPool2d({3, 2}), {2, 14, 13, 131});
  bits(Upsample({.scale_factor = 1.5, .mode = UpsampleOptions::Mode::kLinear}), {5, 33, 31, 3});
  bits(ReflectionPad2d(3), {5, 33, 31, 3});
}

TEST(PictureLayersTest, WhatDoesNotFitIsRefusedWithBothShapes) {
  const Shape in{2, 5, 6, 3};
  EXPECT_THAT(ErrorOf(MaxPool2d(3, {.padding = 2}), in), HasSubstr("half the kernel, 1"));
  EXPECT_THAT(ErrorOf(AvgPool2d(3, {.padding = 2}), in), HasSubstr("half the kernel, 1"));
  EXPECT_THAT(ErrorOf(MaxPool2d(6), in), HasSubstr("does not fit into a height of 5"));
  EXPECT_THAT(ErrorOf(MaxPool2d(6), in), HasSubstr("(2, 5, 6, 3)"));
  EXPECT_THAT(ErrorOf(MaxPool2d({1, 3}, {.dilation = 4}), in), HasSubstr("window of 9"));
  EXPECT_THAT(ErrorOf(MaxPool2d(0), in), HasSubstr("kernel of 0"));
  EXPECT_THAT(ErrorOf(MaxPool2d(2, {.stride = 0}), in), HasSubstr("stride of 0"));
  EXPECT_THAT(ErrorOf(MaxPool2d(2, {.dilation = -1}), in), HasSubstr("dilation of -1"));
  EXPECT_THAT(ErrorOf(MaxPool2d(2, {.padding = -1}), in), HasSubstr("padding of -1"));
  EXPECT_THAT(ErrorOf(MaxPool2d(int64_t{1} << 40), in), HasSubstr("kernel of"));
  EXPECT_THAT(ErrorOf(MaxPool2d({2, 1}, {.padding = {1, 0}, .dilation = 6}), in),
              HasSubstr("in the padding alone"));
  EXPECT_THAT(ErrorOf(MaxPool2d(2), {2, 5, 6}), HasSubstr("height"));
  EXPECT_THAT(ErrorOf(MaxPool1d(2), in), HasSubstr("(batch, length, channels)"));
  EXPECT_THAT(ErrorOf(AvgPool2d(2, {.divisor_override = 0}), in), HasSubstr("divisor_override"));
  EXPECT_THAT(ErrorOf(AdaptiveAvgPool2d({-1, 1}), in), HasSubstr("-1"));
  EXPECT_THAT(ErrorOf(Upsample({}), in), HasSubstr("one of them"));
  EXPECT_THAT(ErrorOf(Upsample({.size = Window(3), .scale_factor = 2.0}), in),
              HasSubstr("one of them"));
  EXPECT_THAT(ErrorOf(Upsample({.scale_factor = 0.1}), in), HasSubstr("scale_factor"));
  EXPECT_THAT(ErrorOf(Upsample({.scale_factor = -2.0}), in), HasSubstr("scale_factor"));
  EXPECT_THAT(ErrorOf(Upsample({.scale_factor = kNan}), in), HasSubstr("scale_factor"));
  EXPECT_THAT(ErrorOf(Upsample({.scale_factor = 2.0, .align_corners = true}), in),
              HasSubstr("align_corners"));
  EXPECT_THAT(ErrorOf(ReflectionPad2d(5), in), HasSubstr("reflection of 5"));
  EXPECT_THAT(ErrorOf(ZeroPad2d({-3, -3, 0, 0}), in), HasSubstr("leave nothing"));
  EXPECT_THAT(ErrorOf(ZeroPad2d(1), {2, 5}), HasSubstr("(2, 5)"));
}

}  // namespace
}  // namespace lockstep
