// What callbacks and datasets of someone else's throw while a run, an evaluation or a prediction is
// under way comes back as an error of the call, on every rank, and the run can go on.
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "engine/train/checkpointing.h"
#include "engine/train/evaluate.h"
#include "engine/train/explain.h"
#include "engine/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/loss/mse.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

enum class Call { kNone, kStep, kEvaluation, kEpoch, kSave };

struct ThrowsOnce final : TrainingObserver {
  Wish Meet(Call here, int64_t step) {
    if (here != at || step < from) return Wish::kGoOn;
    at = Call::kNone;
    throw std::runtime_error("the observer has no time");
  }
  Wish OnStep(const StepReport& report) override {
    steps = report.step;
    const bool saves = at == Call::kSave && report.step >= from;
    return saves ? Wish::kSave : Meet(Call::kStep, report.step);
  }
  Wish OnSave() override { return Meet(Call::kSave, from); }
  Wish OnEvaluation(const EvaluationReport& report) override {
    return Meet(Call::kEvaluation, report.step);
  }
  Wish OnEpoch(const EpochReport& report) override { return Meet(Call::kEpoch, report.step); }

  Call at = Call::kNone;
  int64_t from = 3;
  int64_t steps = 0;
};

// `base`, whose samples cannot always be had.
class ThrowingDataset final : public Dataset {
 public:
  explicit ThrowingDataset(DatasetPtr base) : Dataset(base->info()), base_(std::move(base)) {}
  mutable int64_t throws_in = -1;  // reads from now
  bool out_of_memory = false;

 private:
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override {
    if (throws_in >= 0 && throws_in-- == 0) {
      if (out_of_memory) throw std::bad_alloc();
      throw std::runtime_error("the disk is on fire");
    }
    return base_->Gather(indices, x, target, epoch);
  }
  DatasetPtr base_;
};

TrainerOptions Options(const DatasetPtr& data, TrainingObserver* observer) {
  return {.epochs = 3, .validation = All(data), .evaluation_batch = 8, .observer = observer};
}

uint64_t Undisturbed(const DatasetPtr& data) {
  Rig rig(All(data), BnMlp(8, 3), CrossEntropyLoss(), {}, Options(data, nullptr));
  EXPECT_TRUE(rig.trainer->Run().ok());
  return ModelHash(*rig.net);
}

TEST(ThrownTest, WhatAnObserverThrowsEndsTheRunWhichGoesOnToTheSameBits) {
  const DatasetPtr data = Blobs(96, 5, 3, 0.5, 11);
  const uint64_t expected = Undisturbed(data);
  for (const Call call : {Call::kStep, Call::kEvaluation, Call::kEpoch, Call::kSave}) {
    ThrowsOnce observer;
    observer.at = call;
    Rig rig(All(data), BnMlp(8, 3), CrossEntropyLoss(), {}, Options(data, &observer));
    ASSERT_TRUE(rig.status.ok()) << rig.status.message();
    const Status status = rig.trainer->Run().status();
    EXPECT_EQ(status.code(), Code::kInternal) << status.message();
    EXPECT_THAT(status.message(), HasSubstr("TrainingObserver::On"));
    EXPECT_THAT(status.message(), HasSubstr("no time"));
    EXPECT_EQ(rig.trainer->step(), observer.steps);
    ASSERT_TRUE(rig.trainer->Run().ok());
    EXPECT_EQ(ModelHash(*rig.net), expected) << static_cast<int>(call);
  }
}

TEST(ThrownTest, OnSeveralRanksItEndsTheRunOnEach) {
  const DatasetPtr data = Blobs(96, 5, 3, 0.5, 11);
  for (const Call call : {Call::kStep, Call::kEvaluation, Call::kEpoch, Call::kSave}) {
    for (const int64_t from : {3, 9}) {  // in the middle, and at the end of the last step
      std::vector<Status> statuses(2);
      std::vector<uint64_t> hashes(2);
      ThreadRanks::Run(2, [&](Communicator& communicator) {
        const auto rank = static_cast<size_t>(communicator.rank());
        ThrowsOnce observer;
        if (rank == 1) observer.at = call;
        observer.from = from;
        Rig rig(All(data), BnMlp(8, 3), CrossEntropyLoss(),
                {.shards = 4,
                 .loader = {.batch = 32, .rank = communicator.rank(), .ranks = 2},
                 .communicator = &communicator},
                Options(data, &observer));
        ASSERT_TRUE(rig.status.ok()) << rig.status.message();
        statuses[rank] = rig.trainer->Run().status();
        hashes[rank] = ModelHash(*rig.net);
      });
      // A wish of the last step has nobody left to hear it.
      if (call == Call::kSave && from == 9) continue;
      EXPECT_EQ(hashes[0], hashes[1]);
      for (const Status& status : statuses) {
        EXPECT_EQ(status.code(), Code::kInternal) << status.message();
        EXPECT_THAT(status.message(), HasSubstr("rank 1: TrainingObserver::On"));
      }
    }
  }
}

