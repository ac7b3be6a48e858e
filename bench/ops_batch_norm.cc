// Batch normalisation in training, channels last: op/SHAPE[_relu]_{fwd,bwd,fwdbwd}/threads:N.
// Forward: moments, statistics, normalise (+ ReLU). Backward: dx, dgamma, dbeta. The bytes counted
// are what the passes must move: forward reads x twice and writes y, backward reads x and dy twice
// and writes dx.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/ops/batch_norm.h"
#include "tests/reference/batch_norm.h"

namespace lockstep::inline v0_1 {
namespace {

struct Shape4 {
  const char* name;
  int64_t samples, rows_per_sample, channels;
};

// The shapes of the peers' programs.
constexpr Shape4 kShapes[] = {
    {"bn2d_nhwc_32x256x56", 32, 56 * 56, 256},
    {"bn2d_nhwc_128x16x32", 128, 32 * 32, 16},
    {"bn2d_nhwc_16x64x8", 16, 8 * 8, 64},
    {"bn1d_4096x1024", 4096, 1, 1024},
    {"bn1d_256x64", 256, 1, 64},
};

constexpr double kEps = 1e-5;
constexpr int64_t kShards = 1;

// Memory as the engine's arena has it: aligned, in huge pages where the system gives them.
class Floats {
 public:
  explicit Floats(int64_t count) {
    constexpr size_t kHugePage = size_t{2} << 20;
    const size_t bytes =
        (static_cast<size_t>(count) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
    data_.reset(static_cast<float*>(std::aligned_alloc(kHugePage, bytes)));
    madvise(data_.get(), bytes, MADV_HUGEPAGE);
    std::fill_n(data_.get(), bytes / sizeof(float), 0.0f);
  }
  float* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
};

struct Problem {
  Problem(const Shape4& shape, bool with_relu, int threads)
      : context({.threads = threads}),
        channels(shape.channels),
        grid(shape.samples, shape.rows_per_sample, kShards),
        relu(with_relu),
        partials(static_cast<size_t>(ops::MomentPartialsSize(grid.blocks(), channels))) {
    Random random(1, StreamOf("bench"));
    for (Floats* f : {&x, &dy}) Fill(random, size(), *f);
    for (Floats* f : {&gamma, &beta}) Fill(random, channels, *f);
  }

  static void Fill(Random& random, int64_t count, Floats& to) {
    for (int64_t i = 0; i < count; ++i) {
      to.get()[i] = static_cast<float>(random.Word()) * 0x1p-31f - 1.0f;
    }
  }

  int64_t size() const { return grid.rows() * channels; }

  void Forward() {
    ops::BatchNormForward(
        context, grid, channels, kEps,
        {.x = x.get(),
         .affine = {.gamma = gamma.get(), .beta = beta.get()},
         .epilogue = {.activation = Act()},
         .y = y.get()},
        {.mean = mean.get(), .mean_low = mean_low.get(), .inv_std = inv_std.get()},
        partials.data());
  }

  void Backward() {
    ops::BatchNormBackward(
        context, grid, channels,
        {.x = x.get(),
         .dy = dy.get(),
         .affine = {mean.get(), mean_low.get(), inv_std.get(), gamma.get(), beta.get()},
         .activation = Act(),
         .dx = dx.get(),
         .dgamma = dgamma.get(),
         .dbeta = dbeta.get()},
        partials.data(), means.get());
  }

  kernels::Activation Act() const {
    return relu ? kernels::Activation::kRelu : kernels::Activation::kNone;
  }

  // Forward and backward against the reference, on every kStep-th channel of the large shapes.
  std::string Check() {
    Forward();
    Backward();
    const int64_t step = size() > (int64_t{1} << 20) ? std::max<int64_t>(1, channels / 2) : 1;
    for (int64_t c = 0; c < channels; c += step) {
      std::vector<float> x_column, dy_column;
      const auto passed = std::make_unique<bool[]>(static_cast<size_t>(grid.rows()));
      for (int64_t r = 0; r < grid.rows(); ++r) {
        x_column.push_back(x.get()[r * channels + c]);
        dy_column.push_back(dy.get()[r * channels + c]);
        passed[static_cast<size_t>(r)] = y.get()[r * channels + c] > 0.0f;
      }
      const float* g = gamma.get() + c;
      const auto want = reference::BatchNorm<double, float>(
          x_column.data(), nullptr, g, beta.get() + c, grid.rows(), 1, kEps, relu);
      const auto d = reference::BatchNormBackward<double, float>(
          x_column.data(), relu ? passed.get() : nullptr, dy_column.data(), want.mean.data(),
          want.inv_std.data(), g, grid.rows(), 1, /*training=*/true);
      // Sums of R terms of size 1 in double above tiles of 32; y and dx are of size 1.
      const double sum_tolerance = 1e-6 * static_cast<double>(grid.rows());
      if (!(std::abs(dgamma.get()[c] - d.dgamma[0]) <= sum_tolerance)) return "dgamma is wrong";
      if (!(std::abs(dbeta.get()[c] - d.dbeta[0]) <= sum_tolerance)) return "dbeta is wrong";
      for (int64_t r = 0; r < grid.rows(); ++r) {
        const auto i = static_cast<size_t>(r);
        if (!(std::abs(y.get()[r * channels + c] - want.y[i]) <= 1e-5)) return "y is wrong";
        if (!(std::abs(dx.get()[r * channels + c] - d.dx[i]) <= 1e-5)) return "dx is wrong";
      }
    }
    return "";
  }

  Context context;
  int64_t channels;
  RowGrid grid;
  bool relu;
  Floats x{size()}, y{size()}, dy{size()}, dx{size()};
  Floats gamma{channels}, beta{channels}, dgamma{channels}, dbeta{channels};
  Floats mean{channels}, mean_low{channels}, inv_std{channels}, means{2 * channels};
  std::vector<double> partials;
};

enum class Part { kForward, kBackward, kBoth };

void Run(benchmark::State& state, const Shape4& shape, bool relu, Part part, int threads) {
  Problem problem(shape, relu, threads);
  if (const std::string wrong = problem.Check(); !wrong.empty()) {
    state.SkipWithError(wrong.c_str());
    return;
  }
  for (auto _ : state) {
    if (part != Part::kBackward) problem.Forward();
    if (part != Part::kForward) problem.Backward();
  }
  const int64_t passes = part == Part::kForward ? 3 : part == Part::kBackward ? 5 : 8;
  state.SetBytesProcessed(state.iterations() * passes * problem.size() *
                          static_cast<int64_t>(sizeof(float)));
}

const bool kRegistered = [] {
  for (const Shape4& shape : kShapes) {
    for (const bool relu : {false, true}) {
      for (const auto& [part, suffix] : {std::pair{Part::kForward, "_fwd"},
                                         {Part::kBackward, "_bwd"},
                                         {Part::kBoth, "_fwdbwd"}}) {
        for (const int threads : {1, 2}) {
          const std::string name = std::string("op/") + shape.name + (relu ? "_relu" : "") +
                                   suffix + "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), [shape, relu, part = part,
                                                      threads](benchmark::State& state) {
            Run(state, shape, relu, part, threads);
          })->UseRealTime();
        }
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
