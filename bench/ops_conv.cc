// Convolutions: op/NAME_fp32[_PASS]/threads:N, by the names of the peers' programs; as
// NAME_winograd2 (which layers use by default) and NAME_winograd4 where that pays. PASS:
//   fwd      y from x
//   fwdbwd   y, dx and dw, with the packing of the weights
//   fwdwgrad y and dw, likewise: what a first layer does
//   dgrad    dx from dy
//   wgrad    dw from x and dy
//   pack     both packings of the weights
// A multiply-add counts as two operations, also where it lies in the padding and is left out: more
// than the peak rate is possible. of_peak is held against the best sample of op/peak_fma; on one
// thread it counts the time that the processor gave, which a busy machine changes least.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>

#include "bench/floats.h"
#include "engine/ops/conv.h"
#include "engine/ops/winograd.h"
#include "engine/parallel/context.h"
#include "tests/reference/conv.h"
#include "tools/scale/peaks.h"

namespace lockstep::inline v0_1 {
namespace {

using bench::Floats;

struct Case {
  const char* name;
  int64_t batch;
  ops::ConvShape shape;
};

// Pictures of `size` squared, `pad` on every side.
ops::ConvShape ShapeOf(int64_t in, int64_t out, int64_t size, int64_t kernel, int64_t stride) {
  const int64_t pad = kernel / 2, to = (size + 2 * pad - kernel) / stride + 1;
  return {.in_h = size,
          .in_w = size,
          .in_c = in,
          .out_h = to,
          .out_w = to,
          .out_c = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .pad_top = pad,
          .pad_left = pad};
}

enum class Pass { kForward, kAll, kFirstLayer, kDataGradient, kWeightGradient, kPack };

std::span<float> All(const Floats& floats) {
  return {floats.get(), static_cast<size_t>(floats.size())};
}

// One convolution and all it needs.
class Convolution {
 public:
  Convolution(Context& context, const Case& of)
      : context_(context),
        shape_(of.shape),
        batch_(of.batch),
        x_(batch_ * shape_.in_h * shape_.in_w * shape_.in_c),
        dy_(batch_ * shape_.out_h * shape_.out_w * shape_.out_c),
        w_(shape_.weights()),
        y_(dy_.size()),
        dx_(x_.size()),
        dw_(w_.size()),
        packed_forward_(ops::PackedForwardFloats(shape_)),
        packed_gradient_(ops::PackedDataGradientFloats(shape_)),
        scratch_(std::max(
            {ops::ConvForwardScratch(context.threads(), shape_, batch_),
             ops::ConvDataGradientScratch(context.threads(), shape_, batch_),
             ops::ConvWeightGradientScratch(context.threads(), shape_, batch_, kSegments)})) {
    x_.FillRandom(1);
    dy_.FillRandom(2);
    w_.FillRandom(3);
    for (int64_t s = 0; s <= kSegments; ++s) segments_[s] = batch_ * s / kSegments;
    Run(Pass::kPack);
  }

  void Run(Pass pass) {
    if (Does(pass, Pass::kPack)) {
      ops::PackForward(context_, shape_, w_.get(), packed_forward_.get());
      if (pass != Pass::kFirstLayer) {
        ops::PackDataGradient(context_, shape_, w_.get(), packed_gradient_.get());
      }
    }
    if (Does(pass, Pass::kForward)) {
      ops::ConvForward(
          context_, shape_,
          {.batch = batch_, .from = x_.get(), .packed = packed_forward_.get(), .to = y_.get()},
          All(scratch_));
    }
    if (Does(pass, Pass::kWeightGradient)) {
      ops::ConvWeightGradient(
          context_, shape_,
          {.batch = batch_, .x = x_.get(), .dy = dy_.get(), .dw = dw_.get(), .segments = segments_},
          All(scratch_));
    }
    if (Does(pass, Pass::kDataGradient)) {
      ops::ConvDataGradient(
          context_, shape_,
          {.batch = batch_, .from = dy_.get(), .packed = packed_gradient_.get(), .to = dx_.get()},
          All(scratch_));
    }
  }

