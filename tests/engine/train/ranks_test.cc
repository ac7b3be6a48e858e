// The same loop with several ranks: all that changes is the communicator that is passed in.
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/container/residual.h"
#include "layers/conv/conv.h"
#include "layers/conv/conv_transpose.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/norm/group_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/norm/rms_norm.h"
#include "layers/picture/pool.h"
#include "layers/sequence/embed_features.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

struct Outcome {
  Status status;
  TrainingSummary summary;
  std::vector<EpochReport> history;
  std::vector<StepReport> steps;
  std::vector<float> parameters;
  uint64_t hash = 0;  // of parameters, running statistics and counts
};

struct Log final : TrainingObserver {
  Wish OnStep(const StepReport& report) override {
    steps.push_back(report);
    return report.step == stop_at ? Wish::kStop : Wish::kGoOn;
  }
  int64_t stop_at = -1;
  std::vector<StepReport> steps;
};

struct Job {
  Subset train{}, validation{};
  std::function<Sequential()> layers{};
  CrossEntropyLossOptions loss{};
  int shards = 4;  // in all
  int64_t batch = 32;
  int64_t micro_batches = 1;
  int64_t stop_at = -1;  // wish of the last rank alone
};

// The outcome on every rank.
std::vector<Outcome> Train(int ranks, const Job& job) {
  std::vector<Outcome> outcomes(static_cast<size_t>(ranks));
  ThreadRanks::Run(ranks, [&](Communicator& communicator) {
    Outcome& outcome = outcomes[static_cast<size_t>(communicator.rank())];
    Log log;
    if (communicator.rank() == ranks - 1) log.stop_at = job.stop_at;
    Rig rig(job.train, job.layers(), CrossEntropyLoss(job.loss),
            {.shards = job.shards,
             .loader = {.batch = job.batch,
                        .seed = 3,
                        .prefetch = 0,
                        .rank = communicator.rank(),
                        .ranks = ranks},
             .communicator = &communicator},
            {.epochs = 3,
             .clip_norm = 1.0,
             .micro_batches = job.micro_batches,
             .ema = EmaOptions{},
             .validation = job.validation,
             .evaluation_batch = 8,
             .observer = &log});
    outcome.status = rig.status;
    if (!rig.status.ok()) return;
    const Result<TrainingSummary> summary = rig.trainer->Run();
    outcome.status = summary.status();
    if (summary.ok()) outcome.summary = summary.value();
    outcome.history = rig.trainer->history();
    outcome.steps = log.steps;
    const auto values = rig.net->parameters().values;
    outcome.parameters.assign(values.begin(), values.end());
    outcome.hash = ModelHash(*rig.net);
  });
  return outcomes;
}

// Products sum over shards and then over ranks in one tree, so even the bits agree. 103 samples:
// the last batch of 7 gives the ranks 1 or 2 samples each.
TEST(RanksTest, ProductsGiveTheSameBitsOnOneTwoAndFourRanks) {
  const auto [train, validation] = Deal(Blobs(154, 6, 4, 0.7, 51), 3);
  for (const bool weighted : {false, true}) {
    Job job{.train = train, .validation = validation, .layers = [] {
              return Sequential(Linear(32), Relu(), Dropout(0.2), Linear(16), Relu(), Linear(4));
            }};
    if (weighted) job.loss.class_weights = {1.0f, 0.5f, 3.0f, 0.0f};
    const Outcome alone = Train(1, job)[0];
    ASSERT_TRUE(alone.status.ok()) << alone.status.message();
    for (const int ranks : {2, 4}) {
      for (const Outcome& outcome : Train(ranks, job)) {
        ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
        EXPECT_EQ(outcome.parameters, alone.parameters) << ranks << " ranks";
        ASSERT_EQ(outcome.history.size(), alone.history.size());
        for (size_t i = 0; i < alone.history.size(); ++i) {
          EXPECT_EQ(outcome.history[i].train_loss, alone.history[i].train_loss);
          EXPECT_EQ(outcome.history[i].samples, alone.history[i].samples);
          EXPECT_EQ(outcome.history[i].validation->loss, alone.history[i].validation->loss);
          EXPECT_EQ(outcome.history[i].validation->accuracy, alone.history[i].validation->accuracy);
          EXPECT_EQ(outcome.history[i].validation->confusion,
                    alone.history[i].validation->confusion);
        }
      }
    }
  }
}

