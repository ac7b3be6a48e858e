// One prediction at a time, as a program that embeds the engine makes it. One iteration is one sample
// through the clinical MLP (20-64-BN-ReLU-32-BN-ReLU-1):
//   op/predict_clinical/c                  a model of the C interface, one thread
//   op/predict_clinical/cpp/1, /2          Network::Predict on a Context of so many threads
//   op/predict_clinical/shared/threads:N   one SharedPredictor, N threads with a worker each;
//                                          items_per_second are of all together
//   op/predict_clinical/shared_c/threads:N the same by the C interface
// p50, p99 and p999, in nanoseconds, are of a million calls on each thread that are timed one by
// one (means over the threads), and hold what reading the clock takes, which is `clock`. Every row's
// prediction is checked before.
#include <benchmark/benchmark.h>
#include <lockstep.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/network.h"
#include "engine/train/shared_predictor.h"
#include "models/mlp.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kInputs = 20, kRows = 1024;
constexpr int64_t kTimed = 1'000'000;

std::vector<float> Rows() {
  Random random(1, StreamOf("bench"));
  std::vector<float> x(static_cast<size_t>(kRows * kInputs));
  for (float& v : x) v = static_cast<float>(random.Normal());
  return x;
}

Result<Network> Clinical(Context& ctx) {
  // The seed of a recipe that names none.
  return Network::Bind(ctx, Mlp({.hidden = {64, 32}, .outputs = 1}),
                       {.input = {1, kInputs}, .seed = 1});
}

// The logit of one row, in double, as the layers are defined. A batch norm that has seen nothing
// has mean 0, variance 1, and neither scales nor shifts.
double Reference(const Network& net, const float* row) {
  const ConstParameterSet set = net.parameters();
  std::vector<double> x(row, row + kInputs);
  for (const int layer : {0, 3, 6}) {
    ConstTensor weight, bias;
    for (size_t i = 0; i < set.infos.size(); ++i) {
      if (set.infos[i].name == std::to_string(layer) + ".weight") weight = set.value(i);
      if (set.infos[i].name == std::to_string(layer) + ".bias") bias = set.value(i);
    }
    std::vector<double> y;
    for (int64_t o = 0; o < bias.shape().size(); ++o) {
      double sum = bias.f32()[o];
      for (size_t k = 0; k < x.size(); ++k) {
        sum += static_cast<double>(
                   weight.f32()[o * static_cast<int64_t>(x.size()) + static_cast<int64_t>(k)]) *
               x[k];
      }
      y.push_back(layer == 6 ? sum : std::max(0.0, sum / std::sqrt(1.0 + 1e-5)));
    }
    x = y;
  }
  return x[0];
}

// A fault is at least of the size of a weight, 0.1; three layers of sums of at most 64 terms round
// by less than a hundred times 6e-8.
bool Near(float got, double want) { return std::abs(static_cast<double>(got) - want) <= 1e-5; }

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
  const auto mean = [](double nanoseconds) {
    return benchmark::Counter(nanoseconds, benchmark::Counter::kAvgThreads);
  };
  const auto at = [&](double share) {
    return mean(static_cast<double>(sorted[static_cast<size_t>(share * kTimed)]));
  };
  state.counters["p50"] = at(0.5);
  state.counters["p99"] = at(0.99);
  state.counters["p999"] = at(0.999);
  const std::vector<int32_t> clock = TimeEach([](int64_t) {});
  state.counters["clock"] = mean(clock[clock.size() / 2]);
  state.SetItemsProcessed(state.iterations());
}

// A model of the C interface, checked; null where that failed, which the state then says.
struct Destroy {
  void operator()(lockstep_model* model) const { lockstep_destroy(model); }
  void operator()(lockstep_predictor* predictor) const { lockstep_predictor_destroy(predictor); }
  void operator()(lockstep_worker* worker) const { lockstep_worker_destroy(worker); }
};
std::unique_ptr<lockstep_model, Destroy> ModelOfC(std::string& why) {
  lockstep_options options{};
  options.threads = 1;
  options.inputs = kInputs;
  options.predict_only = 1;
  options.batch = 1;
  lockstep_model* model = nullptr;
  why.resize(256);
  if (lockstep_create_from_text("", &options, &model, why.data(), why.size()) != LOCKSTEP_OK)
    return nullptr;
  std::unique_ptr<lockstep_model, Destroy> made(model);
  const std::vector<float> x = Rows();
  float y = 0.0f;
  Context ctx({.threads = 1});
  const Result<Network> net = Clinical(ctx);
  if (!net.ok()) return why = net.status().message(), nullptr;
  for (int64_t row = 0; row < kRows; ++row) {
    lockstep_predict(model, 1, x.data() + row * kInputs, &y);
    if (!Near(y, 1.0 / (1.0 + std::exp(-Reference(*net, x.data() + row * kInputs)))))
      return why = "the probability is wrong", nullptr;
  }
  return made;
}

