// Ten steps of every optimizer and option against PyTorch, and its schedules: see
// tests/golden/make_optimizers.py.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/optim/clip.h"
#include "engine/optim/ema.h"
#include "engine/optim/schedule.h"
#include "engine/optim/sgd.h"
#include "engine/plan/parameters.h"
#include "gtest/gtest.h"
#include "tests/engine/optim/flat_parameters.h"

namespace lockstep::inline v0_1 {
namespace {

using nlohmann::json;
using Floats = std::vector<float>;

// Ten steps of a handful of roundings each, in another order than PyTorch's; of the largest value.
constexpr double kTolerance = 1e-6;

const json& Golden() {
  static const json golden = json::parse(
      std::ifstream(std::string(LOCKSTEP_SOURCE_DIR) + "/tests/golden/optimizers.json"));
  return golden;
}

void ExpectNear(std::span<const float> got, const Floats& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0.0;
  for (const float x : want) largest = std::max(largest, std::abs(double{x}));
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_FALSE(!(std::abs(double{got[i]} - want[i]) <= kTolerance * largest))
        << what << " " << i << ": " << got[i] << " against " << want[i];
  }
}

void Fill(Tensor tensor, const Floats& from) {
  ASSERT_EQ(tensor.span<float>().size(), from.size());
  std::copy(from.begin(), from.end(), tensor.f32());
}

FlatParameters StartingParameters() {
  FlatParameters parameters;
  for (const auto& [name, extents] : Golden()["shapes"].items()) {
    parameters.Add(name, Shape(extents.get<std::vector<int64_t>>()),
                   name == "0.weight" ? Decay::kYes : Decay::kNo);
  }
  const ParameterSet set = parameters.set();
  for (size_t i = 0; i < set.infos.size(); ++i) {
    Fill(set.value(i), Golden()["start"][set.infos[i].name].get<Floats>());
  }
  return parameters;
}

template <class Options>
Options CommonOptions(const json& from, bool decay_all, std::vector<ParameterGroup> groups) {
  Options options;
  options.lr = from["lr"];
  options.weight_decay = from.value("weight_decay", options.weight_decay);
  options.maximize = from.value("maximize", false);
  options.decay_all = decay_all;
  options.groups = std::move(groups);
  return options;
}

template <bool kDecoupled>
std::unique_ptr<Optimizer> MakeAdam(const json& from, bool decay_all,
                                    std::vector<ParameterGroup> groups) {
  auto options = CommonOptions<BasicAdamOptions<kDecoupled>>(from, decay_all, std::move(groups));
  if (from.contains("betas")) options.betas = from["betas"].get<std::array<double, 2>>();
  options.eps = from.value("eps", options.eps);
  options.amsgrad = from.value("amsgrad", false);
  return std::make_unique<BasicAdam<kDecoupled>>(options);
}

std::unique_ptr<Optimizer> MakeOptimizer(const std::string& kind, const json& from, bool decay_all,
                                         std::vector<ParameterGroup> groups) {
  if (kind == "Adam") return MakeAdam<false>(from, decay_all, std::move(groups));
  if (kind == "AdamW") return MakeAdam<true>(from, decay_all, std::move(groups));
  auto options = CommonOptions<SgdOptions>(from, decay_all, std::move(groups));
  options.momentum = from.value("momentum", 0.0);
  options.dampening = from.value("dampening", 0.0);
  options.nesterov = from.value("nesterov", false);
  return std::make_unique<Sgd>(options);
}

class ParityTest : public testing::TestWithParam<std::string> {};

TEST_P(ParityTest, TenStepsAreThoseOfPyTorch) {
  const json& golden = Golden()["cases"][GetParam()];
  // In "adamw_no_decay" the bias is declared so, and a group decides for 1.weight although it is.
  const bool grouped = GetParam() == "adamw_no_decay";
  std::vector<ParameterGroup> groups;
  if (grouped) {
    groups.push_back({.patterns = {"1.*"}, .learning_rate_scale = 0.25, .weight_decay = 0.1});
  }
  const std::unique_ptr<Optimizer> optimizer =
      MakeOptimizer(golden["kind"], golden["options"], /*decay_all=*/!grouped, groups);
  EXPECT_EQ(optimizer->kind(), golden["kind"].get<std::string>());

  Context ctx({.threads = 1});
  FlatParameters parameters = StartingParameters();
  const ParameterSet set = parameters.set();
  ASSERT_TRUE(optimizer->Bind(ctx, set).ok());
  GradientNorm norm(set);
  for (size_t step = 0; step < Golden()["gradients"].size(); ++step) {
    for (size_t i = 0; i < set.infos.size(); ++i) {
      Fill(set.gradient(i), Golden()["gradients"][step][set.infos[i].name].get<Floats>());
    }
    double scale = 1.0;
    if (golden.contains("max_norm")) {
      const Result<double> measured = norm.Measure(ctx, set);
      ASSERT_TRUE(measured.ok());
      EXPECT_NEAR(*measured / golden["norms"][step].get<double>(), 1.0, kTolerance);
      scale = ClipFactor(*measured, golden["max_norm"]);
    }
    ASSERT_TRUE(optimizer->Update(ctx, set, optimizer->learning_rate(), scale).ok());
  }
  for (size_t i = 0; i < set.infos.size(); ++i) {
    const std::string& name = set.infos[i].name;
    ExpectNear(set.value(i).span<float>(), golden["values"][name].get<Floats>(), name);
  }
  size_t states = 0;
  for (const auto& [name, of_parameter] : golden["states"].items()) states += of_parameter.size();
  EXPECT_EQ(optimizer->states().size(), states);
  for (const OptimizerState& state : optimizer->states()) {
    const json& want = golden["states"][state.parameter];
    ASSERT_TRUE(want.contains(state.name)) << state.name;
    ExpectNear(state.tensor.span<float>(), want[state.name].get<Floats>(),
               state.parameter + " " + state.name);
  }
}

std::vector<std::string> CaseNames() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : Golden()["cases"].items()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(PyTorch, ParityTest, testing::ValuesIn(CaseNames()),
                         [](const auto& test) { return test.param; });

TEST(AverageParityTest, TenUpdatesAreThoseOfPyTorch) {
  const json& golden = Golden()["average"];
  Context ctx({.threads = 1});
  ParameterStore store;
  ASSERT_TRUE(store.AddParameter("1.weight", {17}, {}, Decay::kYes, /*frozen=*/false).ok());
  store.Allocate(ctx, /*seed=*/0, /*training=*/true);
  const ParameterSet set = store.ParametersToWrite();
  Fill(set.value(0), Golden()["start"]["1.weight"].get<Floats>());
  Sgd sgd({.lr = golden["lr"]});
  Ema ema({.decay = golden["decay"], .ramp = false});
  ASSERT_TRUE(sgd.Bind(ctx, set).ok());
  ASSERT_TRUE(ema.Bind(ctx, store).ok());
  for (const json& gradients : Golden()["gradients"]) {
    Fill(set.gradient(0), gradients["1.weight"].get<Floats>());
    ASSERT_TRUE(sgd.Update(ctx, set, sgd.learning_rate()).ok());
    ema.Update(ctx, store);
  }
  ExpectNear(ema.states()[0].tensor.span<float>(), golden["average"].get<Floats>(), "average");
}

Schedule MakeSchedule(const std::string& name, const json& from) {
  if (name == "step") return StepSchedule{.every = from["every"], .gamma = from["gamma"]};
  if (from.contains("warmup_steps")) {
    return CosineSchedule{.warmup_steps = from["warmup_steps"], .floor = from["floor"]};
  }
  OneCycleSchedule one_cycle;
  one_cycle.pct_start = from.value("pct_start", one_cycle.pct_start);
  one_cycle.div_factor = from.value("div_factor", one_cycle.div_factor);
  one_cycle.final_div_factor = from.value("final_div_factor", one_cycle.final_div_factor);
  return one_cycle;
}

TEST(ScheduleParityTest, FactorsAreThoseOfPyTorch) {
  for (const auto& [name, golden] : Golden()["schedules"].items()) {
    SCOPED_TRACE(name);
    const Schedule schedule = MakeSchedule(name, golden);
    const auto factors = golden["factors"].get<std::vector<double>>();
    const auto total = static_cast<int64_t>(factors.size());
    ASSERT_TRUE(CheckSchedule(schedule, total).ok());
    for (int64_t step = 0; step < total; ++step) {
      const double want = factors[static_cast<size_t>(step)];
      // PyTorch computes some rates from the one before, which adds up roundings of double.
      EXPECT_FALSE(
          !(std::abs(ScheduleFactor(schedule, step, total) - want) <= 1e-13 + 1e-12 * want))
          << step << ": " << ScheduleFactor(schedule, step, total) << " against " << want;
    }
  }
}

}  // namespace
}  // namespace lockstep