// Whole runs of three families of norms, shuffled anew in each epoch, on every number of ranks that
// can hold the shards in powers of two: one hash. Batches are odd, smaller than the shards, and
// smaller than the ranks in the last of an epoch.
TEST(RanksTest, EveryNumberOfRanksThatTheShardsAllowEndsInTheSameBits) {
  const std::vector<std::pair<std::string, std::function<Sequential()>>> models = {
      {"batch norm",
       [] {
         return Sequential(Linear(9), BatchNorm(), Relu(), Linear(7), BatchNorm(), Linear(4));
       }},
      {"layer norm in residuals",
       [] {
         return Sequential(Linear(8), Residual(Sequential(LayerNorm(), Linear(8), Gelu())),
                           Residual(Sequential(RmsNorm(), Linear(8))), Dropout(0.1), Linear(4));
       }},
      {"group norm", [] { return Sequential(Linear(8), GroupNorm(4), Relu(), Linear(4)); }}};
  int runs = 0;
  for (const auto& [name, layers] : models) {
    for (const int shards : {4, 6, 8, 12}) {
      for (const auto& [batch, samples] : {std::pair{13, 41}, {5, 23}, {32, 79}}) {
        Job job{.train = All(Blobs(samples, 6, 4, 0.7, 51)),
                .layers = layers,
                .shards = shards,
                .batch = batch};
        const Outcome alone = Train(1, job)[0];
        ASSERT_TRUE(alone.status.ok()) << alone.status.message();
        for (const int ranks : {2, 3, 4, 6}) {
          SCOPED_TRACE(name + ", " + std::to_string(shards) + " shards, " + std::to_string(ranks) +
                       " ranks, batches of " + std::to_string(batch));
          const int each = shards / ranks;
          const bool allowed = each * ranks == shards && (each & (each - 1)) == 0;
          for (const Outcome& outcome : Train(ranks, job)) {
            if (!allowed) {
              EXPECT_THAT(outcome.status.message(), testing::HasSubstr("a power of two of them"));
              continue;
            }
            ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
            EXPECT_EQ(outcome.hash, alone.hash);
            EXPECT_EQ(outcome.parameters, alone.parameters);
            ++runs;
          }
        }
      }
    }
  }
  // 4 and 8 shards on 2 and 4 ranks, 6 and 12 shards on 3 and 6 ranks.
  EXPECT_EQ(runs, 3 * 3 * 2 * (2 + 4 + 3 + 6));
}

// Parts of a batch are whole shards as well: they change no bit either, on one rank or several.
TEST(RanksTest, PartsOfABatchOnSeveralRanksEndInTheSameBits) {
  Job job{.train = All(Blobs(103, 6, 4, 0.7, 52)),
          .layers = [] { return Sequential(Linear(16), LayerNorm(), Gelu(), Linear(4)); },
          .loss = {.class_weights = {1.0f, 0.5f, 3.0f, 0.25f}},
          .shards = 16};
  const Outcome alone = Train(1, job)[0];
  ASSERT_TRUE(alone.status.ok()) << alone.status.message();
  for (const int ranks : {1, 2, 4}) {
    for (const int64_t parts : {2, 4, 8}) {
      if (ranks * parts > 16) continue;
      job.micro_batches = parts;
      for (const Outcome& outcome : Train(ranks, job)) {
        ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
        EXPECT_EQ(outcome.hash, alone.hash) << ranks << " ranks, " << parts << " parts";
      }
    }
  }
}

