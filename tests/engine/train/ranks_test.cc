// The same loop with several ranks: all that changes is the communicator that is passed in.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/dropout.h"
#include "layers/layer_norm.h"
#include "tests/engine/train/thread_ranks.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::toy {
namespace {

struct Outcome {
  Status status;
  TrainingSummary summary;
  std::vector<EpochReport> history;
  std::vector<StepReport> steps;
  std::vector<float> parameters;
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
  Sequential (*layers)() = nullptr;
  CrossEntropyLossOptions loss{};
  int shards = 4;  // in all
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
    Rig rig(
        job.train, job.layers(), CrossEntropyLoss(job.loss),
        {.shards = job.shards / ranks,
         .loader =
             {.batch = 32, .seed = 3, .prefetch = 0, .rank = communicator.rank(), .ranks = ranks}},
        {.epochs = 3,
         .clip_norm = 1.0,
         .micro_batches = job.micro_batches,
         .ema = EmaOptions{},
         .validation = job.validation,
         .evaluation_batch = 8,
         .observer = &log,
         .communicator = &communicator});
    outcome.status = rig.status;
    if (!rig.status.ok()) return;
    const Result<TrainingSummary> summary = rig.trainer->Run();
    outcome.status = summary.status();
    if (summary.ok()) outcome.summary = summary.value();
    outcome.history = rig.trainer->history();
    outcome.steps = log.steps;
    const auto values = rig.net->parameters().values;
    outcome.parameters.assign(values.begin(), values.end());
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

TEST(RanksTest, OtherLayersAndMicroBatchesAgreeUpToRounding) {
  const Job job{.train = All(Blobs(103, 6, 4, 0.7, 52)),
                .layers = [] { return Sequential(Linear(16), LayerNorm(), Gelu(), Linear(4)); }};
  const Outcome alone = Train(1, job)[0];
  for (const int64_t micro_batches : {1, 3}) {
    Job cut = job;
    cut.micro_batches = micro_batches;
    const Outcome outcome = Train(2, cut)[1];
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
    for (size_t i = 0; i < alone.parameters.size(); ++i) {
      // AdamW moves by up to lr = 3e-3 in each of 12 steps, in the direction of the gradient's
      // sign: where a gradient is itself only rounding, so is that. A tenth of one step.
      ASSERT_NEAR(outcome.parameters[i], alone.parameters[i], 3e-4) << i;
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

// One sample is NaN: its rank says so, the others say which rank to ask; none waits for ever.
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
  int own = 0, others = 0;
  for (const Outcome& outcome : Train(4, job)) {
    ASSERT_FALSE(outcome.status.ok());
    own += outcome.status.code() == Code::kNonFinite;
    others += outcome.status.message().find("failed; it says why") != std::string::npos;
  }
  EXPECT_EQ(own, 1);
  EXPECT_EQ(others, 3);
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

}  // namespace
}  // namespace lockstep::toy
