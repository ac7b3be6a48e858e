// One prediction at a time, as a program that embeds the engine makes it:
// op/predict_clinical/c, /cpp. One iteration is one sample through the clinical MLP (20-64-BN-ReLU-
// 32-BN-ReLU-1) on one thread. p50, p99 and p999, in nanoseconds, are of a million calls that are
// timed one by one, and hold what reading the clock takes, which is `clock`.
#include <benchmark/benchmark.h>
#include <lockstep.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/network.h"
#include "models/mlp.h"

namespace lockstep {
namespace {

constexpr int64_t kInputs = 20, kRows = 1024;
constexpr int64_t kTimed = 1'000'000;

std::vector<float> Rows() {
  Random random(1, StreamOf("bench"));
  std::vector<float> x(static_cast<size_t>(kRows * kInputs));
  for (float& v : x) v = static_cast<float>(random.Normal());
  return x;
}

template <class Call>
std::vector<int32_t> TimeEach(Call&& call) {
  using Clock = std::chrono::steady_clock;
  std::vector<int32_t> nanoseconds(static_cast<size_t>(kTimed));
  for (int64_t i = 0; i < kTimed; ++i) {
    const Clock::time_point start = Clock::now();
    call(i % kRows);
    const auto taken = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start);
    nanoseconds[static_cast<size_t>(i)] = static_cast<int32_t>(taken.count());
  }
  std::sort(nanoseconds.begin(), nanoseconds.end());
  return nanoseconds;
}

template <class Call>
void Measure(benchmark::State& state, Call&& call) {
  int64_t row = 0;
  for (auto _ : state) {
    call(row);
    row = (row + 1) % kRows;
  }
  const std::vector<int32_t> sorted = TimeEach(call);
  const auto at = [&](double share) {
    return static_cast<double>(sorted[static_cast<size_t>(share * kTimed)]);
  };
  state.counters["p50"] = at(0.5);
  state.counters["p99"] = at(0.99);
  state.counters["p999"] = at(0.999);
  const std::vector<int32_t> clock = TimeEach([](int64_t) {});
  state.counters["clock"] = clock[clock.size() / 2];
}

void PredictFromC(benchmark::State& state) {
  lockstep_options options{};
  options.threads = 1;
  options.inputs = kInputs;
  options.predict_only = 1;
  options.batch = 1;
  lockstep_model* model = nullptr;
  char why[256];
  if (lockstep_create_from_text("", &options, &model, why, sizeof(why)) != LOCKSTEP_OK)
    return state.SkipWithError(why);
  const std::vector<float> x = Rows();
  float y = 0.0f;
  Measure(state, [&](int64_t row) {
    lockstep_predict(model, 1, x.data() + row * kInputs, &y);
    benchmark::DoNotOptimize(y);
  });
  lockstep_destroy(model);
}

void PredictFromCpp(benchmark::State& state) {
  Context ctx({.threads = 1});
  Result<Network> net =
      Network::Bind(ctx, Mlp({.hidden = {64, 32}, .outputs = 1}), {.input = {1, kInputs}});
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());
  const std::vector<float> x = Rows();
  float y = 0.0f;
  Measure(state, [&](int64_t row) {
    const Status status =
        net->Predict(ConstTensor(x.data() + row * kInputs, {1, kInputs}), Tensor(&y, {1, 1}));
    benchmark::DoNotOptimize(status.ok());
    benchmark::DoNotOptimize(y);
  });
}

BENCHMARK(PredictFromC)->Name("op/predict_clinical/c");
BENCHMARK(PredictFromCpp)->Name("op/predict_clinical/cpp");

}  // namespace
}  // namespace lockstep
