// A run is a function of model, data, seed, global batch and shards: whole training runs compared
// to the last bit.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/io/hash.h"
#include "engine/kernels/targets.h"
#include "engine/train/checkpointing.h"
#include "engine/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/dropout.h"
#include "layers/norm/layer_norm.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/engine/kernels/fused.h"
#include "tests/engine/train/toy_data.h"
// After targets.h.
#include <hwy/tests/hwy_gtest.h>

namespace lockstep::inline v0_1::toy {
namespace {

struct Setup {
  int threads = 1;
  int shards = 1;
  int prefetch = 0;
  bool large = false;  // wide enough that work is really spread over threads
  int64_t micro_batches = 1;
};

// Everything a run can have: batch norm, dropout, layer norm, a partial last batch, clipping, a
// schedule, an average, evaluations.
class WholeRun {
 public:
  explicit WholeRun(const Setup& setup, TrainingObserver* observer = nullptr) {
    const int64_t features = setup.large ? 96 : 12;
    const auto [train, validation] = Deal(Blobs(setup.large ? 500 : 250, features, 5, 1.5, 31), 5);
    const int64_t hidden = setup.large ? 256 : 24;
    RigOptions options{.threads = setup.threads,
                       .shards = setup.shards,
                       .loader = {.batch = 64, .seed = 9, .prefetch = setup.prefetch},
                       .adam = {.lr = 5e-3}};
    rig_ = std::make_unique<Rig>(
        train,
        Sequential(Linear(hidden), BatchNorm(), Relu(), Dropout(0.1), Linear(hidden), LayerNorm(),
                   Gelu(), Linear(hidden), Relu(), Linear(5)),
        CrossEntropyLoss({.label_smoothing = 0.1}), options,
        TrainerOptions{.epochs = 3,
                       .schedule = CosineSchedule{.warmup_steps = 3},
                       .clip_norm = 1.0,
                       .micro_batches = setup.micro_batches,
                       .ema = EmaOptions{.decay = 0.95},
                       .validation = validation,
                       .observer = observer});
    EXPECT_TRUE(rig_->status.ok()) << rig_->status.message();
  }

  Rig& rig() { return *rig_; }
  Trainer& trainer() { return *rig_->trainer; }
  // Runs to the end: the model, and every figure that was reported.
  std::string Hash() {
    const Result<TrainingSummary> summary = trainer().Run();
    EXPECT_TRUE(summary.ok()) << summary.status().message();
    EXPECT_EQ(summary.value().reason, StopReason::kCompleted);
    return HexOf(ModelHash(*rig_->net));
  }