// Sequences of five positions, of which a sample counts none to all: ranks and parts of a batch hold
// very different numbers of them. A mean of their means would be far off; even the bits agree.
Subset Sequences(int64_t count, uint64_t seed) {
  constexpr int64_t kLength = 5, kFeatures = 6;
  Random random(seed, StreamOf("sequences"));
  std::vector<float> x(static_cast<size_t>(count * kLength * kFeatures));
  for (float& v : x) v = static_cast<float>(random.Normal());
  std::vector<int32_t> targets;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t counted = random.Below(kLength + 1);
    for (int64_t t = 0; t < kLength; ++t) {
      targets.push_back(static_cast<uint64_t>(t) < counted ? static_cast<int32_t>(random.Below(4))
                                                           : kIgnoredTarget);
    }
  }
  DatasetInfo info{.name = "sequences",
                   .size = count,
                   .x_shape = {kLength, kFeatures},
                   .target_shape = {kLength},
                   .classes = 4};
  return All(InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets)).value());
}

TEST(RanksTest, SequencesAreDividedByThePositionsThatCountInTheWholeBatch) {
  Job job{.train = Sequences(103, 1),
          .validation = Sequences(50, 2),
          .layers = [] { return Sequential(Linear(16), LayerNorm(), Gelu(), Linear(4)); },
          .shards = 16};
  const Outcome alone = Train(1, job)[0];
  ASSERT_TRUE(alone.status.ok()) << alone.status.message();
  const EvaluationResult& measured = alone.history.back().validation.value();
  ASSERT_TRUE(measured.exact && measured.perplexity);
  EXPECT_EQ(*measured.perplexity, std::exp(measured.loss));
  for (const int ranks : {1, 2, 4}) {
    for (const int64_t parts : {1, 2, 4}) {
      job.micro_batches = parts;
      for (const Outcome& outcome : Train(ranks, job)) {
        ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
        EXPECT_EQ(outcome.hash, alone.hash) << ranks << " ranks, " << parts << " parts";
        const EvaluationResult& result = outcome.history.back().validation.value();
        EXPECT_EQ(result.loss, measured.loss);
        EXPECT_EQ(result.exact, measured.exact);
        EXPECT_EQ(result.predictions, measured.predictions);
      }
    }
  }
}

// Convolutions of every kind: direct, Winograd's, depthwise, 1x1 and transposed, where whole lines
// of pictures are finished for the norms.
TEST(RanksTest, ConvolutionsEndInTheSameBitsOnAnyRanksAndInAnyParts) {
  const auto pictures = [](int64_t samples) {
    Random random(/*seed=*/5, StreamOf("pictures"));
    std::vector<float> x(static_cast<size_t>(samples * 7 * 5 * 3));
    for (float& v : x) v = static_cast<float>(random.Normal());
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < samples; ++i) targets.push_back(static_cast<int32_t>(i % 4));
    return MakeDataset({.name = "pictures",
                        .size = samples,
                        .x_shape = {7, 5, 3},
                        .task = Task::kClasses,
                        .classes = 4},
                       std::move(x), std::move(targets));
  };
  for (const bool batch_norm : {true, false}) {
    const auto layers = [&] {
      const auto norm = [&](Sequential& net) {
        batch_norm ? net.Add(BatchNorm()) : net.Add(GroupNorm(4));
        net.Add(Relu());
      };
      Sequential net;
      net.Add(Conv2d(32, {.padding = 1, .bias = false}));
      norm(net);
      net.Add(Conv2d(32, {.padding = 1}));
      norm(net);
      net.Add(Conv2d(32, {.stride = 2, .padding = 1, .groups = 32}));
      norm(net);
      net.Add(Conv2d(12, {.kernel = 1}));
      norm(net);
      net.Add(ConvTranspose2d(4, {.stride = 2})).Add(MaxPool2d(2)).Add(Flatten()).Add(Linear(4));
      return net;
    };
    Job job{.train = All(pictures(37)), .layers = layers, .shards = 8, .batch = 21};
    const Outcome alone = Train(1, job)[0];
    ASSERT_TRUE(alone.status.ok()) << alone.status.message();
    for (const int ranks : {1, 2, 4}) {
      for (const int64_t parts : {1, 2}) {
        if (batch_norm && parts > 1) continue;  // its statistics are those of a part
        job.micro_batches = parts;
        for (const Outcome& outcome : Train(ranks, job)) {
          ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
          EXPECT_EQ(outcome.hash, alone.hash) << ranks << " ranks, " << parts << " parts";
        }
      }
    }
  }
}