void PredictFromC(benchmark::State& state) {
  std::string why;
  const auto model = ModelOfC(why);
  if (model == nullptr) return state.SkipWithError(why.c_str());
  const std::vector<float> x = Rows();
  float y = 0.0f;
  Measure(state, [&](int64_t row) {
    lockstep_predict(model.get(), 1, x.data() + row * kInputs, &y);
    benchmark::DoNotOptimize(y);
  });
}

void PredictFromCpp(benchmark::State& state) {
  Context ctx({.threads = static_cast<int>(state.range(0))});
  Result<Network> net = Clinical(ctx);
  if (!net.ok()) return state.SkipWithError(net.status().message().c_str());
  const std::vector<float> x = Rows();
  float y = 0.0f;
  for (int64_t row = 0; row < kRows; ++row) {
    const ConstTensor input(x.data() + row * kInputs, {1, kInputs});
    if (!net->Predict(input, Tensor(&y, {1, 1})).ok() || !Near(y, Reference(*net, input.f32()))) {
      return state.SkipWithError("the logit is wrong");
    }
  }
  Measure(state, [&](int64_t row) {
    const Status status =
        net->Predict(ConstTensor(x.data() + row * kInputs, {1, kInputs}), Tensor(&y, {1, 1}));
    benchmark::DoNotOptimize(status.ok());
    benchmark::DoNotOptimize(y);
  });
}

// Made once, by the first thread that comes.
const Result<SharedPredictor>& Shared() {
  static const Result<SharedPredictor> predictor = []() -> Result<SharedPredictor> {
    Context ctx({.threads = 1});
    LOCKSTEP_TRY_ASSIGN(const Network net, Clinical(ctx));
    return SharedPredictor::Make(net, 1);
  }();
  return predictor;
}

void PredictShared(benchmark::State& state) {
  if (!Shared().ok()) return state.SkipWithError(Shared().status().message().c_str());
  Result<SharedPredictor::Worker> worker = Shared()->MakeWorker();
  Context ctx({.threads = 1});
  const Result<Network> net = Clinical(ctx);
  if (!worker.ok() || !net.ok()) return state.SkipWithError("no worker");
  const std::vector<float> x = Rows();
  float y = 0.0f;
  const auto run = [&](int64_t row) {
    return worker->Run(ConstTensor(x.data() + row * kInputs, {1, kInputs}), Tensor(&y, {1, 1}));
  };
  for (int64_t row = 0; row < kRows; ++row) {
    if (!run(row).ok() || !Near(y, Reference(*net, x.data() + row * kInputs)))
      return state.SkipWithError("the logit is wrong");
  }
  Measure(state, [&](int64_t row) {
    benchmark::DoNotOptimize(run(row).ok());
    benchmark::DoNotOptimize(y);
  });
}

const lockstep_predictor* SharedOfC() {
  static const std::unique_ptr<lockstep_predictor, Destroy> predictor = [] {
    std::string why;
    lockstep_predictor* made = nullptr;
    lockstep_predictor_create(ModelOfC(why).get(), 0, &made, nullptr, 0);
    return std::unique_ptr<lockstep_predictor, Destroy>(made);
  }();
  return predictor.get();
}

void PredictSharedFromC(benchmark::State& state) {
  lockstep_worker* made = nullptr;
  char why[256];
  if (lockstep_worker_create(SharedOfC(), &made, why, sizeof(why)) != LOCKSTEP_OK)
    return state.SkipWithError(why);
  const std::unique_ptr<lockstep_worker, Destroy> worker(made);
  const std::vector<float> x = Rows();
  float y = 0.0f;
  Measure(state, [&](int64_t row) {
    lockstep_worker_predict(worker.get(), 1, x.data() + row * kInputs, &y);
    benchmark::DoNotOptimize(y);
  });
}

BENCHMARK(PredictFromC)->Name("op/predict_clinical/c");
BENCHMARK(PredictFromCpp)->Name("op/predict_clinical/cpp")->Arg(1)->Arg(2);
BENCHMARK(PredictShared)
    ->Name("op/predict_clinical/shared")
    ->Threads(1)
    ->Threads(2)
    ->Threads(8)
    ->UseRealTime();
BENCHMARK(PredictSharedFromC)
    ->Name("op/predict_clinical/shared_c")
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime();

}  // namespace
}  // namespace lockstep
