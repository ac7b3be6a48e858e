// What all optimizers share: who decays, the same bits for any number of threads and after a
// resume, no allocations, errors with names.
#include "engine/optim/flat_optimizer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/optim/count_allocations.h"
#include "tests/engine/optim/flat_parameters.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Maker {
  std::string name;
  std::function<std::unique_ptr<Optimizer>()> make;
};

std::vector<Maker> Makers() {
  return {
      {"SgdPlain", [] { return std::make_unique<Sgd>(SgdOptions{.lr = 0.1}); }},
      {"SgdNesterov",
       [] {
         return std::make_unique<Sgd>(
             SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
       }},
      {"SgdDampened",
       [] {
         return std::make_unique<Sgd>(SgdOptions{.lr = 0.1, .momentum = 0.9, .dampening = 0.5});
       }},
      {"Adam", [] { return std::make_unique<Adam>(AdamOptions{.weight_decay = 0.1}); }},
      {"AdamW", [] { return std::make_unique<AdamW>(); }},
      {"AdamWAmsgrad", [] { return std::make_unique<AdamW>(AdamWOptions{.amsgrad = true}); }},
  };
}

// Several blocks, parameters across their bounds, and every size of padding.
FlatParameters SomeParameters() {
  FlatParameters parameters;
  parameters.Add("0.weight", {123, 67});
  parameters.Add("0.bias", {67}, Decay::kNo);
  parameters.Add("1.weight", {16}, Decay::kNo);
  parameters.Add("1.bias", {1}, Decay::kNo);
  parameters.Add("2.weight", {300, 101});
  parameters.Add("2.bias", {0}, Decay::kNo);
  parameters.Add("3.weight", {17});
  parameters.DrawValues(1);
  return parameters;
}

class EveryOptimizerTest : public testing::TestWithParam<Maker> {};
INSTANTIATE_TEST_SUITE_P(All, EveryOptimizerTest, testing::ValuesIn(Makers()),
                         [](const auto& test) { return test.param.name; });

std::vector<float> Train(Optimizer& optimizer, int threads, uint64_t steps) {
  Context ctx({.threads = threads});
  FlatParameters parameters = SomeParameters();
  EXPECT_TRUE(optimizer.Bind(ctx, parameters.set()).ok());
  for (uint64_t step = 0; step < steps; ++step) {
    parameters.DrawGradients(100 + step);
    EXPECT_TRUE(optimizer.Update(ctx, parameters.set(), 0.05, 0.5).ok());
  }
  return parameters.values();
}

TEST_P(EveryOptimizerTest, SameBitsForAnyNumberOfThreads) {
  const std::vector<float> one = Train(*GetParam().make(), 1, 3);
  EXPECT_NE(one, SomeParameters().values());
  for (const int threads : {2, 3, 8}) {
    EXPECT_EQ(Train(*GetParam().make(), threads, 3), one) << threads;
  }
}

TEST_P(EveryOptimizerTest, ResumesWithTheSameBits) {
  const std::vector<float> want = Train(*GetParam().make(), 1, 5);

  Context ctx({.threads = 1});
  FlatParameters parameters = SomeParameters();
  std::unique_ptr<Optimizer> optimizer = GetParam().make();
  ASSERT_TRUE(optimizer->Bind(ctx, parameters.set()).ok());
  for (uint64_t step = 0; step < 5; ++step) {
    std::unique_ptr<Optimizer> resumed = GetParam().make();
    ASSERT_TRUE(resumed->Bind(ctx, parameters.set()).ok());
    const std::vector<OptimizerState> from = optimizer->states(), to = resumed->states();
    ASSERT_EQ(from.size(), to.size());
    for (size_t i = 0; i < from.size(); ++i) {
      EXPECT_EQ(from[i].parameter, to[i].parameter);
      EXPECT_EQ(from[i].name, to[i].name);
      EXPECT_EQ(from[i].tensor.shape(), to[i].tensor.shape());
      std::ranges::copy(from[i].tensor.span<float>(), to[i].tensor.f32());
    }
    resumed->set_step_count(optimizer->step_count());
    optimizer = std::move(resumed);
    parameters.DrawGradients(100 + step);
    ASSERT_TRUE(optimizer->Update(ctx, parameters.set(), 0.05, 0.5).ok());
    EXPECT_EQ(optimizer->step_count(), static_cast<int64_t>(step) + 1);
  }
  EXPECT_EQ(parameters.values(), want);
}

TEST_P(EveryOptimizerTest, PaddingStaysZero) {
  const std::vector<float> values = Train(*GetParam().make(), 2, 3);
  FlatParameters layout = SomeParameters();
  int64_t begin = 0;
  int64_t checked = 0;
  for (const ParameterInfo& info : layout.set().infos) {
    for (int64_t i = begin; i < info.offset; ++i, ++checked) {
      EXPECT_EQ(values[static_cast<size_t>(i)], 0.0f) << i;
    }
    begin = info.offset + info.shape.size();
  }
  EXPECT_GT(checked, 0);
}

TEST_P(EveryOptimizerTest, UpdateAllocatesNothing) {
  for (const int threads : {1, 2}) {
    Context ctx({.threads = threads});
    FlatParameters parameters = SomeParameters();
    parameters.DrawGradients(2);
    const ParameterSet set = parameters.set();
    const std::unique_ptr<Optimizer> optimizer = GetParam().make();
    ASSERT_TRUE(optimizer->Bind(ctx, set).ok());
    const int64_t before = allocations.load();
    for (int step = 0; step < 3; ++step) {
      EXPECT_TRUE(optimizer->Update(ctx, set, 0.05, 0.5).ok());
    }
    EXPECT_EQ(allocations.load(), before);
  }
}

TEST_P(EveryOptimizerTest, NamesTheParameterWithABadGradient) {
  for (const char* bad : {"0.bias", "2.weight", "3.weight"}) {
    for (const float value : {kNan, -std::numeric_limits<float>::infinity()}) {
      Context ctx({.threads = 2});
      FlatParameters parameters = SomeParameters();
      parameters.DrawGradients(3);
      const ParameterSet set = parameters.set();
      const std::unique_ptr<Optimizer> optimizer = GetParam().make();
      ASSERT_TRUE(optimizer->Bind(ctx, set).ok());
      for (size_t i = 0; i < set.infos.size(); ++i) {
        if (set.infos[i].name == bad) set.gradient(i).f32()[5] = value;
      }
      const Status status = optimizer->Update(ctx, set, 0.05);
      EXPECT_EQ(status.code(), Code::kNonFinite);
      EXPECT_THAT(status.message(),
                  HasSubstr("gradient of " + std::string(bad) +
                            (std::isnan(value) ? " is nan" : " is infinite") + " at element 5"));
    }
  }
}

TEST_P(EveryOptimizerTest, RefusesALearningRateThatIsNone) {
  Context ctx({.threads = 1});
  FlatParameters parameters = SomeParameters();
  const std::unique_ptr<Optimizer> optimizer = GetParam().make();
  ASSERT_TRUE(optimizer->Bind(ctx, parameters.set()).ok());
  for (const double rate : {-0.1, double{kNan}, HUGE_VAL}) {
    EXPECT_EQ(optimizer->Update(ctx, parameters.set(), rate).code(), Code::kInvalid);
  }
  EXPECT_EQ(optimizer->step_count(), 0);
}

TEST_P(EveryOptimizerTest, UpdatesNothingWhereThereIsNothing) {
  Context ctx({.threads = 1});
  FlatParameters none;
  const std::unique_ptr<Optimizer> optimizer = GetParam().make();
  ASSERT_TRUE(optimizer->Bind(ctx, none.set()).ok());
  EXPECT_TRUE(optimizer->Update(ctx, none.set(), 0.1).ok());
  EXPECT_TRUE(optimizer->states().empty());
}

// With zero gradients, AdamW only decays: p * (1 - lr * weight_decay).
std::vector<float> DecayOfEach(AdamWOptions options) {
  Context ctx({.threads = 1});
  FlatParameters parameters = SomeParameters();
  const ParameterSet set = parameters.set();
  for (size_t i = 0; i < set.infos.size(); ++i) std::ranges::fill(set.value(i).span<float>(), 1.0f);
  AdamW adam_w(std::move(options));
  const Status status = adam_w.Bind(ctx, set);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(adam_w.Update(ctx, set, 0.5).ok());
  std::vector<float> first;
  for (size_t i = 0; i < set.infos.size(); ++i) {
    const std::span<float> value = set.value(i).span<float>();
    if (value.empty()) continue;
    first.push_back(1.0f - value[0]);
    for (const float x : value) EXPECT_EQ(x, value[0]) << set.infos[i].name;
  }
  return first;
}

// In the order 0.weight, 0.bias, 1.weight, 1.bias, 2.weight, 3.weight.
TEST(ParameterGroupTest, BiasesAndNormsDoNotDecayUnlessAsked) {
  EXPECT_THAT(DecayOfEach({.weight_decay = 0.5}), ElementsAre(0.25f, 0, 0, 0, 0.25f, 0.25f));
  EXPECT_THAT(DecayOfEach({.weight_decay = 0.5, .decay_all = true}),
              ElementsAre(0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f));
}

TEST(ParameterGroupTest, TheFirstGroupThatMatchesDecides) {
  const std::vector<ParameterGroup> groups = {
      {.patterns = {"0.*"}, .learning_rate_scale = 0.5},
      {.patterns = {"3.weight", "*.bias"}, .weight_decay = 1.0},
      {.patterns = {"*"}, .learning_rate_scale = 0.0},
  };
  EXPECT_THAT(DecayOfEach({.weight_decay = 0.5, .groups = groups}),
              ElementsAre(0.125f, 0, 0, 0.5f, 0, 0.5f));
}

template <class Made>
std::string BindError(Made optimizer, ParameterSet set) {
  Context ctx({.threads = 1});
  const Status status = optimizer.Bind(ctx, set);
  EXPECT_EQ(status.code(), Code::kInvalid);
  return status.message();
}

TEST(OptimizerOptionsTest, ErrorsNameTheOption) {
  FlatParameters parameters = SomeParameters();
  const ParameterSet set = parameters.set();
  EXPECT_THAT(BindError(Sgd({.lr = -1.0}), set), HasSubstr("SGD: lr"));
  EXPECT_THAT(BindError(Sgd({.momentum = -0.1}), set), HasSubstr("momentum"));
  EXPECT_THAT(BindError(Sgd({.momentum = 0.9, .dampening = HUGE_VAL}), set),
              HasSubstr("dampening"));
  EXPECT_THAT(BindError(Sgd({.weight_decay = -0.1}), set), HasSubstr("weight_decay"));
  EXPECT_THAT(BindError(Sgd({.nesterov = true}), set), HasSubstr("nesterov"));
  EXPECT_THAT(BindError(Sgd({.momentum = 0.9, .dampening = 0.1, .nesterov = true}), set),
              HasSubstr("nesterov"));
  EXPECT_THAT(BindError(Adam({.betas = {1.0, 0.9}}), set), HasSubstr("Adam: betas"));
  EXPECT_THAT(BindError(Adam({.betas = {0.9, -0.1}}), set), HasSubstr("betas"));
  EXPECT_THAT(BindError(AdamW({.eps = 0.0}), set), HasSubstr("AdamW: eps"));
  EXPECT_THAT(BindError(AdamW({.eps = 1e-30}), set),
              HasSubstr("eps must be at least 3.6e-18 with beta2 = 0.999, not 1e-30"));
  EXPECT_THAT(BindError(Adam({.betas = {0.9, 0.9}, .eps = 3.4e-19}), set), HasSubstr("Adam: eps"));
  EXPECT_THAT(BindError(Adam({.eps = HUGE_VAL}), set), HasSubstr("Adam: eps"));
  EXPECT_THAT(BindError(AdamW({.lr = double{kNan}}), set), HasSubstr("lr"));
}

// Gradients whose squares are flushed, at the least eps that is taken: no step is more than twice
// what the formula asks for (see LeastAdamEps), whatever the size of the gradients and whenever
// they stop. Without the limit the steps below would be 1e7 times too large.
TEST(AdamEpsTest, AtItsLeastNoStepIsMoreThanTwiceTheFormulas) {
  for (const double beta2 : {0.0, 0.9, 0.999, 0.9999}) {
    const double eps = LeastAdamEps(beta2), beta1 = 0.9, rate = 1e-3;
    for (double size = 1e-24; size < 1e-12; size *= 3.7) {
      FlatParameters parameters = SomeParameters();
      const ParameterSet set = parameters.set();
      Context ctx({.threads = 1});
      Adam optimizer({.lr = rate, .betas = {beta1, beta2}, .eps = eps});
      ASSERT_TRUE(optimizer.Bind(ctx, set).ok());
      const auto at = static_cast<size_t>(set.infos[0].offset);
      double m = 0.0, v = 0.0;
      set.values[at] = 0.0f;
      for (int64_t t = 1; t <= 40; ++t) {
        const double g = t <= 10 ? size : 0.0;
        std::fill(set.gradients.begin(), set.gradients.end(), 0.0f);
        set.gradients[at] = static_cast<float>(g);
        m = beta1 * m + (1.0 - beta1) * g;
        v = beta2 * v + (1.0 - beta2) * g * g;
        const double before = static_cast<double>(set.values[at]);
        ASSERT_TRUE(optimizer.Update(ctx, set, rate, 1.0).ok());
        const double step = before - static_cast<double>(set.values[at]);
        const double n = static_cast<double>(t);
        const double exact = rate / (1.0 - std::pow(beta1, n)) * m /
                             (std::sqrt(v / (1.0 - std::pow(beta2, n))) + eps);
        // Roundings of the step, and of the parameter that it was taken from.
        ASSERT_TRUE(step <= 2.0 * exact * (1.0 + 1e-5) + 1e-6 * before + 1e-30)
            << beta2 << " " << size << " " << t << ": " << step << " for " << exact;
      }
    }
  }
}

TEST(OptimizerOptionsTest, ErrorsNameTheGroup) {
  FlatParameters parameters = SomeParameters();
  const ParameterSet set = parameters.set();
  EXPECT_THAT(
      BindError(Sgd({.groups = {{.patterns = {"*"}}, {.patterns = {"*.bais"}}}}), set),
      HasSubstr("parameter group 2: no parameter matches '*.bais'; names look like 0.weight"));
  EXPECT_THAT(BindError(Sgd({.groups = {{.learning_rate_scale = 2.0}}}), set),
              HasSubstr("no patterns"));
  EXPECT_THAT(BindError(Sgd({.groups = {{.patterns = {"*"}, .learning_rate_scale = -1.0}}}), set),
              HasSubstr("learning_rate_scale"));
}

TEST(OptimizerOptionsTest, RefusesANetworkBoundForEvaluation) {
  FlatParameters parameters = SomeParameters();
  ParameterSet set = parameters.set();
  set.gradients = {};
  EXPECT_THAT(BindError(AdamW(), set), HasSubstr("evaluation only"));
}

TEST_P(EveryOptimizerTest, SaysWhatItWouldRefuseAndTakesAnotherRate) {
  Context ctx({.threads = 1});
  FlatParameters parameters = SomeParameters(), others = SomeParameters();
  const std::unique_ptr<Optimizer> optimizer = GetParam().make();
  EXPECT_THAT(optimizer->Update(ctx, parameters.set(), 0.1).message(), HasSubstr("Bind"));
  const auto one = std::shared_ptr<const void>(std::make_shared<int>());
  const auto two = std::shared_ptr<const void>(std::make_shared<int>());
  ParameterSet set = parameters.set(), other = others.set();
  set.identity = &one;
  other.identity = &two;
  ASSERT_TRUE(optimizer->Bind(ctx, set).ok());
  EXPECT_EQ(one.use_count(), 2);  // so that nothing else can have its address
  EXPECT_TRUE(optimizer->CheckUpdate(set, 0.1).ok());
  const std::vector<float> before = others.values();
  for (const Status& status :
       {optimizer->CheckUpdate(other, 0.1), optimizer->Update(ctx, other, 0.1),
        optimizer->CheckUpdate(set, -0.1), optimizer->Update(ctx, set, double{kNan}),
        optimizer->Update(ctx, set, 0.1, HUGE_VAL), optimizer->Bind(ctx, other),
        optimizer->set_learning_rate(-1.0), optimizer->set_learning_rate(HUGE_VAL)}) {
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_FALSE(status.message().empty());
  }
  EXPECT_EQ(others.values(), before);
  EXPECT_EQ(optimizer->step_count(), 0);
  ASSERT_TRUE(optimizer->set_learning_rate(0.25).ok());
  EXPECT_EQ(optimizer->learning_rate(), 0.25);
  EXPECT_TRUE(optimizer->never_fails());
}

}  // namespace
}  // namespace lockstep
