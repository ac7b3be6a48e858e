// Pools and resizing, channels last, as op/NAME_{fwd,bwd}/threads:N:
//   maxpool3x3s2_64_112_b16     the stem of a ResNet: 3x3, stride 2, padding 1, with places kept
//   maxpool2x2_16_28_b64        a small network's
//   maxpool2x2_1_224_b16        a single channel
//   avgpool3x3s2_64_112_b16     as the first, averaged
//   globalavgpool_2048_7_b16    the head of a ResNet
//   bilinear2x_64_56_b16, bilinear2x_3_112_b16
// Bytes: the least that must move: x and y once each (fwd), dy and dx (bwd), and places.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/floats.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/resample.h"
#include "tests/reference/pool.h"

namespace lockstep::inline v0_1 {
namespace {

using bench::Floats;
using kernels::AxisTaps;
using reference::PoolAxis;

struct Picture {
  int64_t batch, side, channels;
  int64_t size() const { return batch * side * side * channels; }
  int64_t sample() const { return side * side * channels; }
};

bool Near(float got, double want) { return std::abs(static_cast<double>(got) - want) <= 1e-5; }

struct MaxPool {
  MaxPool(int threads, Picture in, PoolAxis axis)
      : context({.threads = threads}),
        in(in),
        axis(axis),
        shape(ops::MakeMaxPoolShape(
            in.side, in.side, in.channels,
            {axis.kernel, axis.stride, axis.padding, axis.dilation, axis.ceil_mode},
            {axis.kernel, axis.stride, axis.padding, axis.dilation, axis.ceil_mode})),
        out{in.batch, axis.out(), in.channels} {
    x.FillRandom(1), dy.FillRandom(2);
  }

  void Forward() { ops::MaxPoolForward(context, shape, in.batch, x.get(), y.get(), places.data()); }
  void Backward() {
    ops::MaxPoolBackward(context, shape, in.batch, dy.get(), places.data(), false, dx.get());
  }
  std::string Check() {
    Forward(), Backward();
    const float* const last = x.get() + in.size() - in.sample();
    const auto want =
        reference::MaxPool(std::vector<float>(last, last + in.sample()), in.channels, axis, axis);
    std::vector<double> slopes(static_cast<size_t>(in.sample()), 0.0);
    const int64_t at = out.size() - out.sample();
    for (size_t i = 0; i < want.y.size(); ++i) {
      if (y[at + static_cast<int64_t>(i)] != want.y[i]) return "y is wrong";
      slopes[static_cast<size_t>(want.from[i])] +=
          static_cast<double>(dy[at + static_cast<int64_t>(i)]);
    }
    for (int64_t i = 0; i < in.sample(); ++i) {
      if (!Near(dx[in.size() - in.sample() + i], slopes[static_cast<size_t>(i)]))
        return "dx is wrong";
    }
    return "";
  }
  int64_t bytes() const { return 4 * (in.size() + out.size()) + out.size(); }

  Context context;
  Picture in;
  PoolAxis axis;
  ops::MaxPoolShape shape;
  Picture out;
  Floats x{in.size()}, y{out.size()}, dy{out.size()}, dx{in.size()};
  std::vector<std::byte> places = std::vector<std::byte>(static_cast<size_t>(out.size()));
};

struct Resampling {
  Resampling(int threads, Picture in, const AxisTaps& taps, const reference::PixelMap& map)
      : context({.threads = threads}),
        in(in),
        taps(taps),
        turned(kernels::Turned(taps)),
        map(map),
        out{in.batch, taps.outputs(), in.channels} {
    x.FillRandom(1), dy.FillRandom(2);
  }

