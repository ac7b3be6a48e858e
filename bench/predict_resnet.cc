// One picture at a time through ResNet-18 at 224 x 224 pixels: predict/resnet18_b1/threads:N. One
// iteration is one prediction of 1000 logits; p50 and p99, in milliseconds, are of the iterations.
// The logits are checked before against those of the network in which nothing is fused.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/network.h"
#include "models/resnet.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kClasses = 1000;
const Shape kInput{1, 224, 224, 3}, kOutput{1, kClasses};
using Clock = std::chrono::steady_clock;

Result<Network> Bind(Context& ctx, Fusion fusion) {
  return Network::Bind(ctx, ResNet18(kClasses), {.input = kInput, .seed = 1, .fusion = fusion});
}

// Both sum the same terms in other orders: 21 layers of at most 4608 each round by less than 21 x
// sqrt(4608) x 6e-8 = 1e-4 of the largest; a fault is of the size of a logit.
bool Near(const std::vector<float>& got, const std::vector<float>& want) {
  float largest = 0.0f;
  for (const float v : want) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < got.size(); ++i) {
    if (!(std::abs(got[i] - want[i]) <= 1e-3f * largest)) return false;
  }
  return true;
}

void Predict(benchmark::State& state, int threads) {
  Context ctx({.threads = threads});
  Result<Network> net = Bind(ctx, Fusion::kAll);
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());
  Random random(1, StreamOf("bench"));
  std::vector<float> x(static_cast<size_t>(kInput.size()));
  for (float& v : x) v = static_cast<float>(random.Normal());
  std::vector<float> y(static_cast<size_t>(kClasses)), plain(y.size());
  const ConstTensor input(x.data(), kInput);
  {
    Result<Network> unfused = Bind(ctx, Fusion::kNone);
    if (!unfused.ok() || !unfused->Predict(input, Tensor(plain.data(), kOutput)).ok() ||
        !net->Predict(input, Tensor(y.data(), kOutput)).ok() || !Near(y, plain)) {
      return state.SkipWithError("the logits are wrong");
    }
  }

  constexpr int kWarmUp = 5;
  for (int i = 0; i < kWarmUp; ++i)
    benchmark::DoNotOptimize(net->Predict(input, Tensor(y.data(), kOutput)).ok());

  std::vector<double> ms;
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    const Status status = net->Predict(input, Tensor(y.data(), kOutput));
    benchmark::DoNotOptimize(status.ok());
    benchmark::ClobberMemory();
    ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  std::sort(ms.begin(), ms.end());
  const auto at = [&](double share) {
    return ms[static_cast<size_t>(share * static_cast<double>(ms.size()))];
  };
  state.counters["p50"] = at(0.5);
  state.counters["p99"] = at(0.99);
  state.counters["MB"] = static_cast<double>(net->bytes()) / 1e6;
}

const bool kRegistered = [] {
  for (const int threads : {1, 2}) {
    const std::string name = "predict/resnet18_b1/threads:" + std::to_string(threads);
    benchmark::RegisterBenchmark(name.c_str(), Predict, threads)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
