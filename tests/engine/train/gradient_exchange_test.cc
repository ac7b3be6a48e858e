#include "engine/train/gradient_exchange.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/comm/thread_ranks.h"
#include "engine/optim/clip.h"
#include "gtest/gtest.h"

namespace lockstep::inline v0_1 {
namespace {

// Parameters of odd sizes, one frozen, one shared by three operations, one that no loss reaches.
struct Store {
  explicit Store(Context& ctx) {
    for (const auto& [name, shape] :
         {std::pair("a.weight", Shape{37, 53}), std::pair("a.bias", Shape{37}),
          std::pair("frozen", Shape{500}), std::pair("shared", Shape{61, 17}),
          std::pair("lonely", Shape{129}), std::pair("b.weight", Shape{10, 37}),
          std::pair("b.bias", Shape{1})}) {
      const bool frozen = std::string(name) == "frozen";
      EXPECT_TRUE(store.AddParameter(name, shape, Init::Uniform(1.0f), Decay::kYes, frozen).ok());
    }
    store.AddFurtherGradient(3);
    store.AddFurtherGradient(3);
    store.Allocate(ctx, /*seed=*/1, /*training=*/true);
  }
  ParameterStore store;
};
const std::vector<int> kFinalOrder = {6, 5, 3, 1, 0};

// What rank `rank` has in its gradients; zero where nothing ever writes.
void Fill(ParameterStore& store, int rank) {
  Random random(/*seed=*/7, StreamOf("rank " + std::to_string(rank)));
  const auto fill = [&](Tensor gradient) {
    for (float& g : gradient.span<float>()) g = static_cast<float>(random.Normal());
  };
  for (const int p : {0, 1, 3, 5, 6})
    fill(store.ParametersToWrite().gradient(static_cast<size_t>(p)));
  for (int k = 0; k < store.further_gradients(); ++k) fill(store.further_gradient(k));
}

struct Outcome {
  std::vector<float> gradients, values;
  std::vector<IndexRange> owned;
  int64_t bytes = 0;
  size_t buckets = 0;
};

std::vector<Outcome> Exchanged(int ranks, int threads, const GradientExchangeOptions& options,
                               bool as_they_come = true) {
  std::vector<Outcome> results(static_cast<size_t>(ranks));
  ThreadRanks::Run(ranks, [&](Communicator& communicator) {
    Context ctx({.threads = threads});
    Store made(ctx);
    ParameterStore& store = made.store;
    const auto exchange = GradientExchange::Make(communicator, store, kFinalOrder, options).value();
    Outcome& result = results[static_cast<size_t>(communicator.rank())];
    for (int step = 0; step < 2; ++step) {  // what is left of one must not reach the next
      Fill(store, communicator.rank());
      exchange->Begin();
      if (as_they_come) {
        for (const int parameter : kFinalOrder) exchange->Final(ctx, parameter);
      }
      ASSERT_TRUE(exchange->FinishGradients(ctx).ok());
      const ParameterSet set = store.ParametersToWrite();
      result.gradients.assign(set.gradients.begin(), set.gradients.end());
      for (const IndexRange& range : exchange->owned()) {
        for (int64_t i = range.begin; i < range.end; ++i)
          set.values[static_cast<size_t>(i)] -= 0.5f * set.gradients[static_cast<size_t>(i)];
      }
      ASSERT_TRUE(exchange->GatherValues().ok());
      result.values.assign(set.values.begin(), set.values.end());
    }
    result.owned.assign(exchange->owned().begin(), exchange->owned().end());
    result.bytes = exchange->bytes();
    result.buckets = exchange->buckets();
  });
  return results;
}

// Element i of the sums over `ranks`, by the tree.
std::vector<float> Sums(int ranks) {
  Context ctx({.threads = 1});
  std::vector<std::vector<float>> all;
  for (int rank = 0; rank < ranks; ++rank) {
    Store made(ctx);
    Fill(made.store, rank);
    all.emplace_back(made.store.all_gradients().begin(), made.store.all_gradients().end());
  }
  MergeTree(0, ranks, [&](int64_t into, int64_t from) {
    for (size_t i = 0; i < all[0].size(); ++i)
      all[static_cast<size_t>(into)][i] += all[static_cast<size_t>(from)][i];
  });
  Store made(ctx);
  std::copy(all[0].begin(), all[0].end(), made.store.all_gradients().begin());
  made.store.AddFurtherGradients(ctx);
  const std::span<float> gradients = made.store.ParametersToWrite().gradients;
  return {gradients.begin(), gradients.end()};
}

TEST(GradientExchangeTest, OwnersHaveTheSumsByTheTreeAndAllHaveTheNewValues) {
  for (const int ranks : {2, 3, 4, 8}) {
    const std::vector<float> sums = Sums(ranks);
    for (const int64_t bucket : {int64_t{256}, int64_t{3000}, int64_t{1} << 20}) {
      for (const bool as_they_come : {true, false}) {
        const std::vector<Outcome> results =
            Exchanged(ranks, /*threads=*/2, {.cell = 64, .bucket_bytes = bucket}, as_they_come);
        std::vector<int> owners(sums.size());
        for (const Outcome& result : results) {
          EXPECT_EQ(result.values, results[0].values);
          for (const IndexRange& range : result.owned) {
            for (int64_t i = range.begin; i < range.end; ++i) {
              ++owners[static_cast<size_t>(i)];
              ASSERT_EQ(result.gradients[static_cast<size_t>(i)], sums[static_cast<size_t>(i)])
                  << i << " of " << ranks << " ranks, buckets of " << bucket;
            }
          }
        }
        Context ctx({.threads = 1});
        const Store made(ctx);
        for (const ParameterInfo& info : made.store.infos()) {
          if (info.frozen) continue;
          for (int64_t i = info.offset; i < info.offset + info.shape.size(); ++i)
            ASSERT_EQ(owners[static_cast<size_t>(i)], 1) << info.name << " " << i;
        }
      }
    }
  }
}

TEST(GradientExchangeTest, TheSharesAreEqualToACellForEachBucket) {
  for (const int ranks : {2, 3, 4}) {
    const std::vector<Outcome> results = Exchanged(ranks, 1, {.cell = 64, .bucket_bytes = 2048});
    int64_t fewest = 1 << 30, most = 0;
    for (const Outcome& result : results) {
      int64_t owned = 0;
      for (const IndexRange& range : result.owned) owned += range.size();
      fewest = std::min(fewest, owned);
      most = std::max(most, owned);
    }
    EXPECT_GT(results[0].buckets, 3u);
    EXPECT_LE(most - fewest, 64 * static_cast<int64_t>(results[0].buckets)) << ranks;
  }
}

// Each of R terms is rounded to 8 bits, half a unit in the last place, 2^-9 of it; their float sum
// adds errors that are far below.
TEST(GradientExchangeTest, OnTheWireBf16RoundsEachTermOnceAndNothingElse) {
  const int ranks = 4;
  const std::vector<float> sums = Sums(ranks);
  const std::vector<Outcome> results =
      Exchanged(ranks, 2, {.cell = 64, .bucket_bytes = 2048, .wire = Wire::kBF16});
  bool rounded = false;
  for (const Outcome& result : results) {
    EXPECT_EQ(result.values, results[0].values);
    for (const IndexRange& range : result.owned) {
      for (int64_t i = range.begin; i < range.end; ++i) {
        // Terms of a normal distribution stay below 5; the shared parameter has three times 4.
        const float error =
            std::abs(result.gradients[static_cast<size_t>(i)] - sums[static_cast<size_t>(i)]);
        ASSERT_LE(error, 12 * 5.0f / 512 * 1.01f) << i;
        rounded = rounded || error > 0.0f;
      }
    }
  }
  EXPECT_TRUE(rounded);
}

TEST(GradientExchangeTest, TheNormOfWhatIsOwnedTogetherIsTheNormOfAll) {
  Context ctx({.threads = 3});
  Store made(ctx);
  Fill(made.store, 0);
  const ParameterSet set = made.store.ParametersToWrite();
  GradientNorm whole(set), parts(set);
  const double want = whole.Measure(ctx, set).value();
  ThreadRanks::Run(3, [&](Communicator& communicator) {
    Context own({.threads = 1});
    Store mine(own);
    const auto exchange = GradientExchange::Make(communicator, mine.store, kFinalOrder,
                                                 {.cell = parts.cell(), .bucket_bytes = 1024})
                              .value();
    if (communicator.rank() != 0) return;
    for (int rank = 0; rank < 3; ++rank) parts.MeasureCells(own, set, exchange->owned_by(rank));
  });
  EXPECT_EQ(parts.Finish(set).value(), want);
}

}  // namespace
}  // namespace lockstep
