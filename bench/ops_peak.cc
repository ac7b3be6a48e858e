// The machine's own limits, in the same run as the operations that are held against them. The rates
// are means, as everyone else's; best_... is the best sample's, which a busy machine lowers least.
//   op/peak_fma/threads:N       fused multiply-adds in registers (a multiply-add counts as two)
//   op/stream_peak/threads:N    the best of reading, updating in place and a triad with streaming
//                               stores, over arrays far beyond the caches; the label says which.
//                               Bytes really moved, so nothing that works on whole arrays can be
//                               faster
//   op/stream_triad/threads:N   a[i] = b[i] + 3 c[i] over 3 x 64 MB as a compiler writes it, 12
//                               bytes for each element (and 4 more moved: a line is read before it
//                               is written)
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/parallel/context.h"
#include "tools/scale/peaks.h"

namespace lockstep::inline v0_1 {
namespace {

void PeakFma(benchmark::State& state, int threads) {
  Context context({.threads = threads});
  scale::FmaPeak peak(context);
  if (const std::string wrong = peak.Check(); !wrong.empty()) state.SkipWithError(wrong.c_str());
  int64_t operations = 0;
  double best = 0.0;
  for (auto _ : state) {
    operations += scale::RateOf([&] { return peak.Run(); }, best);
  }
  state.counters["gflops"] =
      benchmark::Counter(static_cast<double>(operations) * 1e-9, benchmark::Counter::kIsRate);
  state.counters["best_gflops"] = best * 1e-9;
}

void StreamPeak(benchmark::State& state, int threads) {
  Context context({.threads = threads});
  scale::StreamPeak peak(context);
  if (const std::string wrong = peak.Check(); !wrong.empty()) state.SkipWithError(wrong.c_str());
  scale::StreamPeak::Best best = peak.FindBest();
  int64_t bytes = 0;
  for (auto _ : state) {
    bytes += scale::RateOf([&] { return peak.Run(best.way); }, best.bytes_per_second);
  }
  state.SetLabel(scale::StreamPeak::Name(best.way));
  state.SetBytesProcessed(bytes);
  state.counters["best_GB/s"] = best.bytes_per_second * 1e-9;
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
    benchmark::RegisterBenchmark(("op/stream_peak" + suffix).c_str(), StreamPeak, threads)
        ->UseRealTime();
    benchmark::RegisterBenchmark(("op/stream_triad" + suffix).c_str(), StreamTriad, threads)
        ->UseRealTime();
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