// Two columns of categories beside three numbers. Every row of a table of vectors gets the gradients
// of samples of several ranks, and some of none.
TEST(RanksTest, EmbeddedCategoriesEndInTheSameBitsOnAnyRanksAndInAnyParts) {
  const auto rows = [](int64_t samples, uint64_t seed) {
    Random random(seed, StreamOf("rows"));
    std::vector<float> x;
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < samples; ++i) {
      for (int f = 0; f < 3; ++f) x.push_back(static_cast<float>(random.Normal()));
      const uint64_t first = random.Below(7), second = random.Below(random.Below(97) + 1);
      x.push_back(static_cast<float>(first));
      x.push_back(static_cast<float>(second));
      targets.push_back(static_cast<int32_t>((first + second) % 4));
    }
    return All(MakeDataset({.name = "rows", .size = samples, .x_shape = {5}, .classes = 4},
                           std::move(x), std::move(targets)));
  };
  Job job{.train = rows(103, 1),
          .validation = rows(37, 2),
          .layers =
              [] {
                return Sequential(
                    EmbedFeatures({{.values = 7, .width = 3}, {.values = 97, .width = 5}}),
                    Linear(16), BatchNorm(), Relu(), Linear(4));
              },
          .shards = 8};
  const Outcome alone = Train(1, job)[0];
  ASSERT_TRUE(alone.status.ok()) << alone.status.message();
  for (const int ranks : {2, 4}) {
    for (const Outcome& outcome : Train(ranks, job)) {
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
      EXPECT_EQ(outcome.hash, alone.hash) << ranks << " ranks";
      EXPECT_EQ(outcome.parameters, alone.parameters) << ranks << " ranks";
      EXPECT_EQ(outcome.history.back().validation->loss, alone.history.back().validation->loss);
    }
  }
  job.layers = [] {  // the statistics of a batch norm are those of a part
    return Sequential(EmbedFeatures({{.values = 7, .width = 3}, {.values = 97, .width = 5}}),
                      Linear(16), LayerNorm(), Relu(), Linear(4));
  };
  const Outcome whole = Train(1, job)[0];
  for (const int ranks : {1, 2, 4}) {
    job.micro_batches = 2;
    for (const Outcome& outcome : Train(ranks, job)) {
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
      EXPECT_EQ(outcome.hash, whole.hash) << ranks << " ranks in parts";
    }
  }
}

TEST(RanksTest, AllStopOneStepAfterAnyRankWishes) {
  const Job job{.train = All(Blobs(103, 6, 4, 0.7, 53)),
                .layers = [] { return Sequential(Linear(4)); },
                .stop_at = 5};
  for (const Outcome& outcome : Train(4, job)) {
    EXPECT_EQ(outcome.summary.reason, StopReason::kRequested);
    EXPECT_EQ(outcome.summary.steps, 6);
  }
}

