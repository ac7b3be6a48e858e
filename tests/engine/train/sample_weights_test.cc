// Weights of samples, from a dataset to the loss of a step.
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/norm/layer_norm.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using ::testing::HasSubstr;

// Between 0 and 3; every seventh is 0.
std::vector<float> Weights(int64_t count) {
  Random random(5, StreamOf("weights"));
  std::vector<float> weights;
  for (int64_t i = 0; i < count; ++i)
    weights.push_back(i % 7 == 3 ? 0.0f : static_cast<float>(3.0 * random.Uniform()));
  return weights;
}

DatasetPtr WeightedBlobs(int64_t samples) {
  return std::make_shared<WeightedDataset>(Blobs(samples, 6, 4, 0.7, 51), Weights(samples));
}

struct Outcome {
  Status status;
  uint64_t hash = 0;
  std::vector<double> losses, validation;
  int64_t skipped = 0;
  bool operator==(const Outcome& other) const {
    return hash == other.hash && losses == other.losses && validation == other.validation;
  }
};

struct Job {
  Subset train{}, validation{};
  int threads = 1;
  int64_t micro_batches = 1;
  int prefetch = 0;
};

std::vector<Outcome> Train(int ranks, const Job& job) {
  std::vector<Outcome> outcomes(static_cast<size_t>(ranks));
  ThreadRanks::Run(ranks, [&](Communicator& communicator) {
    Outcome& outcome = outcomes[static_cast<size_t>(communicator.rank())];
    Rig rig(job.train, Sequential(Linear(16), LayerNorm(), Relu(), Linear(4)), CrossEntropyLoss(),
            {.threads = job.threads,
             .shards = 4,
             .loader = {.batch = 32,
                        .seed = 3,
                        .prefetch = job.prefetch,
                        .threads = 1 + job.prefetch,
                        .rank = communicator.rank(),
                        .ranks = ranks},
             .communicator = &communicator},
            {.epochs = 3,
             .micro_batches = job.micro_batches,
             .validation = job.validation,
             .evaluation_batch = job.validation.empty() ? 0 : 8});
    outcome.status = rig.status;
    if (!rig.status.ok()) return;
    const Result<TrainingSummary> summary = rig.trainer->Run();
    outcome.status = summary.status();
    if (!summary.ok()) return;
    outcome.skipped = summary->skipped_batches;
    outcome.hash = ModelHash(*rig.net);
    for (const EpochReport& epoch : rig.trainer->history()) {
      outcome.losses.push_back(epoch.train_loss);
      if (epoch.validation) outcome.validation.push_back(epoch.validation->loss);
    }
  });
  return outcomes;
}

TEST(SampleWeightsRunTest, PartsRanksThreadsAndLoadersChangeNoBit) {
  const auto [train, validation] = Deal(WeightedBlobs(154), 3);
  const Outcome alone = Train(1, {.train = train, .validation = validation})[0];
  ASSERT_TRUE(alone.status.ok()) << alone.status.message();
  for (const int ranks : {1, 2, 4}) {
    for (const int64_t parts : {1, 2}) {
      if (ranks * parts > 4) continue;
      for (const Outcome& outcome : Train(ranks, {.train = train,
                                                 .validation = validation,
                                                 .threads = ranks == 1 ? 2 : 1,
                                                 .micro_batches = parts,
                                                 .prefetch = ranks == 2 ? 2 : 0})) {
        ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
        EXPECT_TRUE(outcome == alone) << ranks << " ranks, " << parts << " parts";
      }
    }
  }
}

TEST(SampleWeightsRunTest, TheyDecideWhatIsLearned) {
  const DatasetPtr blobs = Blobs(120, 6, 4, 0.7, 51);
  const auto ones = std::make_shared<WeightedDataset>(blobs, std::vector<float>(120, 1.0f));
  const Outcome plain = Train(1, {.train = All(blobs)})[0];
  const Outcome of_ones = Train(1, {.train = All(ones)})[0];
  const Outcome weighted = Train(1, {.train = All(WeightedBlobs(120))})[0];
  ASSERT_TRUE(plain.status.ok() && of_ones.status.ok() && weighted.status.ok());
  EXPECT_NEAR(of_ones.losses.back(), plain.losses.back(), 1e-4);
  EXPECT_NE(weighted.losses.back(), plain.losses.back());
}