  void Forward() {
    ops::Resample(context, taps, taps,
                  {.batch = in.batch, .channels = in.channels, .x = x.get(), .y = y.get()},
                  {scratch.get(), static_cast<size_t>(scratch.size())});
  }
  void Backward() {
    ops::Resample(context, turned, turned,
                  {.batch = in.batch, .channels = in.channels, .x = dy.get(), .y = dx.get()},
                  {scratch.get(), static_cast<size_t>(scratch.size())});
  }
  std::string Check() {
    Forward(), Backward();
    const auto last = [](const Floats& all, int64_t n) {
      return std::vector<double>(all.get() + all.size() - n, all.get() + all.size());
    };
    const auto want = reference::Apply(map, last(x, in.sample()), in.channels);
    for (int64_t i = 0; i < out.sample(); ++i) {
      if (!Near(y[out.size() - out.sample() + i], want[static_cast<size_t>(i)]))
        return "y is wrong";
    }
    const auto slopes =
        reference::ApplyTransposed(map, last(dy, out.sample()), in.side * in.side, in.channels);
    for (int64_t i = 0; i < in.sample(); ++i) {
      if (!Near(dx[in.size() - in.sample() + i], slopes[static_cast<size_t>(i)]))
        return "dx is wrong";
    }
    return "";
  }
  int64_t bytes() const { return 4 * (in.size() + out.size()); }

  Context context;
  Picture in;
  AxisTaps taps, turned;
  reference::PixelMap map;
  Picture out;
  Floats x{in.size()}, y{out.size()}, dy{out.size()}, dx{in.size()};
  Floats scratch{std::max(ops::ResampleScratch(context.threads(), taps, in.channels),
                          ops::ResampleScratch(context.threads(), turned, in.channels))};
};

template <class Make>
void Register(const std::string& op, const Make& make) {
  for (const bool backward : {false, true}) {
    for (const int threads : {1, 2}) {
      const std::string name =
          "op/" + op + (backward ? "_bwd" : "_fwd") + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        auto pool = make(threads);
        if (const std::string wrong = pool.Check(); !wrong.empty()) {
          state.SkipWithError(wrong.c_str());
          return;
        }
        for (auto _ : state) {
          if (backward) {
            pool.Backward();
          } else {
            pool.Forward();
          }
        }
        state.SetBytesProcessed(state.iterations() * pool.bytes());
      })->UseRealTime();
    }
  }
}

const bool kRegistered = [] {
  const auto max = [](const std::string& op, Picture in, PoolAxis axis) {
    axis.in = in.side;
    Register(op, [=](int threads) { return MaxPool(threads, in, axis); });
  };
  max("maxpool3x3s2_64_112_b16", {16, 112, 64}, {.kernel = 3, .stride = 2, .padding = 1});
  max("maxpool2x2_16_28_b64", {64, 28, 16}, {.kernel = 2, .stride = 2});
  max("maxpool2x2_1_224_b16", {16, 224, 1}, {.kernel = 2, .stride = 2});
  Register("avgpool3x3s2_64_112_b16", [](int threads) {
    const PoolAxis axis{.in = 112, .kernel = 3, .stride = 2, .padding = 1};
    return Resampling(threads, {16, 112, 64},
                      kernels::AverageTaps(112, {.kernel = 3, .stride = 2, .padding = 1}, true, {}),
                      reference::AvgPool(axis, axis, true, {}));
  });
  Register("globalavgpool_2048_7_b16", [](int threads) {
    return Resampling(threads, {16, 7, 2048}, kernels::AdaptiveAverageTaps(7, 1),
                      reference::AdaptiveAvgPool(7, 7, 1, 1));
  });
  const auto bilinear = [](const std::string& op, Picture in) {
    Register(op, [=](int threads) {
      const int64_t side = in.side;
      return Resampling(threads, in, kernels::LinearTaps(side, 2 * side, {}, false),
                        reference::Bilinear(side, side, 2 * side, 2 * side, 0.5, 0.5, false));
    });
  };
  bilinear("bilinear2x_64_56_b16", {16, 56, 64});
  bilinear("bilinear2x_3_112_b16", {16, 112, 3});
  return true;
}();

}  // namespace
}  // namespace lockstep