TEST(ThrownTest, WhatADatasetThrowsEndsTheRunWhichGoesOnToTheSameBits) {
  const DatasetPtr data = Blobs(96, 5, 3, 0.5, 11);
  const uint64_t expected = Undisturbed(data);
  for (const int prefetch : {0, 2}) {
    for (const bool memory : {false, true}) {
      const auto throwing = std::make_shared<ThrowingDataset>(data);
      Rig rig(All(throwing), BnMlp(8, 3), CrossEntropyLoss(),
              {.loader = {.batch = 32, .seed = 7, .prefetch = prefetch}}, Options(data, nullptr));
      ASSERT_TRUE(rig.status.ok()) << rig.status.message();
      throwing->out_of_memory = memory;
      throwing->throws_in = 4;
      const Status status = rig.trainer->Run().status();
      EXPECT_EQ(status.code(), memory ? Code::kOutOfMemory : Code::kInternal) << status.message();
      EXPECT_THAT(status.message(), HasSubstr(memory ? "out of memory" : "the disk is on fire"));
      ASSERT_TRUE(rig.trainer->Run().ok());
      EXPECT_EQ(ModelHash(*rig.net), expected);
    }
  }
}

TEST(ThrownTest, OfAnEvaluationAndAnExplanationToo) {
  const DatasetPtr data = Blobs(96, 5, 3, 0.5, 11);
  const auto throwing = std::make_shared<ThrowingDataset>(data);
  Rig rig(All(data), BnMlp(8, 3), CrossEntropyLoss(), {}, {.epochs = 1});
  const auto evaluator = Evaluator::Make(*rig.net, All(throwing), {.batch = 8}).value();
  const double loss = evaluator->Run().value().loss;
  throwing->throws_in = 2;
  EXPECT_EQ(evaluator->Run().status().code(), Code::kInternal);
  EXPECT_EQ(evaluator->Run().value().loss, loss);

  const std::vector<float> x(5, 1.0f), usual(5, 0.0f);
  const std::vector<FeatureColumn> columns = {{.name = "all", .begin = 0, .end = 5}};
  const Status status = Explain(*rig.net, x, usual, columns, [](std::span<const float>) -> double {
                          throw std::runtime_error("nothing to tell");
                        }).status();
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("nothing to tell"));
  EXPECT_EQ(Explain(*rig.net, x, usual, columns, {}).status().code(), Code::kInvalid);
}

TEST(ThrownTest, TrainersRefuseWhatMakesNoSense) {
  const DatasetPtr data = Blobs(96, 5, 3, 0.5, 11);
  TrainerOptions no_dataset{.epochs = 1};
  no_dataset.validation.indices = {0, 1};
  EXPECT_THAT(Rig(All(data), BnMlp(8, 3), CrossEntropyLoss(), {}, no_dataset).status.message(),
              HasSubstr("its dataset is null"));
  EXPECT_THAT(Rig(All(data), BnMlp(8, 3), CrossEntropyLoss(), {},
                  {.epochs = 1, .validation = All(data), .evaluation_batch = -1})
                  .status.message(),
              HasSubstr("evaluation_batch"));
  TemporaryFolder folder;
  Rig rig(All(data), BnMlp(8, 3), CrossEntropyLoss(), {}, {.epochs = 1});
  ASSERT_TRUE(rig.trainer->Save(folder / "run").ok());
  ASSERT_TRUE(rig.trainer->Run().ok());
  EXPECT_THAT(rig.trainer->Resume(folder / "run").message(), HasSubstr("Resume comes before Run"));
  // The network has gone elsewhere: a trainer borrows it in its place.
  Rig other(All(data), BnMlp(8, 3), CrossEntropyLoss(), {}, {.epochs = 1});
  const Network moved = std::move(*other.net);
  for (const Status& status :
       {other.trainer->Run().status(), other.trainer->Save(folder / "again")}) {
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr("moved from"));
  }
}

}  // namespace
}  // namespace lockstep::toy
