#include "engine/optim/ema.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/flat_blocks.h"
#include "engine/plan/planner.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/optim/count_allocations.h"

namespace lockstep {
namespace {

std::unique_ptr<Workspace> MakeWorkspace(Context& ctx, uint64_t seed = 1) {
  Planner plan({});
  plan.AddParameter("0.weight", {3, kFlatBlock}, Init::Normal(1.0f), Decay::kYes);
  plan.AddParameter("0.bias", {5}, Init::Normal(1.0f), Decay::kNo);
  plan.AddState("1.running_mean", {5}, 0.0f);
  plan.AddState("1.running_var", {5}, 1.0f);
  return std::make_unique<Workspace>(ctx, plan, seed);
}

std::vector<float> Copy(const Tensor& tensor) {
  const std::span<float> values = tensor.span<float>();
  return {values.begin(), values.end()};
}

// All parameters, then all states.
std::vector<float> Live(const Workspace& workspace) {
  std::vector<float> all;
  const auto add = [&](const Tensor& tensor) {
    const std::vector<float> values = Copy(tensor);
    all.insert(all.end(), values.begin(), values.end());
  };
  for (size_t i = 0; i < workspace.parameters().infos.size(); ++i) {
    add(workspace.parameters().value(i));
  }
  for (size_t i = 0; i < workspace.states().size(); ++i) add(workspace.state(i));
  return all;
}

std::vector<float> Averages(const Ema& ema) {
  std::vector<float> all;
  for (const Ema::Average& average : ema.states()) {
    const std::vector<float> values = Copy(average.tensor);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// As training would: every value moves.
void Move(const Workspace& workspace, float by) {
  const ParameterSet set = workspace.parameters();
  for (size_t i = 0; i < set.infos.size(); ++i) {
    for (float& x : set.value(i).span<float>()) x += by;
  }
  for (size_t i = 0; i < workspace.states().size(); ++i) {
    for (float& x : workspace.state(i).span<float>()) x += by;
  }
}

TEST(EmaTest, FollowsParametersAndStatesByTheFormula) {
  for (const bool ramp : {false, true}) {
    Context ctx({.threads = 2});
    const auto workspace = MakeWorkspace(ctx);
    Ema ema({.decay = 0.5, .ramp = ramp});
    ASSERT_TRUE(ema.Bind(ctx, *workspace).ok());
    std::vector<float> start = Live(*workspace);
    std::vector<double> want(start.begin(), start.end());
    for (int n = 0; n < 12; ++n) {
      Move(*workspace, 0.25f);
      ema.Update(ctx, *workspace);
      const double decay = n == 0 ? 0.0 : ramp ? std::min(0.5, (1.0 + n) / (10.0 + n)) : 0.5;
      const std::vector<float> live = Live(*workspace);
      for (size_t i = 0; i < want.size(); ++i) want[i] = decay * want[i] + (1 - decay) * live[i];
    }
    const std::vector<float> got = Averages(ema);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      // One rounding of a value below eight in each of twelve updates.
      ASSERT_FALSE(!(std::abs(got[i] - want[i]) <= 12 * 8 * 1.2e-7)) << i;
    }
    EXPECT_EQ(ema.update_count(), 12);
  }
}

TEST(EmaTest, SwapExchangesAndRestores) {
  Context ctx({.threads = 2});
  const auto workspace = MakeWorkspace(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *workspace).ok());
  ema.Update(ctx, *workspace);
  const std::vector<float> average = Live(*workspace);
  Move(*workspace, 1.0f);
  const std::vector<float> live = Live(*workspace);
  {
    const Ema::Swap swap(ema, ctx, *workspace);
    EXPECT_EQ(Live(*workspace), average);
    EXPECT_EQ(Averages(ema), live);
  }
  EXPECT_EQ(Live(*workspace), live);
  EXPECT_EQ(Averages(ema), average);
}

TEST(EmaTest, SwapBeforeTheFirstUpdateChangesNothing) {
  Context ctx({.threads = 1});
  const auto workspace = MakeWorkspace(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *workspace).ok());
  const std::vector<float> live = Live(*workspace);
  const Ema::Swap swap(ema, ctx, *workspace);
  EXPECT_EQ(Live(*workspace), live);
}

TEST(EmaTest, ResumesWithTheSameBitsOnAnyNumberOfThreads) {
  Context one({.threads = 1}), three({.threads = 3});
  const auto workspace = MakeWorkspace(one);
  Ema first, second;
  ASSERT_TRUE(first.Bind(one, *workspace).ok());
  ASSERT_TRUE(second.Bind(three, *workspace).ok());
  first.Update(one, *workspace);
  first.Update(one, *workspace);
  for (size_t i = 0; i < first.states().size(); ++i) {
    EXPECT_EQ(second.states()[i].name, first.states()[i].name);
    std::ranges::copy(Copy(first.states()[i].tensor), second.states()[i].tensor.f32());
  }
  second.set_update_count(first.update_count());
  Move(*workspace, 0.1f);
  first.Update(one, *workspace);
  second.Update(three, *workspace);
  EXPECT_EQ(Averages(first), Averages(second));
}

TEST(EmaTest, NamesWhatItAverages) {
  Context ctx({.threads = 1});
  const auto workspace = MakeWorkspace(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *workspace).ok());
  std::vector<std::string> names;
  for (const Ema::Average& average : ema.states()) names.push_back(average.name);
  EXPECT_THAT(names, testing::ElementsAre("0.weight", "0.bias", "1.running_mean", "1.running_var"));
}

TEST(EmaTest, UpdateAllocatesNothing) {
  Context ctx({.threads = 1});
  const auto workspace = MakeWorkspace(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *workspace).ok());
  const int64_t before = allocations.load();
  ema.Update(ctx, *workspace);
  ema.Update(ctx, *workspace);
  EXPECT_EQ(allocations.load(), before);
}

TEST(EmaTest, RefusesADecayThatIsNone) {
  Context ctx({.threads = 1});
  const auto workspace = MakeWorkspace(ctx);
  for (const double decay : {1.0, -0.1, std::nan("")}) {
    EXPECT_EQ(Ema({.decay = decay}).Bind(ctx, *workspace).code(), Code::kInvalid);
  }
}

}  // namespace
}  // namespace lockstep