// The loss of an evaluation is sum w l / sum w; accuracy counts every sample once.
TEST(SampleWeightsRunTest, EvaluationWeighsTheLossAlone) {
  const DatasetPtr blobs = Blobs(60, 6, 4, 0.7, 51);
  std::vector<float> first(60), second(60);
  for (size_t i = 0; i < 60; ++i) (i < 20 ? first : second)[i] = 1.0f;
  Context ctx({.threads = 1});
  const auto bind = [&](bool weighted) {
    return Network::Bind(ctx, Sequential(Linear(4)), CrossEntropyLoss(),
                         {.input = {16, 6}, .seed = 3, .weighted = weighted})
        .value();
  };
  Network plain = bind(false), weighted = bind(true);
  const auto loss = [&](const std::vector<float>& weights) {
    const Subset all = All(std::make_shared<WeightedDataset>(blobs, weights));
    return Evaluate(weighted, all).value();
  };
  std::vector<int64_t> front = AllIndices(20), back;
  for (int64_t i = 20; i < 60; ++i) back.push_back(i);
  const EvaluationResult on_front = Evaluate(plain, {blobs, front}).value();
  const EvaluationResult on_back = Evaluate(plain, {blobs, back}).value();
  EXPECT_NEAR(loss(first).loss, on_front.loss, 1e-6);
  EXPECT_NEAR(loss(second).loss, on_back.loss, 1e-6);
  EXPECT_EQ(loss(first).accuracy, loss(second).accuracy);
  EXPECT_EQ(loss(first).accuracy, Evaluate(plain, All(blobs)).value().accuracy);
  // A network that weighs takes samples without weights as they are.
  EXPECT_NEAR(Evaluate(weighted, All(blobs)).value().loss, Evaluate(plain, All(blobs))->loss, 1e-6);
  const auto none = Evaluate(
      weighted, All(std::make_shared<WeightedDataset>(blobs, std::vector<float>(60, 0.0f))));
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.status().message(), HasSubstr("weight 0"));
  const auto lost =
      Evaluate(plain, All(std::make_shared<WeightedDataset>(blobs, std::vector<float>(60, 1.0f))));
  ASSERT_FALSE(lost.ok());
  EXPECT_THAT(lost.status().message(), HasSubstr("NetworkOptions::weighted"));
}

// Batches of 8 in which nothing counts are left out; on every rank, also where only one has such a
// part.
TEST(SampleWeightsRunTest, ABatchOfWeightZeroIsLeftOut) {
  const DatasetPtr blobs = Blobs(64, 6, 4, 0.7, 51);
  const auto zeros = std::make_shared<WeightedDataset>(blobs, std::vector<float>(64, 0.0f));
  for (const int ranks : {1, 2}) {
    for (const Outcome& outcome : Train(ranks, {.train = All(zeros)})) {
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.message();
      EXPECT_EQ(outcome.skipped, 6);  // two batches in three epochs
    }
  }
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Linear(1)), BceWithLogitsLoss(),
                              {.input = {4, 2}, .weighted = true})
                    .value();
  AdamW adam;
  const std::vector<float> x(8, 1.0f), t(4, 1.0f), w(4, 0.0f);
  const std::array inputs{ConstTensor(x.data(), {4, 2}), ConstTensor(t.data(), {4, 1}),
                          ConstTensor(w.data(), {4})};
  const uint64_t before = ModelHash(net);
  const Result<double> loss = net.TrainStep(inputs, adam);
  ASSERT_TRUE(loss.ok()) << loss.status().message();
  EXPECT_TRUE(std::isnan(*loss));
  EXPECT_EQ(ModelHash(net), before);
}

}  // namespace
}  // namespace lockstep::toy
