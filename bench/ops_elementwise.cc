// Activations and losses: op/gelu_8192x3072_{fwd,fwdbwd}/threads:N (erf) and
// op/ce_256x50304_fwdbwd/threads:N. Bytes counted as in the peers' program: 2 tensors forward, 5
// forward and backward, 3 for cross entropy.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/floats.h"
#include "engine/kernels/elementwise/activation.h"
#include "engine/kernels/elementwise/softmax.h"
#include "engine/ops/elementwise.h"
#include "engine/parallel/context.h"
#include "tests/reference/activation.h"
#include "tests/reference/softmax.h"

namespace lockstep::inline v0_1 {
namespace {

using bench::Floats;

struct Gelu {
  static constexpr int64_t kSize = int64_t{8192} * 3072;
  static constexpr bool kStream = kSize >= kernels::kStreamedFloats;  // as the layer does
  static constexpr kernels::ActivationSpec kSpec = {.kind = kernels::ActivationKind::kGelu};

  explicit Gelu(int threads) : context({.threads = threads}) { x.FillRandom(1), dy.FillRandom(2); }

  void Forward() {
    ops::ForStretches(context, kSize, 4, [&](int64_t begin, int64_t end) {
      kernels::ActivationForward(kSpec, x.get() + begin, y.get() + begin, end - begin, kStream);
    });
  }
  void Backward() {
    ops::ForStretches(context, kSize, 4, [&](int64_t begin, int64_t end) {
      kernels::ActivationBackward(kSpec, x.get() + begin, dy.get() + begin, dx.get() + begin,
                                  end - begin, kStream);
    });
  }

  std::string Check() {
    Forward();
    Backward();
    for (int64_t i = 0; i < kSize; i += 997) {
      const auto at = static_cast<double>(x[i]);
      const double want = reference::Activate(kSpec, at);
      const double slope = static_cast<double>(dy[i]) * reference::ActivationSlope(kSpec, at);
      if (!(std::abs(static_cast<double>(y[i]) - want) <= 1e-6)) return "y is wrong";
      if (!(std::abs(static_cast<double>(dx[i]) - slope) <= 2e-6)) return "dx is wrong";
    }
    return "";
  }

  Context context;
  Floats x{kSize}, y{kSize}, dy{kSize}, dx{kSize};
};

void RunGelu(benchmark::State& state, bool backward, int threads) {
  Gelu gelu(threads);
  if (const std::string wrong = gelu.Check(); !wrong.empty()) {
    state.SkipWithError(wrong.c_str());
    return;
  }
  for (auto _ : state) {
    gelu.Forward();
    if (backward) gelu.Backward();
  }
  state.SetBytesProcessed(state.iterations() * (backward ? 5 : 2) * Gelu::kSize *
                          static_cast<int64_t>(sizeof(float)));
}

struct CrossEntropy {
  static constexpr int64_t kRows = 256, kClasses = 50304;

  explicit CrossEntropy(int threads) : context({.threads = threads}), losses(kRows) {
    logits.FillRandom(1);
    for (int64_t r = 0; r < kRows; ++r) {
      targets.push_back(static_cast<int32_t>(r * 7919 % kClasses));
    }
  }

  double ForwardBackward() {
    context.For(kRows, 8 * kRows * kClasses, [&](int64_t r) {
      losses[static_cast<size_t>(r)] =
          kernels::CrossEntropy(logits.get() + r * kClasses, targets.data() + r, 1, kClasses, {},
                                1.0f / kRows, dlogits.get() + r * kClasses);
    });
    double sum = 0.0;
    for (const double loss : losses) sum += loss;
    return sum / static_cast<double>(kRows);
  }

  std::string Check() {
    const double got = ForwardBackward();
    double want = 0.0;
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = logits.get() + r * kClasses;
      const std::vector<double> log_p =
          reference::LogSoftmax(std::vector<double>(row, row + kClasses));
      const int64_t target = targets[static_cast<size_t>(r)];
      want -= log_p[static_cast<size_t>(target)] / static_cast<double>(kRows);
      for (int64_t c = 0; c < kClasses; ++c) {
        const double p = std::exp(log_p[static_cast<size_t>(c)]) - (c == target ? 1.0 : 0.0);
        const double error = std::abs(static_cast<double>(dlogits[r * kClasses + c]) * kRows - p);
        if (!(error <= 1e-6)) return "dlogits are wrong";
      }
    }
    return std::abs(got - want) <= 1e-5 ? "" : "the loss is wrong";
  }

  Context context;
  Floats logits{kRows * kClasses}, dlogits{kRows * kClasses};
  std::vector<int32_t> targets;
  std::vector<double> losses;
};

void RunCrossEntropy(benchmark::State& state, int threads) {
  CrossEntropy loss(threads);
  if (const std::string wrong = loss.Check(); !wrong.empty()) {
    state.SkipWithError(wrong.c_str());
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(loss.ForwardBackward());
  state.SetBytesProcessed(state.iterations() * 3 * loss.logits.size() *
                          static_cast<int64_t>(sizeof(float)));
}

const bool kRegistered = [] {
  for (const int threads : {1, 2}) {
    const std::string suffix = "/threads:" + std::to_string(threads);
    for (const bool backward : {false, true}) {
      const std::string name = std::string("op/gelu_8192x3072") + (backward ? "_fwdbwd" : "_fwd");
      benchmark::RegisterBenchmark((name + suffix).c_str(), [=](benchmark::State& state) {
        RunGelu(state, backward, threads);
      })->UseRealTime();
    }
    benchmark::RegisterBenchmark(("op/ce_256x50304_fwdbwd" + suffix).c_str(),
                                 [=](benchmark::State& state) { RunCrossEntropy(state, threads); })
        ->UseRealTime();
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
