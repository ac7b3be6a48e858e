// The least time that the machine's own limits allow a training step, so that a step's speed can be
// read as a share of it.
//
//   floor = operations / peak_fma + bytes / stream_peak      both at as many threads as the step
//
//   operations   of each product of R rows, N outputs and K inputs: 2 R N K forward, as many for
//                dW, and as many for dX except in the first layer that has parameters, whose dX
//                nobody wants. Attention is two products forward, of queries with keys and of
//                weights with values, each pair of tokens that see each other counted once, and
//                four backward. Norms, activations and the loss count nothing: they can ride on the
//                products.
//   bytes        of each parameter: its gradient is written once (4 bytes), and the optimizer reads
//                and writes
//                  SGD with momentum   g, p, m -> p, m            20
//                  AdamW               g, p, m, v -> p, m, v      28
//                Activations count nothing, nor do the weights that products read: a schedule can
//                be thought of that keeps either in cache.
//
// A network whose parameters, gradients and states stay in the caches from step to step (16 MB of
// them where the last-level cache has 32) need not move them through memory at all. There the
// second part is too large, but then it is small beside the first one, except in the smallest
// networks. Ways to multiply with fewer operations (Strassen, Winograd) would lower the first part;
// they are not used here.
#ifndef LOCKSTEP_BENCH_FLOOR_H_
#define LOCKSTEP_BENCH_FLOOR_H_

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <map>

#include "tools/scale/peaks.h"

namespace lockstep::inline v0_1::bench {

struct StepCost {
  double operations = 0.0;
  double bytes = 0.0;

  void AddProduct(int64_t rows, int64_t outputs, int64_t inputs, bool wants_dx) {
    operations += (wants_dx ? 6.0 : 4.0) * static_cast<double>(rows) *
                  static_cast<double>(outputs) * static_cast<double>(inputs);
  }
  // Causal, of `width` channels in all heads: each token sees itself and those before it.
  void AddAttention(int64_t batch, int64_t length, int64_t width) {
    const int64_t pairs = length * (length + 1) / 2;
    operations += 12.0 * static_cast<double>(batch * pairs) * static_cast<double>(width);
  }
  void AddSgdMomentum(int64_t parameters) { bytes += 24.0 * static_cast<double>(parameters); }
  void AddAdamW(int64_t parameters) { bytes += 32.0 * static_cast<double>(parameters); }
};

// The limits, measured when a number of threads is first asked for: once in a run, and again when a
// step was faster than they allow.
class Floors {
 public:
  // In seconds.
  double Of(const StepCost& cost, int threads) {
    scale::Peaks& peaks = peaks_[threads];
    if (peaks.operations_per_second == 0.0) Measure(threads);
    return cost.operations / peaks.operations_per_second + cost.bytes / peaks.bytes_per_second;
  }

  void Measure(int threads) {
    scale::Peaks& peaks = peaks_[threads];
    const scale::Peaks now = scale::MeasurePeaks(threads);
    peaks.operations_per_second = std::max(peaks.operations_per_second, now.operations_per_second);
    peaks.bytes_per_second = std::max(peaks.bytes_per_second, now.bytes_per_second);
  }

  // After the loop of a benchmark whose iterations are steps: the counters floor_ms, and of_floor
  // (1: at the floor). `seconds`: what the loop took.
  void Report(benchmark::State& state, const StepCost& cost, int threads, double seconds) {
    const auto steps = static_cast<double>(state.iterations());
    if (seconds < steps * Of(cost, threads)) Measure(threads);
    const double floor = Of(cost, threads);
    state.counters["floor_ms"] = floor * 1e3;
    state.counters["of_floor"] = floor * steps / seconds;
  }

 private:
  std::map<int, scale::Peaks> peaks_;
};

}  // namespace lockstep::bench

#endif  // LOCKSTEP_BENCH_FLOOR_H_
