// Matrix products: op/gemm_MxNxK_fp32[_bwd_dx|_bwd_dw]/threads:N.
//   (none)     Y (M, N) = X (M, K) W (N, K)^T
//   _bwd_dx    dX (M, K) = dY (M, N) W
//   _bwd_dw    dW (N, K) = dY^T X; _bwd_dw8 with the batch in 8 shards
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/ops/product.h"
#include "engine/parallel/context.h"
#include "tests/reference/gemm.h"

namespace lockstep::inline v0_1 {
namespace {

using kernels::RowMajor;

// Memory as the engine's arena has it: aligned, in huge pages where the system gives them.
struct Floats {
  explicit Floats(int64_t count, uint64_t seed = 0) {
    constexpr size_t kHugePage = size_t{2} << 20;
    const size_t bytes =
        (static_cast<size_t>(count) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
    data.reset(static_cast<float*>(std::aligned_alloc(kHugePage, bytes)));
    madvise(data.get(), bytes, MADV_HUGEPAGE);
    std::fill_n(data.get(), bytes / sizeof(float), 0.0f);
    if (seed == 0) return;
    Random random(seed, StreamOf("bench"));
    for (int64_t i = 0; i < count; ++i) {
      data.get()[i] = static_cast<float>(random.Word()) * 0x1p-31f - 1.0f;
    }
  }
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data;
};

enum class Kind { kForward, kInputGradient, kWeightGradient, kShardedWeightGradient };

struct Case {
  int64_t m, n, k;
  Kind kind;
};

void Run(benchmark::State& state, const Case& shape, int threads) {
  const auto [m, n, k, kind] = shape;
  Context context({.threads = threads});
  const Floats x(m * k, 1), w(n * k, 2), y(m * n, 3), result(std::max({m * n, m * k, n * k}));
  ops::ProductArgs args;
  std::vector<int64_t> shards;
  switch (kind) {
    case Kind::kForward:
      args = {.m = m,
              .n = n,
              .k = k,
              .a = RowMajor(x.data.get(), k),
              .b = RowMajor(w.data.get(), k).Transposed(),
              .c_stride = n};
      break;
    case Kind::kInputGradient:
      args = {.m = m,
              .n = k,
              .k = n,
              .a = RowMajor(y.data.get(), n),
              .b = RowMajor(w.data.get(), k),
              .c_stride = k};
      break;
    default:
      args = {.m = n,
              .n = k,
              .k = m,
              .a = RowMajor(y.data.get(), n).Transposed(),
              .b = RowMajor(x.data.get(), k),
              .c_stride = k};
      if (kind == Kind::kWeightGradient) break;
      for (int64_t s = 0; s <= 8; ++s) shards.push_back(m * s / 8);
      args.segments = shards;
  }
  args.c = result.data.get();
  const int64_t floats =
      ops::ProductScratch(threads, args.m, args.n, args.k, static_cast<int64_t>(shards.size()));
  const Floats scratch(floats);
  const auto run = [&] {
    ops::Product(context, args, {scratch.data.get(), static_cast<size_t>(floats)});
  };
  run();
  // About a thousand elements, against double; an error of one rounding for each term of size 1.
  const int64_t stride = std::max<int64_t>(1, args.m * args.n / 1000);
  for (int64_t at = 0; at < args.m * args.n; at += stride) {
    const double want =
        reference::GemmChain<double>(args.a, args.b, at / args.n, at % args.n, 0, args.k);
    if (!(std::abs(args.c[at] - want) <= 6e-8 * static_cast<double>(args.k))) {
      state.SkipWithError("wrong result");
      return;
    }
  }
  for (auto _ : state) run();
  state.counters["gflops"] =
      benchmark::Counter(2e-9 * static_cast<double>(m) * static_cast<double>(n * k),
                         benchmark::Counter::kIsIterationInvariantRate);
}

void Register(const Case& shape, const std::string& suffix) {
  for (const int threads : {1, 2}) {
    const std::string name = "op/gemm_" + std::to_string(shape.m) + "x" + std::to_string(shape.n) +
                             "x" + std::to_string(shape.k) + "_fp32" + suffix +
                             "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(name.c_str(), Run, shape, threads)->UseRealTime();
  }
}

const bool kRegistered = [] {
  // The shapes of the peers' programs.
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1024, 1024, 1024},
                                {2048, 2048, 2048},
                                {256, 2048, 784},
                                {256, 2048, 2048},
                                {512, 256, 256},
                                {2048, 1536, 384},
                                {256, 50304, 768},
                                {64, 64, 64},
                                {32, 64, 20}}) {
    Register({m, n, k, Kind::kForward}, "");
  }
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{256, 2048, 784}, {256, 2048, 2048}, {512, 256, 256}, {32, 64, 20}}) {
    Register({m, n, k, Kind::kInputGradient}, "_bwd_dx");
    Register({m, n, k, Kind::kWeightGradient}, "_bwd_dw");
    Register({m, n, k, Kind::kShardedWeightGradient}, "_bwd_dw8");
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
