#include "engine/optim/ema.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/optim/flat_blocks.h"
#include "engine/plan/parameters.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/optim/count_allocations.h"

namespace lockstep::inline v0_1 {
namespace {

std::unique_ptr<ParameterStore> MakeStore(Context& ctx, uint64_t seed = 1) {
  auto store = std::make_unique<ParameterStore>();
  const auto parameter = [&](const char* name, const Shape& shape, Decay decay) {
    EXPECT_TRUE(store->AddParameter(name, shape, Init::Normal(1.0f), decay, /*frozen=*/false).ok());
  };
  const auto state = [&](const char* name, const Shape& shape, DType dtype, double initial) {
    EXPECT_TRUE(store->AddState(name, shape, dtype, initial).ok());
  };
  parameter("0.weight", {3, kFlatBlock}, Decay::kYes);
  parameter("0.bias", {5}, Decay::kNo);
  state("1.running_mean", {5}, DType::kF32, 0.0);
  state("1.running_var", {5}, DType::kF32, 1.0);
  state("1.num_batches_tracked", {}, DType::kI64, 0.0);
  store->Allocate(ctx, seed, /*training=*/true);
  return store;
}

std::vector<float> Copy(const Tensor& tensor) {
  const std::span<float> values = tensor.span<float>();
  return {values.begin(), values.end()};
}

// All parameters, then all states but the counter.
std::vector<float> Live(const ParameterStore& store) {
  std::vector<float> all;
  const auto add = [&](const Tensor& tensor) {
    const std::vector<float> values = Copy(tensor);
    all.insert(all.end(), values.begin(), values.end());
  };
  for (size_t i = 0; i < store.infos().size(); ++i) {
    add(store.ParametersToWrite().value(i));
  }
  for (size_t i = 0; i < store.states().size(); ++i) {
    if (store.states()[i].dtype == DType::kF32) add(store.StateToWrite(i));
  }
  return all;
}

std::vector<float> Averages(const Ema& ema) {
  std::vector<float> all;
  for (const Ema::Average& average : ema.states()) {
    if (average.tensor.dtype() != DType::kF32) continue;
    const std::vector<float> values = Copy(average.tensor);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// As training would: every value moves.
void Move(const ParameterStore& store, float by) {
  const ParameterSet set = store.ParametersToWrite();
  for (size_t i = 0; i < set.infos.size(); ++i) {
    for (float& x : set.value(i).span<float>()) x += by;
  }
  for (size_t i = 0; i < store.states().size(); ++i) {
    const Tensor state = store.StateToWrite(i);
    if (state.dtype() == DType::kI64) {
      ++*state.as<int64_t>();
    } else {
      for (float& x : state.span<float>()) x += by;
    }
  }
}

int64_t Count(const ParameterStore& store) {
  return *store.state(store.states().size() - 1).as<int64_t>();
}
int64_t AverageCount(const Ema& ema) { return *ema.states().back().tensor.as<int64_t>(); }

TEST(EmaTest, FollowsParametersAndStatesByTheFormula) {
  for (const bool ramp : {false, true}) {
    Context ctx({.threads = 2});
    const auto store = MakeStore(ctx);
    Ema ema({.decay = 0.5, .ramp = ramp});
    ASSERT_TRUE(ema.Bind(ctx, *store).ok());
    std::vector<float> start = Live(*store);
    std::vector<double> want(start.begin(), start.end());
    for (int n = 0; n < 12; ++n) {
      Move(*store, 0.25f);
      ema.Update(ctx, *store);
      const double decay = n == 0 ? 0.0 : ramp ? std::min(0.5, (1.0 + n) / (10.0 + n)) : 0.5;
      const std::vector<float> live = Live(*store);
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
  const auto store = MakeStore(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *store).ok());
  ema.Update(ctx, *store);
  const std::vector<float> average = Live(*store);
  Move(*store, 1.0f);
  const std::vector<float> live = Live(*store);
  {
    const Ema::Swap swap(ema, ctx, *store);
    EXPECT_EQ(Live(*store), average);
    EXPECT_EQ(Averages(ema), live);
  }
  EXPECT_EQ(Live(*store), live);
  EXPECT_EQ(Averages(ema), average);
}

// Half a batch makes no sense, and a count that lags behind would not be that of any weights.
TEST(EmaTest, OfWhatIsCountedTheAverageIsTheLastCount) {
  Context ctx({.threads = 1});
  const auto store = MakeStore(ctx);
  Ema ema({.decay = 0.9});
  ASSERT_TRUE(ema.Bind(ctx, *store).ok());
  for (int64_t n = 1; n <= 5; ++n) {
    Move(*store, 0.25f);
    ema.Update(ctx, *store);
    EXPECT_EQ(AverageCount(ema), n);
    EXPECT_EQ(Count(*store), n);
  }
  Move(*store, 0.25f);
  {
    const Ema::Swap swap(ema, ctx, *store);
    EXPECT_EQ(Count(*store), 5);
    EXPECT_EQ(AverageCount(ema), 6);
  }
  EXPECT_EQ(Count(*store), 6);
  EXPECT_EQ(AverageCount(ema), 5);
}

// What layers derived from parameters is made anew on either side of it.
TEST(EmaTest, SwapSaysThatParametersChanged) {
  Context ctx({.threads = 1});
  const auto store = MakeStore(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *store).ok());
  ema.Update(ctx, *store);
  const uint64_t before = store->version();
  uint64_t within = 0;
  {
    const Ema::Swap swap(ema, ctx, *store);
    within = store->version();
    EXPECT_NE(within, before);
  }
  EXPECT_NE(store->version(), within);
}

TEST(EmaTest, SwapBeforeTheFirstUpdateChangesNothing) {
  Context ctx({.threads = 1});
  const auto store = MakeStore(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *store).ok());
  const std::vector<float> live = Live(*store);
  const Ema::Swap swap(ema, ctx, *store);
  EXPECT_EQ(Live(*store), live);
}

TEST(EmaTest, ResumesWithTheSameBitsOnAnyNumberOfThreads) {
  Context one({.threads = 1}), three({.threads = 3});
  const auto store = MakeStore(one);
  Ema first, second;
  ASSERT_TRUE(first.Bind(one, *store).ok());
  ASSERT_TRUE(second.Bind(three, *store).ok());
  first.Update(one, *store);
  first.Update(one, *store);
  for (size_t i = 0; i < first.states().size(); ++i) {
    EXPECT_EQ(second.states()[i].name, first.states()[i].name);
    const Tensor from = first.states()[i].tensor;
    std::memcpy(second.states()[i].tensor.data(), from.data(), from.bytes());
  }
  second.set_update_count(first.update_count());
  Move(*store, 0.1f);
  first.Update(one, *store);
  second.Update(three, *store);
  EXPECT_EQ(Averages(first), Averages(second));
}

TEST(EmaTest, NamesWhatItAverages) {
  Context ctx({.threads = 1});
  const auto store = MakeStore(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *store).ok());
  std::vector<std::string> names;
  for (const Ema::Average& average : ema.states()) names.push_back(average.name);
  EXPECT_THAT(names, testing::ElementsAre("0.weight", "0.bias", "1.running_mean", "1.running_var",
                                          "1.num_batches_tracked"));
}

TEST(EmaTest, UpdateAllocatesNothing) {
  Context ctx({.threads = 1});
  const auto store = MakeStore(ctx);
  Ema ema;
  ASSERT_TRUE(ema.Bind(ctx, *store).ok());
  const int64_t before = allocations.load();
  ema.Update(ctx, *store);
  ema.Update(ctx, *store);
  EXPECT_EQ(allocations.load(), before);
}

TEST(EmaTest, RefusesADecayThatIsNone) {
  Context ctx({.threads = 1});
  const auto store = MakeStore(ctx);
  for (const double decay : {1.0, -0.1, std::nan("")}) {
    EXPECT_EQ(Ema({.decay = decay}).Bind(ctx, *store).code(), Code::kInvalid);
  }
}

}  // namespace
}  // namespace lockstep