// One sample is NaN: its rank says so, and the others say what that rank says; none waits for ever.
TEST(RanksTest, AnErrorOnOneRankEndsAll) {
  class Poisoned final : public Dataset {
   public:
    Poisoned()
        : Dataset({.name = "poisoned",
                   .size = 64,
                   .x_shape = {4},
                   .task = Task::kClasses,
                   .classes = 4}) {}

   private:
    Status Read(std::span<const int64_t> indices, Tensor x, Tensor target, int64_t) const override {
      for (size_t i = 0; i < indices.size(); ++i) {
        const float value = indices[i] == 17 ? NAN : 1.0f;
        if (!x.empty()) std::fill_n(x.f32() + 4 * i, 4, value);
        if (!target.empty()) target.as<int32_t>()[i] = static_cast<int32_t>(indices[i] % 4);
      }
      return Status::Ok();
    }
  };
  const Job job{.train = All(std::make_shared<Poisoned>()),
                .layers = [] { return Sequential(Linear(4)); }};
  std::set<std::string> said;
  for (const Outcome& outcome : Train(4, job)) {
    EXPECT_EQ(outcome.status.code(), Code::kNonFinite);
    EXPECT_THAT(outcome.status.message(),
                testing::AllOf(testing::HasSubstr("rank "), testing::HasSubstr("input")));
    said.insert(outcome.status.message());
  }
  EXPECT_EQ(said.size(), 1u);
}

// A last batch of two samples: with four ranks, two of them have none.
TEST(RanksTest, RanksWithoutSamplesTakePart) {
  const Job job{.train = All(Blobs(34, 6, 4, 0.7, 54)),
                .layers = [] { return Sequential(Linear(8), Relu(), Linear(4)); }};
  const Outcome alone = Train(1, job)[0];
  for (const Outcome& outcome : Train(4, job)) {
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
    EXPECT_EQ(outcome.parameters, alone.parameters);
  }
}

// Statistics of each rank's own samples: another model for another number of ranks, but one that all
// ranks agree on.
TEST(RanksTest, StatisticsOfARankAreItsOwnAndRunningOnesAreTheSameOnAll) {
  const auto job = [](bool sync) {
    return Job{.train = All(Blobs(100, 6, 4, 0.7, 54)), .layers = [sync] {
                 return Sequential(Linear(9), BatchNorm({.sync = sync}), Relu(), Linear(4));
               }};
  };
  const Outcome alone = Train(1, job(true))[0];
  EXPECT_EQ(Train(1, job(false))[0].hash, alone.hash);
  const std::vector<Outcome> ranks = Train(2, job(false));
  for (const Outcome& outcome : ranks) {
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
    EXPECT_EQ(outcome.hash, ranks[0].hash);
    EXPECT_NE(outcome.hash, alone.hash);
  }
  // A last batch of two samples leaves a rank with one, which has no variance: no rank goes on.
  Job small = job(false);
  small.train = All(Blobs(34, 6, 4, 0.7, 54));
  for (const Outcome& outcome : Train(2, small)) EXPECT_FALSE(outcome.status.ok());
}

TEST(RanksTest, EachRankHoldsTheOptimizersStatesOfItsShare) {
  constexpr int kRanks = 4;
  std::vector<int64_t> floats(kRanks), whole(kRanks);
  ThreadRanks::Run(kRanks, [&](Communicator& communicator) {
    const auto rank = static_cast<size_t>(communicator.rank());
    Rig rig(All(Blobs(64, 300, 4, 0.7, 55)), Sequential(Linear(200), Relu(), Linear(4)),
            CrossEntropyLoss(),
            {.shards = 4,
             .loader = {.batch = 32, .rank = communicator.rank(), .ranks = kRanks},
             .communicator = &communicator},
            {.epochs = 1});
    ASSERT_TRUE(rig.status.ok()) << rig.status.message();
    for (const OptimizerState& state : rig.optimizer.states()) floats[rank] += state.tensor.size();
    whole[rank] = 2 * rig.net->parameter_count();

    // One that was bound to everything would be given gradients that are not sums.
    AdamW other;
    ASSERT_TRUE(other.Bind(rig.net->context(), rig.net->store().ParametersToWrite()).ok());
    const auto step = TrainingStep::Make(*rig.net, {}).value();
    EXPECT_THAT(step->BindOptimizer(other).message(), testing::HasSubstr("leave it unbound"));
  });
  int64_t sum = 0;
  for (const int64_t held : floats) {
    sum += held;
    EXPECT_LE(held, whole[0] / kRanks * 11 / 10);
  }
  EXPECT_EQ(sum, whole[0]);
}

}  // namespace
}  // namespace lockstep::toy