  // Compares what a pass yields with double, for some of its elements.
  bool IsRight(Pass pass) const {
    const auto right = [this](const Floats& got, int64_t terms, const auto& want) {
      constexpr int64_t kSome = 50;
      for (int64_t i = 0; i < kSome; ++i) {
        const int64_t at = got.size() / kSome * i;
        // An error of one rounding for each of the terms of size 1; by Winograd's algorithm, what
        // its test allows.
        const double tolerance = shape_.algorithm == ops::ConvAlgorithm::kWinograd4
                                     ? 100.0 * 3e-7 * std::sqrt(static_cast<double>(terms))
                                     : 0x1p-22 * static_cast<double>(terms);
        if (!(std::abs(got[at] - want(at)) <= tolerance)) return false;
      }
      return true;
    };
    const int64_t taps = shape_.kernel_h * shape_.kernel_w;
    if (Does(pass, Pass::kForward) && !right(y_, taps * shape_.in_c, [&](int64_t at) {
          return reference::ConvForwardAt<double>(shape_, x_.get(), w_.get(), at);
        })) {
      return false;
    }
    if (Does(pass, Pass::kDataGradient) && !right(dx_, taps * shape_.out_c, [&](int64_t at) {
          return reference::ConvDataGradientAt<double>(shape_, dy_.get(), w_.get(), at);
        })) {
      return false;
    }
    const int64_t pixels = batch_ * shape_.out_h * shape_.out_w;
    return !Does(pass, Pass::kWeightGradient) || right(dw_, pixels, [&](int64_t at) {
      return reference::ConvWeightGradientAt<double>(shape_, 0, batch_, x_.get(), dy_.get(), at);
    });
  }

  double operations(Pass pass) const {
    const double one = 2.0 * static_cast<double>(batch_ * shape_.out_h * shape_.out_w) *
                       static_cast<double>(w_.size());
    return one * (Does(pass, Pass::kForward) + Does(pass, Pass::kDataGradient) +
                  Does(pass, Pass::kWeightGradient));
  }

 private:
  static constexpr int64_t kSegments = 8;

  static bool Does(Pass pass, Pass part) {
    return pass == part || pass == Pass::kAll ||
           (pass == Pass::kFirstLayer && part != Pass::kDataGradient);
  }

  Context& context_;
  const ops::ConvShape shape_;
  const int64_t batch_;
  Floats x_, dy_, w_, y_, dx_, dw_, packed_forward_, packed_gradient_, scratch_;
  int64_t segments_[kSegments + 1];
};

void Run(benchmark::State& state, const Case& of, Pass pass, int threads) {
  Context context({.threads = threads});
  Convolution convolution(context, of);
  convolution.Run(pass);
  if (!convolution.IsRight(pass)) return state.SkipWithError("wrong result");
  scale::FmaPeak peak(context);
  double peak_rate = 0.0;
  const auto seconds = [&] {
    if (threads == 1) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
  };
  double taken = 0.0;
  for (auto _ : state) {
    const double start = seconds();
    convolution.Run(pass);
    taken += seconds() - start;
  }
  const double operations = convolution.operations(pass);
  if (operations == 0.0) return;
  for (int i = 0; i < 100; ++i) scale::RateOf([&] { return peak.Run(); }, peak_rate);
  const double rate = operations * static_cast<double>(state.iterations()) / taken;
  state.counters["gflops"] = 1e-9 * rate;
  state.counters["of_peak"] = rate / peak_rate;
}

const bool kRegistered = [] {
  const Case cases[] = {
      {"conv3x3_64_56_b16", 16, ShapeOf(64, 64, 56, 3, 1)},
      {"conv3x3_256_14_b16", 16, ShapeOf(256, 256, 14, 3, 1)},
      {"conv1x1_256_64_56_b16", 16, ShapeOf(256, 64, 56, 1, 1)},
      {"conv7x7s2_3_224_b16", 16, ShapeOf(3, 64, 224, 7, 2)},
      {"conv3x3_16_32_b128", 128, ShapeOf(16, 16, 32, 3, 1)},
      {"conv3x3_512_7_b16", 16, ShapeOf(512, 512, 7, 3, 1)},
      {"conv3x3s2_128_56_b16", 16, ShapeOf(128, 128, 56, 3, 2)},
      {"conv1x1s2_256_512_56_b16", 16, ShapeOf(256, 512, 56, 1, 2)},
  };
  const struct {
    const char* name;
    Pass pass;
  } passes[] = {{"fwd", Pass::kForward},          {"fwdbwd", Pass::kAll},
                {"fwdwgrad", Pass::kFirstLayer},  {"dgrad", Pass::kDataGradient},
                {"wgrad", Pass::kWeightGradient}, {"pack", Pass::kPack}};
  constexpr struct {
    const char* name;
    ops::ConvAlgorithm algorithm;
  } kAlgorithms[] = {{"", ops::ConvAlgorithm::kDirect},
                     {"_winograd2", ops::ConvAlgorithm::kWinograd2},
                     {"_winograd4", ops::ConvAlgorithm::kWinograd4}};
  for (Case of : cases) {
    for (const auto& way : kAlgorithms) {
      of.shape.algorithm = way.algorithm;
      if (way.algorithm != ops::ConvAlgorithm::kDirect && !ops::UsesWinograd(of.shape)) continue;
      for (const auto& pass : passes) {
        for (const int threads : {1, 2}) {
          const std::string name = std::string("op/") + of.name + way.name + "_fp32_" + pass.name +
                                   "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), Run, of, pass.pass, threads)->UseRealTime();
        }
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
