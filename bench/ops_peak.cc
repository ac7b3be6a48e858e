// The machine's own limits, in the same run as the operations that are held against them:
//   op/peak_fma/threads:N       fused multiply-adds in registers (a multiply-add counts as two)
//   op/stream_triad/threads:N   a[i] = b[i] + 3 c[i] over 3 x 64 MB, 12 bytes for each element
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/kernels/product/peak.h"
#include "engine/parallel/context.h"

namespace lockstep {
namespace {

void PeakFma(benchmark::State& state, int threads) {
  Context context({.threads = threads});
  constexpr int64_t kRounds = 200000;  // 0.3 ms: forking and joining do not count
  std::vector<kernels::Peak> peaks(static_cast<size_t>(threads));
  const auto run = [&] {
    context.For(threads, kRounds * threads, [&](int64_t task) {
      peaks[static_cast<size_t>(task)] = kernels::PeakMultiplyAdds(kRounds, 0.5f, 1.0f);
    });
  };
  run();
  int64_t operations = 0;
  for (const kernels::Peak& peak : peaks) {
    operations += peak.operations;
    if (peak.mean != 2.0f) state.SkipWithError("x = x / 2 + 1 did not tend to 2");
  }
  for (auto _ : state) run();
  state.counters["gflops"] = benchmark::Counter(static_cast<double>(operations) * 1e-9,
                                                benchmark::Counter::kIsIterationInvariantRate);
}

void StreamTriad(benchmark::State& state, int threads) {
  Context context({.threads = threads});
  constexpr int64_t kCount = int64_t{1} << 24;
  constexpr int64_t kChunk = int64_t{1} << 16;
  std::vector<float> a(kCount), b(kCount), c(kCount);
  const auto chunks = [&](auto body) {
    context.For(kCount / kChunk, kCount, [&](int64_t chunk) {
      const auto begin = static_cast<size_t>(chunk * kChunk);
      body(a.data() + begin, b.data() + begin, c.data() + begin);
    });
  };
  chunks([](float* x, float* y, float* z) {
    std::fill_n(x, kChunk, 0.0f), std::fill_n(y, kChunk, 1.0f), std::fill_n(z, kChunk, 2.0f);
  });
  const auto run = [&] {
    chunks([](float* __restrict x, const float* __restrict y, const float* __restrict z) {
      for (int64_t i = 0; i < kChunk; ++i) x[i] = y[i] + 3.0f * z[i];
    });
  };
  run();
  if (std::any_of(a.begin(), a.end(), [](float x) { return x != 7.0f; })) {
    state.SkipWithError("1 + 3 * 2 is not 7");
  }
  for (auto _ : state) {
    run();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kCount * 12);
}

const bool kRegistered = [] {
  for (const int threads : {1, 2}) {
    const std::string suffix = "/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(("op/peak_fma" + suffix).c_str(), PeakFma, threads)->UseRealTime();
    benchmark::RegisterBenchmark(("op/stream_triad" + suffix).c_str(), StreamTriad, threads)
        ->UseRealTime();
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
