// Norms within a sample: op/layernorm_8192x768_{fwd,fwdbwd}/threads:N and
// op/groupnorm32_32x256x28_{fwd,fwdbwd}/threads:N (channels last here). Backward gives dx, dgamma
// and dbeta. Bytes counted as in the peers' program: 2 tensors forward, 5 forward and backward.
#include <benchmark/benchmark.h>

#include <cmath>
#include <complex>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/floats.h"
#include "engine/ops/group_norm.h"
#include "engine/ops/row_norm.h"
#include "tests/reference/group_norm.h"
#include "tests/reference/row_norm.h"

namespace lockstep::inline v0_1 {
namespace {

using bench::Floats;

constexpr double kEps = 1e-5;

// The gradients of sum(dy * y) at one element of x, by complex step on the reference.
template <class Reference>
double SlopeAt(std::vector<std::complex<double>> x, size_t i, const std::vector<double>& dy,
               const Reference& reference) {
  x[i] += std::complex<double>(0.0, 1e-50);
  const std::vector<std::complex<double>> y = reference(x);
  double slope = 0.0;
  for (size_t k = 0; k < y.size(); ++k) slope += dy[k] * y[k].imag() * 1e50;
  return slope;
}

bool Near(float got, double want) { return std::abs(static_cast<double>(got) - want) <= 1e-5; }

struct LayerNorm {
  static constexpr int64_t kRows = 8192, kColumns = 768, kSize = kRows * kColumns;

  explicit LayerNorm(int threads)
      : context({.threads = threads}),
        grid(kRows, 1, 1),
        partials(static_cast<size_t>(ops::RowNormPartialsSize(grid.blocks(), kColumns))) {
    x.FillRandom(1), dy.FillRandom(2), gamma.FillRandom(3), beta.FillRandom(4);
  }

  void Forward() {
    ops::LayerNormForward(context, grid, kColumns,
                          {.x = x.get(),
                           .gamma = gamma.get(),
                           .beta = beta.get(),
                           .eps = kEps,
                           .y = y.get(),
                           .mean = mean.get(),
                           .mean_low = mean_low.get(),
                           .inv_std = inv_std.get()});
  }
  void Backward() {
    ops::LayerNormBackward(context, grid, kColumns,
                           {.x = x.get(),
                            .dy = dy.get(),
                            .mean = mean.get(),
                            .mean_low = mean_low.get(),
                            .inv_std = inv_std.get(),
                            .gamma = gamma.get(),
                            .dx = dx.get(),
                            .dgamma = dgamma.get(),
                            .dbeta = dbeta.get(),
                            .partials = partials.data()});
  }

  std::string Check() {
    Forward();
    Backward();
    const std::vector<double> g(gamma.get(), gamma.get() + kColumns);
    const std::vector<double> b(beta.get(), beta.get() + kColumns);
    std::vector<double> want_dgamma(kColumns, 0.0);
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = x.get() + r * kColumns;
      const std::vector<std::complex<double>> xs(row, row + kColumns);
      const std::vector<double> dys(dy.get() + r * kColumns, dy.get() + (r + 1) * kColumns);
      for (int64_t c = 0; c < kColumns; ++c) {
        const double xhat = (static_cast<double>(row[c]) - static_cast<double>(mean[r])) *
                            static_cast<double>(inv_std[r]);
        want_dgamma[static_cast<size_t>(c)] += dys[static_cast<size_t>(c)] * xhat;
      }
      if (r % 1000 != 17) continue;
      const auto reference = [&](const std::vector<std::complex<double>>& v) {
        return reference::RowNorm(v, g, b, kEps, /*centred=*/true).y;
      };
      const auto want = reference(xs);
      for (int64_t c = 0; c < kColumns; c += 101) {
        const auto i = static_cast<size_t>(c);
        if (!Near(y[r * kColumns + c], want[i].real())) return "y is wrong";
        if (!Near(dx[r * kColumns + c], SlopeAt(xs, i, dys, reference))) return "dx is wrong";
      }
    }
    for (int64_t c = 0; c < kColumns; ++c) {
      const double want = want_dgamma[static_cast<size_t>(c)];
      if (!(std::abs(static_cast<double>(dgamma[c]) - want) <= 1e-3)) return "dgamma is wrong";
    }
    return "";
  }