 private:
  std::unique_ptr<Rig> rig_;
};

struct StopAt final : TrainingObserver {
  explicit StopAt(int64_t at) : step(at) {}
  Wish OnStep(const StepReport& report) override {
    losses.push_back(report.loss);
    epoch_losses.push_back(report.epoch_loss);
    return report.step == step ? Wish::kStop : Wish::kGoOn;
  }
  Wish OnEvaluation(const EvaluationReport& report) override {
    evaluations.push_back(report.result.loss);
    return Wish::kGoOn;
  }
  Wish OnEpoch(const EpochReport& report) override {
    epochs.push_back(report.train_loss);
    epochs.push_back(report.learning_rate);
    epochs.push_back(static_cast<double>(report.samples));
    return Wish::kGoOn;
  }
  int64_t step;
  std::vector<double> losses, epoch_losses, evaluations, epochs;
};

TEST(SameBitsTest, ForAnyNumberOfThreads) {
  for (const bool large : {false, true}) {
    for (const int shards : {1, 4}) {
      const std::string one = WholeRun({.threads = 1, .shards = shards, .large = large}).Hash();
      for (const int threads : {2, 3, 8}) {
        EXPECT_EQ(WholeRun({.threads = threads, .shards = shards, .large = large}).Hash(), one)
            << threads << " threads, " << shards << " shards";
      }
    }
  }
}

TEST(SameBitsTest, FromRunToRun) {
  const std::string first = WholeRun({.threads = 2, .large = true}).Hash();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(WholeRun({.threads = 2, .large = true}).Hash(), first);
}

TEST(SameBitsTest, WithAndWithoutPrefetch) {
  const std::string without = WholeRun({}).Hash();
  for (const int prefetch : {1, 3}) EXPECT_EQ(WholeRun({.prefetch = prefetch}).Hash(), without);
}

TEST(SameBitsTest, ShardsAreWhatTheyDependOn) {
  EXPECT_NE(WholeRun({.shards = 1, .large = true}).Hash(),
            WholeRun({.shards = 4, .large = true}).Hash());
}

// ---- Stop and resume --------------------------------------------------------------------------

void ExpectSameTail(const std::vector<double>& tail, const std::vector<double>& whole) {
  ASSERT_LE(tail.size(), whole.size());
  EXPECT_EQ(tail, std::vector<double>(whole.end() - static_cast<std::ptrdiff_t>(tail.size()),
                                      whole.end()));
}

// Seven batches in an epoch: stops in the middle of each, after its last batch, and right before
// the end of the run; onto another number of threads and another prefetch setting.
TEST(SameBitsTest, AfterStopAndResumeAtAnyStep) {
  StopAt all(-1);
  const std::string undisturbed = WholeRun({}, &all).Hash();
  ASSERT_EQ(all.losses.size(), 12u);
  TemporaryFolder folder;
  for (int64_t at = 1; at < 12; ++at) {
    SCOPED_TRACE(at);
    const std::string path = folder / "run.safetensors";
    {
      StopAt stop(at);
      WholeRun first({}, &stop);
      ASSERT_EQ(first.trainer().Run().value().reason, StopReason::kRequested);
      ASSERT_TRUE(first.trainer().Save(path).ok());
    }
    StopAt rest(-1);
    WholeRun second({.threads = 1 + static_cast<int>(at % 3), .prefetch = static_cast<int>(at % 2)},
                    &rest);
    const Status resumed = second.trainer().Resume(path);
    ASSERT_TRUE(resumed.ok()) << resumed.message();
    EXPECT_EQ(second.trainer().step(), at);
    EXPECT_EQ(second.Hash(), undisturbed);
    // Every figure goes on as if nothing had happened, the epoch's running mean included.
    EXPECT_EQ(rest.losses.size(), 12u - static_cast<size_t>(at));
    ExpectSameTail(rest.losses, all.losses);
    ExpectSameTail(rest.epoch_losses, all.epoch_losses);
    ExpectSameTail(rest.evaluations, all.evaluations);
    ExpectSameTail(rest.epochs, all.epochs);
  }
}

// Saved by an observer while the run goes on: in OnStep, and at the end of an epoch.
TEST(SameBitsTest, AfterAResumeFromACheckpointOfARunThatWentOn) {
  struct Saver final : TrainingObserver {
    Wish OnStep(const StepReport& report) override {
      if (report.step == 6) Save("step");
      return Wish::kGoOn;
    }
    Wish OnEvaluation(const EvaluationReport& report) override {
      if (report.epoch == 1) Save("evaluation");
      return Wish::kGoOn;
    }
    Wish OnEpoch(const EpochReport& report) override {
      if (report.epoch == 1) Save("epoch");
      if (report.epoch == 2) Save("end");
      return Wish::kGoOn;
    }
    void Save(const char* name) { EXPECT_TRUE(trainer->Save(*folder / name).ok()); }
    Trainer* trainer = nullptr;
    TemporaryFolder* folder = nullptr;
  };
  TemporaryFolder folder;
  Saver saver;
  WholeRun run({.prefetch = 1}, &saver);
  saver.trainer = &run.trainer();
  saver.folder = &folder;
  const std::string undisturbed = run.Hash();
  EXPECT_EQ(Slurp(folder / "evaluation"), Slurp(folder / "epoch"));
  for (const char* name : {"step", "epoch", "end"}) {
    WholeRun resumed({});
    ASSERT_TRUE(resumed.trainer().Resume(folder / name).ok()) << name;
    EXPECT_EQ(resumed.Hash(), undisturbed) << name;
    EXPECT_EQ(resumed.trainer().history().empty(), name == std::string("end"));
  }
}

TEST(SameBitsTest, ARunOfMicroBatchesResumesToo) {
  const std::string undisturbed = WholeRun({.micro_batches = 2}).Hash();
  TemporaryFolder folder;
  StopAt stop(6);
  WholeRun first({.micro_batches = 2}, &stop);
  ASSERT_TRUE(first.trainer().Run().ok());
  ASSERT_TRUE(first.trainer().Save(folder / "run").ok());
  WholeRun second({.threads = 2, .micro_batches = 2});
  ASSERT_TRUE(second.trainer().Resume(folder / "run").ok());
  EXPECT_EQ(second.Hash(), undisturbed);
}

TEST(SameBitsTest, ResumeRefusesWhatWouldNotGoOnAsItBegan) {
  TemporaryFolder folder;
  const std::string path = folder / "run.safetensors";
  StopAt stop(5);
  WholeRun first({}, &stop);
  ASSERT_TRUE(first.trainer().Run().ok());
  ASSERT_TRUE(first.trainer().Save(path).ok());

  WholeRun shards({.shards = 2});
  EXPECT_THAT(shards.trainer().Resume(path).message(), testing::HasSubstr("shards 1, now it is 2"));
  const auto data = Blobs(250, 12, 5, 1.5, 31);
  const auto complaint = [&](const Subset& train, Sequential layers, uint64_t seed,
                             Metric monitor) {
    Rig rig(train, std::move(layers), CrossEntropyLoss(),
            {.seed = seed, .loader = {.batch = 64, .seed = 9, .prefetch = 0}},
            {.epochs = 3, .ema = EmaOptions{}, .validation = All(data), .monitor = monitor});
    EXPECT_TRUE(rig.status.ok()) << rig.status.message();
    const uint64_t before = ModelHash(*rig.net);
    const Status status = rig.trainer->Resume(path);
    EXPECT_EQ(ModelHash(*rig.net), before);  // nothing half done
    EXPECT_EQ(rig.trainer->step(), 0);
    EXPECT_EQ(rig.loader->place(), LoaderPlace{});
    return status.message();
  };
  const Subset train = Deal(data, 5).first;
  EXPECT_THAT(complaint(All(data), BnMlp(24, 5), 7, Metric::kLoss),
              testing::HasSubstr("samples per epoch 200, now it is 250"));
  EXPECT_THAT(complaint(train, BnMlp(24, 5), 8, Metric::kLoss),
              testing::HasSubstr("seed 7, now it is 8"));
  EXPECT_THAT(complaint(train, BnMlp(24, 5), 7, Metric::kAccuracy),
              testing::HasSubstr("by \"loss\", now it is by accuracy"));
  EXPECT_THAT(complaint(train, BnMlp(24, 5), 7, Metric::kLoss),
              testing::HasSubstr("was it saved from another model"));
}

TEST(SameBitsTest, AResultIsNotSavedAsARun) {
  TemporaryFolder folder;
  WholeRun run({});
  run.Hash();
  EXPECT_THAT(run.trainer().Save(folder / "run").message(), testing::HasSubstr("SaveModel"));
  EXPECT_EQ(folder.files(), 0);
}

// ---- SIMD targets -------------------------------------------------------------------------------

// The run of Setup{} as it came out on AVX2 and AVX-512 (g++ 12, AMD Zen 4). Every target with FMA
// and every compiler must reproduce it. When a change is meant to alter results, take over what
// this test prints.
constexpr char kGoldenHash[] = "9750873b794bbca9";

class TargetsTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(TargetsTest);

TEST_P(TargetsTest, WithFmaGiveTheGoldenRun) {
  const std::string hash = WholeRun({}).Hash();
  EXPECT_EQ(WholeRun({.threads = 2}).Hash(), hash);  // this holds on every target
  if (testing_arrays::Fuses(GetParam())) {
    EXPECT_EQ(hash, kGoldenHash);
  }
}

}  // namespace
}  // namespace lockstep::toy
