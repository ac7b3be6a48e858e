// Updates of parameters, by what they move from and to memory:
//   op/adamw_124m/threads:N        28 bytes for each parameter: p, g, m, v read, p, m, v written
//   op/sgd_momentum_124m/threads:N 20 bytes: p, g, b read, p, b written
//   op/grad_norm_124m/threads:N    4 bytes
//   op/adamw_clinical/threads:N    the 3.5 thousand parameters of the clinical MLP, in cache
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/optim/clip.h"
#include "engine/optim/sgd.h"
#include "engine/parallel/context.h"
#include "engine/plan/parameters.h"
#include "tests/reference/optimizer.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr float kStart = 0.5f;
constexpr double kRate = 1e-3;

void Add(ParameterStore& store, const std::string& name, const Shape& shape, Decay decay) {
  // Names are distinct, so nothing can fail.
  (void)store.AddParameter(name, shape, Init::Constant(kStart), decay, /*frozen=*/false).value();
}

void AddLayer(ParameterStore& store, const std::string& layer, const Shape& weight, Decay decay) {
  Add(store, layer + ".weight", weight, decay);
  Add(store, layer + ".bias", {weight[0]}, Decay::kNo);
}

void Clinical(ParameterStore& store) {
  AddLayer(store, "0", {64, 20}, Decay::kYes);
  AddLayer(store, "1", {64}, Decay::kNo);
  AddLayer(store, "3", {32, 64}, Decay::kYes);
  AddLayer(store, "4", {32}, Decay::kNo);
  AddLayer(store, "6", {1, 32}, Decay::kYes);
}

void Large(ParameterStore& store) { Add(store, "weight", {124'000'000}, Decay::kYes); }

using Model = void (*)(ParameterStore&);

// In (-1, 1) and never zero; a hash, because random numbers for 124 million take seconds.
void DrawGradients(Context& ctx, const ParameterSet& set) {
  ctx.For(static_cast<int64_t>(set.infos.size()), 0, [&](int64_t task) {
    uint32_t hash = 1;
    for (float& g : set.gradient(static_cast<size_t>(task)).span<float>()) {
      hash = hash * 1664525 + 1013904223;
      g = (static_cast<float>(hash >> 8) + 0.5f) * 0x1p-23f - 1.0f;
    }
  });
}

// After one update: every hundredth element against the formula, in double.
bool IsRight(const ParameterSet& set, bool is_adam, double weight_decay) {
  for (size_t i = 0; i < set.infos.size(); ++i) {
    const double decay = set.infos[i].decay == Decay::kYes ? weight_decay : 0.0;
    const auto keep = static_cast<float>(1.0 - kRate * decay);
    const kernels::AdamFactors adam{.one_minus_beta1 = 0.1f,
                                    .beta2 = 0.999f,
                                    .one_minus_beta2 = 0.001f,
                                    .step_size = static_cast<float>(kRate / 0.1),
                                    .inv_sqrt_correction2 = std::sqrt(1000.0f),
                                    .eps = 1e-8f,
                                    .keep = keep};
    const kernels::SgdFactors sgd{.learning_rate = kRate,
                                  .weight_decay = static_cast<float>(decay)};
    for (int64_t k = 0; k < set.infos[i].shape.size(); k += 100) {
      double p = kStart, m = 0.0, v = 0.0;
      const double g = set.gradient(i).f32()[k];
      if (is_adam) {
        reference::Adam<double>(adam, g, p, m, v, nullptr);
      } else {
        reference::Sgd<double>(sgd, g, p, nullptr);
      }
      if (!(std::abs(set.value(i).f32()[k] - p) <= 1e-6 * kStart)) return false;
    }
  }
  return true;
}

template <class Made>
void Update(benchmark::State& state, Model model, Made optimizer, double weight_decay,
            int64_t bytes, int threads) {
  Context ctx({.threads = threads});
  ParameterStore store;
  model(store);
  store.Allocate(ctx, /*seed=*/1, /*training=*/true);
  const ParameterSet set = store.ParametersToWrite();
  DrawGradients(ctx, set);
  bool ok = optimizer.Bind(ctx, set).ok() && optimizer.Update(ctx, set, kRate).ok();
  if (!ok || !IsRight(set, optimizer.kind() == "AdamW", weight_decay)) {
    state.SkipWithError("the first update is wrong");
  }
  for (auto _ : state) ok = optimizer.Update(ctx, set, kRate).ok() && ok;
  if (!ok) state.SkipWithError("an update failed");
  int64_t count = 0;
  for (const ParameterInfo& info : set.infos) count += info.shape.size();
  state.SetBytesProcessed(state.iterations() * count * bytes);
}

void AdamWOf(benchmark::State& state, Model model, int threads) {
  Update(state, model, AdamW(), 0.01, 28, threads);
}

void SgdMomentum(benchmark::State& state, int threads) {
  Update(state, Large, Sgd({.momentum = 0.9, .weight_decay = 1e-4}), 1e-4, 20, threads);
}

void GradNorm(benchmark::State& state, int threads) {
  Context ctx({.threads = threads});
  ParameterStore store;
  Large(store);
  store.Allocate(ctx, /*seed=*/1, /*training=*/true);
  const ParameterSet set = store.ParametersToWrite();
  const auto count = static_cast<double>(set.gradients.size());
  for (float& g : set.gradient(0).span<float>()) g = 0.5f;
  GradientNorm norm(set);
  const auto measure = [&] {
    const Result<double> result = norm.Measure(ctx, set);
    return result.ok() ? *result : 0.0;
  };
  if (!(std::abs(measure() / std::sqrt(0.25 * 124e6) - 1.0) <= 1e-12)) {
    state.SkipWithError("the norm is wrong");
  }
  for (auto _ : state) benchmark::DoNotOptimize(measure());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(count) * 4);
}

const bool kRegistered = [] {
  for (const int threads : {1, 2}) {
    const std::string suffix = "/threads:" + std::to_string(threads);
    const auto large = [&](const std::string& name, auto function, auto... arguments) {
      benchmark::RegisterBenchmark(("op/" + name + suffix).c_str(), function, arguments..., threads)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    };
    large("adamw_124m", AdamWOf, Large);
    large("sgd_momentum_124m", SgdMomentum);
    large("grad_norm_124m", GradNorm);
    benchmark::RegisterBenchmark(("op/adamw_clinical" + suffix).c_str(), AdamWOf, Clinical, threads)
        ->UseRealTime();
  }
  return true;
}();

}  // namespace
}  // namespace lockstep