  Context context;
  RowGrid grid;
  Floats x{kSize}, y{kSize}, dy{kSize}, dx{kSize};
  Floats gamma{kColumns}, beta{kColumns}, dgamma{kColumns}, dbeta{kColumns};
  Floats mean{kRows}, mean_low{kRows}, inv_std{kRows};
  std::vector<double> partials;
};

struct GroupNorm {
  static constexpr ops::GroupNormShape kShape = {
      .positions = 28 * 28, .channels = 256, .groups = 32};
  static constexpr int64_t kSamples = 32;
  static constexpr BatchCut kCut = BatchCut::Whole(kSamples, /*shards=*/1);
  static constexpr int64_t kSampleSize = kShape.positions * kShape.channels;
  static constexpr int64_t kSize = kSamples * kSampleSize;

  explicit GroupNorm(int threads)
      : context({.threads = threads}),
        partials(static_cast<size_t>(ops::GroupNormPartialsSize(kShape, kSamples))) {
    x.FillRandom(1), dy.FillRandom(2), gamma.FillRandom(3), beta.FillRandom(4);
  }

  void Forward() {
    ops::GroupNormForward(context, kCut, kShape,
                          {.x = x.get(),
                           .gamma = gamma.get(),
                           .beta = beta.get(),
                           .eps = kEps,
                           .y = y.get(),
                           .mean = mean.get(),
                           .mean_low = mean_low.get(),
                           .inv_std = inv_std.get(),
                           .partials = partials.data()});
  }
  void Backward() {
    ops::GroupNormBackward(context, kCut, kShape,
                           {.x = x.get(),
                            .dy = dy.get(),
                            .mean = mean.get(),
                            .mean_low = mean_low.get(),
                            .inv_std = inv_std.get(),
                            .gamma = gamma.get(),
                            .dx = dx.get(),
                            .dgamma = dgamma.get(),
                            .dbeta = dbeta.get(),
                            .partials = partials.data()});
  }

  std::string Check() {
    Forward();
    Backward();
    const std::vector<double> g(gamma.get(), gamma.get() + kShape.channels);
    const std::vector<double> b(beta.get(), beta.get() + kShape.channels);
    const auto reference = [&](const std::vector<std::complex<double>>& v) {
      return reference::GroupNorm(v, kShape.channels, kShape.groups, g, b, kEps);
    };
    const int64_t at = 13 * kSampleSize;  // one sample stands for all
    const std::vector<std::complex<double>> xs(x.get() + at, x.get() + at + kSampleSize);
    const std::vector<double> dys(dy.get() + at, dy.get() + at + kSampleSize);
    const auto want = reference(xs);
    for (int64_t i = 0; i < kSampleSize; ++i) {
      if (!Near(y[at + i], want[static_cast<size_t>(i)].real())) return "y is wrong";
    }
    for (int64_t i = 5; i < kSampleSize; i += kSampleSize / 4) {
      const double slope = SlopeAt(xs, static_cast<size_t>(i), dys, reference);
      if (!Near(dx[at + i], slope)) return "dx is wrong";
    }
    for (int64_t c = 0; c < kShape.channels; c += 50) {
      double want_dbeta = 0.0;
      for (int64_t i = c; i < kSize; i += kShape.channels) {
        want_dbeta += static_cast<double>(dy[i]);
      }
      if (!(std::abs(static_cast<double>(dbeta[c]) - want_dbeta) <= 1e-3)) return "dbeta is wrong";
    }
    return "";
  }

  Context context;
  Floats x{kSize}, y{kSize}, dy{kSize}, dx{kSize};
  Floats gamma{kShape.channels}, beta{kShape.channels}, dgamma{kShape.channels},
      dbeta{kShape.channels};
  Floats mean{kSamples * kShape.channels}, mean_low{kSamples * kShape.channels},
      inv_std{kSamples * kShape.channels};
  std::vector<double> partials;
};

template <class Norm>
void Run(benchmark::State& state, bool backward, int threads) {
  Norm norm(threads);
  if (const std::string wrong = norm.Check(); !wrong.empty()) {
    state.SkipWithError(wrong.c_str());
    return;
  }
  for (auto _ : state) {
    norm.Forward();
    if (backward) norm.Backward();
  }
  state.SetBytesProcessed(state.iterations() * (backward ? 5 : 2) * Norm::kSize *
                          static_cast<int64_t>(sizeof(float)));
}

template <class Norm>
void Register(const std::string& op) {
  for (const bool backward : {false, true}) {
    for (const int threads : {1, 2}) {
      const std::string name =
          "op/" + op + (backward ? "_fwdbwd" : "_fwd") + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        Run<Norm>(state, backward, threads);
      })->UseRealTime();
    }
  }
}

const bool kRegistered = [] {
  Register<LayerNorm>("layernorm_8192x768");
  Register<GroupNorm>("groupnorm32_32x256x28");
  return true;
}();

}  // namespace
}  // namespace lockstep
