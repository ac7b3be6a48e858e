#include "engine/train/trainer.h"

#include <fenv.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/optim/sgd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/dropout.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/mse.h"
#include "layers/norm/layer_norm.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// Keeps all reports; stops when told to.
struct Recorder final : TrainingObserver {
  Wish OnStep(const StepReport& report) override {
    steps.push_back(report);
    if (on_step) on_step(report);
    return report.step == stop_at_step ? Wish::kStop : Wish::kGoOn;
  }
  Wish OnEvaluation(const EvaluationReport& report) override {
    evaluations.push_back(report);
    return Wish::kGoOn;
  }
  Wish OnEpoch(const EpochReport& report) override {
    epochs.push_back(report);
    return report.epoch == stop_at_epoch ? Wish::kStop : Wish::kGoOn;
  }

  int64_t stop_at_step = -1, stop_at_epoch = -1;
  std::function<void(const StepReport&)> on_step;
  std::vector<StepReport> steps;
  std::vector<EvaluationReport> evaluations;
  std::vector<EpochReport> epochs;
};

std::vector<float> ParametersOf(const Network& net) {
  const std::span<const float> values = net.parameters().values;
  return {values.begin(), values.end()};
}

// ---- Learning -------------------------------------------------------------------------------

TEST(TrainerTest, ABatchNormMlpLearnsQuadrantsThatNoLineSeparates) {
  const auto [train, test] = Deal(Quadrants(1200, 6, /*noise=*/0.0, /*seed=*/1), 4);
  Rig rig(train, BnMlp(16, 1), BceWithLogitsLoss(), {.adam = {.lr = 1e-2}},
          {.epochs = 15, .schedule = CosineSchedule{}});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  ASSERT_TRUE(rig.trainer->Run().ok());
  const EvaluationResult result = Evaluate(*rig.net, test).value();
  // A linear classifier reaches 0.5; the classes are 0.5 apart, so nothing but training time
  // stands between a network and 1.
  EXPECT_GE(*result.accuracy, 0.97);
  EXPECT_GE(*result.auc, 0.99);
  const std::vector<EpochReport>& history = rig.trainer->history();
  ASSERT_THAT(history, SizeIs(15));
  EXPECT_LT(history.back().train_loss, 0.2 * history.front().train_loss);
}

TEST(TrainerTest, ClassesAreLearnedByCrossEntropy) {
  const auto [train, test] = Deal(Blobs(600, 8, 5, /*spread=*/0.3, /*seed=*/2), 3);
  Rig rig(train, BnMlp(16, 5), CrossEntropyLoss(), {.adam = {.lr = 1e-2}}, {.epochs = 8});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  ASSERT_TRUE(rig.trainer->Run().ok());
  const EvaluationResult result = Evaluate(*rig.net, test).value();
  EXPECT_GE(*result.accuracy, 0.98);
  int64_t total = 0;
  for (const int64_t count : result.confusion) total += count;
  EXPECT_EQ(total, 200);
}

TEST(TrainerTest, ALinearRegressionFindsThePlane) {
  const DatasetPtr data = Planes(256, 3);
  Rig rig(All(data), Sequential(Linear(2)), MseLoss(), {.adam = {.lr = 5e-2, .weight_decay = 0.0}},
          {.epochs = 60, .schedule = CosineSchedule{}});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  ASSERT_TRUE(rig.trainer->Run().ok());
  const EvaluationResult result = Evaluate(*rig.net, All(data)).value();
  EXPECT_LT(*result.mae, 1e-3);
  EXPECT_GT(*result.r2, 0.99999);
}

// ---- What a step is ---------------------------------------------------------------------------

TEST(TrainerTest, AStepIsNetworkTrainStepToTheBit) {
  const DatasetPtr data = Quadrants(70, 4, 0.1, 4);  // the last batch holds 6 samples
  Rig rig(All(data), BnMlp(8, 1), BceWithLogitsLoss(), {}, {.epochs = 2});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  ASSERT_TRUE(rig.trainer->Run().ok());

  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, BnMlp(8, 1), BceWithLogitsLoss(), {.input = {32, 4}, .seed = 7}).value();
  AdamW adam({.lr = 3e-3});
  auto loader = Loader::Make(data, AllIndices(70), {.batch = 32, .seed = 7, .prefetch = 0}).value();
  for (int epochs = 0; epochs < 2;) {
    const Batch* batch = loader->Next().value();
    if (batch == nullptr) {
      ++epochs;
    } else {
      ASSERT_TRUE(net.TrainStep(batch->x, batch->target, adam).ok());
    }
  }
  EXPECT_EQ(ModelHash(*rig.net), ModelHash(net));
}

TEST(TrainerTest, ReportsSayWhatHappened) {
  Recorder recorder;
  Rig rig(All(Quadrants(70, 4, 0.1, 5)), BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.epochs = 2,
           .schedule = StepSchedule{.every = 4, .gamma = 0.5},
           .clip_norm = 1e9,
           .observer = &recorder});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  EXPECT_EQ(rig.trainer->total_steps(), 6);
  const TrainingSummary summary = rig.trainer->Run().value();
  EXPECT_EQ(summary.reason, StopReason::kCompleted);
  EXPECT_EQ(summary.steps, 6);
  EXPECT_EQ(summary.epochs, 2);
  ASSERT_THAT(recorder.steps, SizeIs(6));
  double sum = 0.0, weight = 0.0;
  for (int i = 0; i < 6; ++i) {
    const StepReport& step = recorder.steps[static_cast<size_t>(i)];
    if (i % 3 == 0) sum = weight = 0.0;
    sum += step.loss * static_cast<double>(step.samples);
    weight += static_cast<double>(step.samples);
    EXPECT_EQ(step.step, i + 1);
    EXPECT_EQ(step.epoch, i / 3);
    EXPECT_EQ(step.batch, i % 3);
    EXPECT_EQ(step.batches, 3);
    EXPECT_EQ(step.samples, i % 3 == 2 ? 6 : 32);
    EXPECT_EQ(step.learning_rate, i < 4 ? 3e-3 : 1.5e-3);
    EXPECT_NEAR(step.epoch_loss, sum / weight, 1e-14);
    EXPECT_GT(step.gradient_norm.value(), 0.0);
    EXPECT_GT(step.samples_per_second, 0.0);
    EXPECT_FALSE(step.skipped);
  }
  ASSERT_THAT(recorder.epochs, SizeIs(2));
  EXPECT_EQ(recorder.epochs[1].epoch, 1);
  EXPECT_EQ(recorder.epochs[1].step, 6);
  EXPECT_EQ(recorder.epochs[1].samples, 70);
  EXPECT_EQ(recorder.epochs[1].train_loss, recorder.steps[5].epoch_loss);
  EXPECT_TRUE(recorder.evaluations.empty());
}

// The norm is that of the mean's gradient, whatever the samples weigh; a clipped step moves plain
// SGD by max_norm.
TEST(TrainerTest, ClippingLimitsTheNormOfTheMeansGradient) {
  const DatasetPtr data = Blobs(64, 4, 3, 0.5, 6);
  for (const double weight : {1.0, 5.0}) {
    const auto weight_f = static_cast<float>(weight);
    for (const double clip : {1e9, 1e-2}) {
      Context ctx({.threads = 1});
      Network net =
          Network::Bind(ctx, Sequential(Linear(8), Relu(), Linear(3)),
                        CrossEntropyLoss({.class_weights = {weight_f, weight_f, weight_f}}),
                        {.input = {64, 4}, .seed = 7})
              .value();
      Sgd sgd({.lr = 1.0});
      auto loader = Loader::Make(data, AllIndices(64), {.batch = 64}).value();
      Recorder recorder;
      auto trainer = Trainer::Make(net, sgd, *loader,
                                   {.max_steps = 1, .clip_norm = clip, .observer = &recorder})
                         .value();
      const std::vector<float> before = ParametersOf(net);
      ASSERT_TRUE(trainer->Run().ok());
      const std::vector<float> after = ParametersOf(net);
      double moved = 0.0;
      for (size_t i = 0; i < before.size(); ++i)
        moved += std::pow(double{after[i]} - before[i], 2.0);
      moved = std::sqrt(moved);
      const double norm = recorder.steps[0].gradient_norm.value();
      EXPECT_GT(norm, 0.1);
      // Updates are rounded to floats of size 1: half an ulp for each of 67 parameters.
      EXPECT_NEAR(moved, std::min(norm, clip), 8.2 * 6e-8) << weight << " " << clip;
    }
  }
}

// Without layers that look at the whole batch, parts give the batch's gradient up to the rounding
// of sums taken in another order: after one SGD step parameters agree to a few ulp of their size.
TEST(TrainerTest, MicroBatchesGiveTheGradientOfTheWholeBatch) {
  const DatasetPtr data = Blobs(96 + 7, 6, 4, 0.7, 8);  // the last batch holds 7 samples
  const auto train = [&](int64_t parts, bool weighted) {
    Context ctx({.threads = 1});
    CrossEntropyLossOptions loss;
    if (weighted) loss.class_weights = {1.0f, 0.5f, 3.0f, 0.0f};
    Network net =
        Network::Bind(ctx, Sequential(Linear(16), LayerNorm(), Gelu(), Dropout(0.25), Linear(4)),
                      CrossEntropyLoss(loss), {.input = {(32 + parts - 1) / parts, 6}, .seed = 7})
            .value();
    Sgd sgd({.lr = 0.1});
    auto loader = Loader::Make(data, AllIndices(data->size()), {.batch = 32, .seed = 3}).value();
    Recorder recorder;
    auto trainer =
        Trainer::Make(
            net, sgd, *loader,
            {.epochs = 1, .clip_norm = 0.5, .micro_batches = parts, .observer = &recorder})
            .value();
    EXPECT_TRUE(trainer->Run().ok());
    EXPECT_THAT(recorder.steps, SizeIs(4));
    return std::pair(ParametersOf(net), recorder.steps.back().loss);
  };
  for (const bool weighted : {false, true}) {
    const auto [whole, loss] = train(1, weighted);
    for (const int64_t parts : {2, 3, 32}) {
      const auto [cut, cut_loss] = train(parts, weighted);
      EXPECT_NEAR(cut_loss, loss, 1e-6) << parts;
      for (size_t i = 0; i < whole.size(); ++i) {
        // Four steps of at most 0.05, each from some hundred roundings of 6e-8 of that.
        ASSERT_NEAR(cut[i], whole[i], 4 * 0.05 * 100 * 6e-8) << parts << " " << i;
      }
    }
  }
}

TEST(TrainerTest, MicroBatchesNeedANetworkBoundForOnePartOnly) {
  const DatasetPtr data = Quadrants(64, 4, 0.0, 9);
  const Rig fits(All(data), BnMlp(4, 1), BceWithLogitsLoss(), {.bound = 16},
                 {.epochs = 1, .micro_batches = 2});
  EXPECT_TRUE(fits.status.ok()) << fits.status.message();
  const Rig too_small(All(data), BnMlp(4, 1), BceWithLogitsLoss(), {.bound = 15},
                      {.epochs = 1, .micro_batches = 2});
  EXPECT_THAT(too_small.status.message(), HasSubstr("bound for 16"));
}

// ---- Ends ---------------------------------------------------------------------------------------

TEST(TrainerTest, MaxStepsEndsWithinAnEpochWithAReportAndAnEvaluation) {
  const auto [train, validation] = Deal(Quadrants(160, 4, 0.1, 10), 5);
  Recorder recorder;
  Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.max_steps = 6, .validation = validation, .evaluate_every = 5, .observer = &recorder});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  const TrainingSummary summary = rig.trainer->Run().value();
  EXPECT_EQ(summary.steps, 6);
  ASSERT_THAT(recorder.epochs, SizeIs(2));
  EXPECT_FALSE(recorder.epochs[0].validation);
  ASSERT_TRUE(recorder.epochs[1].validation);
  EXPECT_EQ(recorder.epochs[1].samples, 64);
  EXPECT_EQ(recorder.epochs[1].train_loss, recorder.steps.back().epoch_loss);
}

TEST(TrainerTest, TheLastEpochIsAlwaysEvaluated) {
  const auto [train, validation] = Deal(Quadrants(80, 4, 0.1, 10), 5);
  Recorder recorder;
  Rig rig(train, BnMlp(4, 1), BceWithLogitsLoss(), {},
          {.epochs = 5, .validation = validation, .evaluate_every = 3, .observer = &recorder});
  ASSERT_TRUE(rig.trainer->Run().ok());
  std::vector<int64_t> evaluated;
  for (const EvaluationReport& e : recorder.evaluations) evaluated.push_back(e.epoch);
  EXPECT_THAT(evaluated, ElementsAre(2, 4));
}

TEST(TrainerTest, EarlyStoppingWaitsItsPatienceAndTheBestWeightsComeBack) {
  // Labels that are half noise: a network of this size starts to learn them by heart.
  const auto [train, validation] = Deal(Quadrants(240, 10, 0.3, 11), 2);
  Recorder recorder;
  Rig rig(train, BnMlp(64, 1), BceWithLogitsLoss(), {.adam = {.lr = 1e-2}},
          {.epochs = 200,
           .validation = validation,
           .early_stopping = EarlyStopping{.patience = 4, .min_delta = 1e-4},
           .observer = &recorder});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  const TrainingSummary summary = rig.trainer->Run().value();
  EXPECT_EQ(summary.reason, StopReason::kEarlyStopped);
  EXPECT_LT(summary.epochs, 200);
  EXPECT_EQ(summary.epochs, summary.best_epoch + 1 + 4);

  const auto epochs = recorder.epochs;
  const auto& best = epochs[static_cast<size_t>(summary.best_epoch)];
  EXPECT_EQ(best.validation->loss, summary.best_metric);
  for (size_t i = epochs.size() - 4; i < epochs.size(); ++i)
    EXPECT_GE(epochs[i].validation->loss, *summary.best_metric - 1e-4);
  EXPECT_GT(epochs.back().validation->loss, *summary.best_metric);
  // The network is the best epoch's to the bit.
  EXPECT_EQ(Evaluate(*rig.net, validation).value().loss, *summary.best_metric);
  EXPECT_FALSE(rig.trainer->Run().ok());  // and not to be trained on by accident
}

TEST(TrainerTest, BestIsTheLargestWhereLargerIsBetter) {
  const auto [train, validation] = Deal(Quadrants(160, 4, 0.2, 12), 2);
  for (const Metric monitor : {Metric::kAccuracy, Metric::kAuc}) {
    Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {.adam = {.lr = 1e-2}},
            {.epochs = 12, .validation = validation, .monitor = monitor});
    const TrainingSummary summary = rig.trainer->Run().value();
    double best = 0.0;
    int64_t best_epoch = -1;
    for (const EpochReport& epoch : rig.trainer->history()) {
      const double value = ValueOf(*epoch.validation, monitor).value();
      if (value > best) best = value, best_epoch = epoch.epoch;  // the first of equal ones
    }
    EXPECT_EQ(summary.best_metric, best);
    EXPECT_EQ(summary.best_epoch, best_epoch);
    EXPECT_EQ(ValueOf(Evaluate(*rig.net, validation).value(), monitor), best);
  }
}

TEST(TrainerTest, WithoutKeepBestTheLastWeightsStay) {
  const auto [train, validation] = Deal(Quadrants(160, 4, 0.2, 13), 2);
  Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.epochs = 3, .validation = validation, .keep_best = false});
  Rig blind(train, BnMlp(8, 1), BceWithLogitsLoss(), {}, {.epochs = 3});
  ASSERT_TRUE(rig.trainer->Run().ok());
  ASSERT_TRUE(blind.trainer->Run().ok());
  EXPECT_EQ(ModelHash(*rig.net), ModelHash(*blind.net));  // evaluation leaves no trace
}

TEST(TrainerTest, TheAverageIsEvaluatedAndKept) {
  const auto [train, validation] = Deal(Quadrants(160, 4, 0.2, 14), 2);
  for (const bool keep_best : {true, false}) {
    Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {.adam = {.lr = 1e-2}},
            {.epochs = 4,
             .ema = EmaOptions{.decay = 0.9},
             .validation = validation,
             .keep_best = keep_best});
    Rig plain(train, BnMlp(8, 1), BceWithLogitsLoss(), {.adam = {.lr = 1e-2}},
              {.epochs = 4, .validation = validation, .keep_best = keep_best});
    const TrainingSummary summary = rig.trainer->Run().value();
    ASSERT_TRUE(plain.trainer->Run().ok());
    const std::vector<EpochReport>& epochs = rig.trainer->history();
    // Training itself is the same; what is evaluated is not, and is what the network ends with.
    EXPECT_EQ(epochs.back().train_loss, plain.trainer->history().back().train_loss);
    EXPECT_NE(epochs.back().validation->loss, plain.trainer->history().back().validation->loss);
    const double at_the_end = keep_best ? *summary.best_metric : epochs.back().validation->loss;
    EXPECT_EQ(Evaluate(*rig.net, validation).value().loss, at_the_end);
  }
}

TEST(TrainerTest, AWishToStopEndsAfterTheStepAndRunGoesOn) {
  const auto [train, validation] = Deal(Quadrants(160, 4, 0.1, 15), 5);
  Recorder recorder, undisturbed;
  recorder.stop_at_step = 6;  // within the second epoch
  recorder.stop_at_epoch = 2;
  Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.epochs = 4, .validation = validation, .observer = &recorder});
  Rig whole(train, BnMlp(8, 1), BceWithLogitsLoss(), {},
            {.epochs = 4, .validation = validation, .observer = &undisturbed});
  TrainingSummary summary = rig.trainer->Run().value();
  EXPECT_EQ(summary.reason, StopReason::kRequested);
  EXPECT_EQ(summary.steps, 6);
  summary = rig.trainer->Run().value();
  EXPECT_EQ(summary.reason, StopReason::kRequested);
  EXPECT_EQ(summary.steps, 12);
  EXPECT_EQ(summary.epochs, 3);
  summary = rig.trainer->Run().value();
  EXPECT_EQ(summary.reason, StopReason::kCompleted);
  ASSERT_TRUE(whole.trainer->Run().ok());
  EXPECT_EQ(ModelHash(*rig.net), ModelHash(*whole.net));
  ASSERT_EQ(recorder.steps.size(), undisturbed.steps.size());
  for (size_t i = 0; i < recorder.steps.size(); ++i)
    EXPECT_EQ(recorder.steps[i].epoch_loss, undisturbed.steps[i].epoch_loss);
}

TEST(TrainerTest, AfterARequestedStopTheBestWeightsCanBeTaken) {
  const auto [train, validation] = Deal(Quadrants(160, 4, 0.1, 16), 5);
  Recorder recorder;
  recorder.stop_at_step = 6;
  Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.epochs = 4, .validation = validation, .observer = &recorder});
  ASSERT_TRUE(rig.trainer->Run().ok());
  EXPECT_TRUE(rig.trainer->TakeResult());
  EXPECT_EQ(Evaluate(*rig.net, validation).value().loss, recorder.evaluations[0].result.loss);
  EXPECT_FALSE(rig.trainer->Run().ok());
}

// ---- What goes wrong --------------------------------------------------------------------------

TEST(TrainerTest, NanInTheDataNamesTheStep) {
  // Infinity and NaN cannot come in through InMemoryDataset, so this is one that reads files badly.
  class Poisoned final : public Dataset {
   public:
    Poisoned()
        : Dataset({.name = "poisoned",
                   .size = 96,
                   .x_shape = {4},
                   .task = Task::kBinary,
                   .target_dtype = DType::kF32,
                   .target_shape = {1}}) {}

   private:
    Status Read(std::span<const int64_t> indices, Tensor x, Tensor target, int64_t) const override {
      for (size_t i = 0; i < indices.size() && !x.empty(); ++i) {
        std::fill_n(x.f32() + 4 * i, 4, 0.01f * static_cast<float>(indices[i]));
        if (indices[i] == 70) x.f32()[4 * i + 1] = std::numeric_limits<float>::quiet_NaN();
      }
      if (!target.empty()) std::fill_n(target.f32(), indices.size(), 1.0f);
      return Status::Ok();
    }
  };
  Rig rig(All(std::make_shared<Poisoned>()), BnMlp(8, 1), BceWithLogitsLoss(),
          {.loader = {.batch = 32, .shuffle = false, .prefetch = 0}}, {.epochs = 1});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  const Status status = rig.trainer->Run().status();
  EXPECT_EQ(status.code(), Code::kNonFinite);
  EXPECT_THAT(status.message(), HasSubstr("epoch 0, batch 2"));
  EXPECT_THAT(status.message(), HasSubstr("step 2"));
  EXPECT_THAT(status.message(), HasSubstr("input"));
  EXPECT_EQ(rig.trainer->step(), 2);
}

// What a step that fails leaves is the boundary before it, in the loader as well: saved there, or
// tried again, the run goes on as if it had not failed.
TEST(TrainerTest, AfterAStepThatFailedTheRunCanBeSavedAndGoesOn) {
  class Moody final : public Dataset {
   public:
    Moody()
        : Dataset({.name = "moody",
                   .size = 96,
                   .x_shape = {4},
                   .task = Task::kBinary,
                   .target_dtype = DType::kF32,
                   .target_shape = {1}}) {}
    mutable bool bad = false;

   private:
    Status Read(std::span<const int64_t> indices, Tensor x, Tensor target, int64_t) const override {
      for (size_t i = 0; i < indices.size() && !x.empty(); ++i) {
        for (int f = 0; f < 4; ++f)
          x.f32()[4 * i + f] = static_cast<float>((indices[i] * (f + 3)) % 11 - 5);
        if (bad && indices[i] == 70) x.f32()[4 * i] = std::numeric_limits<float>::infinity();
      }
      for (size_t i = 0; i < indices.size() && !target.empty(); ++i)
        target.f32()[i] = static_cast<float>(indices[i] % 2);
      return Status::Ok();
    }
  };
  const auto data = std::make_shared<Moody>();
  const auto make = [&] {
    return std::make_unique<Rig>(All(data), BnMlp(8, 1), BceWithLogitsLoss(),
                                 RigOptions{.loader = {.batch = 16, .seed = 3, .prefetch = 0}},
                                 TrainerOptions{.epochs = 3});
  };
  const auto whole = make();
  ASSERT_TRUE(whole->trainer->Run().ok());

  TemporaryFolder folder;
  const auto fails = make();
  data->bad = true;
  EXPECT_EQ(fails->trainer->Run().status().code(), Code::kNonFinite);
  const int64_t step = fails->trainer->step();
  EXPECT_LT(step, 6);  // within the first epoch
  EXPECT_EQ(fails->trainer->state().batch_in_epoch, step);
  ASSERT_TRUE(fails->trainer->Save(folder / "run").ok());
  data->bad = false;
  ASSERT_TRUE(fails->trainer->Run().ok());
  EXPECT_EQ(ModelHash(*fails->net), ModelHash(*whole->net));
  const auto resumed = make();
  ASSERT_TRUE(resumed->trainer->Resume(folder / "run").ok());
  ASSERT_TRUE(resumed->trainer->Run().ok());
  EXPECT_EQ(ModelHash(*resumed->net), ModelHash(*whole->net));
}

TEST(TrainerTest, ALossThatExplodesNamesTheLayer) {
  const DatasetPtr data = Planes(64, 17);
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Linear(8), Linear(8), Linear(2)), MseLoss(),
                              {.input = {32, 3}, .seed = 7})
                    .value();
  Sgd sgd({.lr = 1e15});
  auto loader = Loader::Make(data, AllIndices(64), {.batch = 32}).value();
  auto trainer = Trainer::Make(net, sgd, *loader, {.epochs = 50}).value();
  const Status status = trainer->Run().status();
  EXPECT_EQ(status.code(), Code::kNonFinite);
  EXPECT_THAT(status.message(), testing::ContainsRegex("layer [012] is the first"));
  EXPECT_THAT(status.message(), HasSubstr("lower the learning rate"));
}

TEST(TrainerTest, AGradientThatIsNotFiniteNamesStepAndParameter) {
  // The loss of 3e19 squared is still a float, its sum with a factor of 1e19 in dW is not.
  const DatasetPtr data = MakeDataset({.name = "huge",
                                       .size = 8,
                                       .x_shape = {1},
                                       .task = Task::kRegression,
                                       .target_dtype = DType::kF32,
                                       .target_shape = {1}},
                                      std::vector<float>(8, 3e20f), std::vector<float>(8, 1e18f));
  for (const double clip : {0.0, 1.0}) {
    Context ctx({.threads = 1});
    Network net = Network::Bind(ctx, Sequential(Linear(1, {.bias = false})), MseLoss(),
                                {.input = {8, 1}, .seed = 7})
                      .value();
    {
      ParameterWriter write = net.Write();
      write->value(0).f32()[0] = 1e-4f;
    }
    Sgd sgd({.lr = 1e-3});
    auto loader = Loader::Make(data, AllIndices(8), {.batch = 8}).value();
    auto trainer = Trainer::Make(net, sgd, *loader, {.epochs = 1, .clip_norm = clip}).value();
    const Status status = trainer->Run().status();
    EXPECT_EQ(status.code(), Code::kNonFinite) << status.message();
    EXPECT_THAT(status.message(), HasSubstr("epoch 0, batch 0, step 0"));
    EXPECT_THAT(status.message(), HasSubstr("0.weight"));
  }
}

TEST(TrainerTest, ABatchOfOneFollowsThePolicyOfTheNorm) {
  const DatasetPtr data = Quadrants(33, 4, 0.0, 18);  // the last batch holds one sample
  const auto rig = [&](SingleValuePolicy policy, LastBatch last = LastBatch::kKeep) {
    return std::make_unique<Rig>(
        All(data), BnMlp(8, 1, {.single_value = policy}), BceWithLogitsLoss(),
        RigOptions{.loader = {.batch = 32, .last = last, .seed = 1, .prefetch = 0}},
        TrainerOptions{.epochs = 2});
  };
  {
    const auto error = rig(SingleValuePolicy::kError);
    const Status status = error->trainer->Run().status();
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr("epoch 0, batch 1"));
    EXPECT_THAT(status.message(), HasSubstr("1 BatchNorm: "));
    EXPECT_THAT(status.message(), HasSubstr("'skip' or 'running'"));
  }
  {
    const auto skip = rig(SingleValuePolicy::kSkip);
    const auto drop = rig(SingleValuePolicy::kError, LastBatch::kDrop);
    const TrainingSummary summary = skip->trainer->Run().value();
    EXPECT_EQ(summary.steps, 4);
    EXPECT_EQ(summary.skipped_batches, 2);
    EXPECT_EQ(skip->trainer->history()[0].skipped_batches, 1);
    EXPECT_EQ(skip->trainer->history()[0].samples, 32);
    EXPECT_EQ(skip->optimizer.step_count(), 2);
    // A skipped batch leaves nothing behind: the same as one that never came.
    ASSERT_TRUE(drop->trainer->Run().ok());
    EXPECT_EQ(ModelHash(*skip->net), ModelHash(*drop->net));
  }
  {
    const auto running = rig(SingleValuePolicy::kRunning);
    const TrainingSummary summary = running->trainer->Run().value();
    EXPECT_EQ(summary.skipped_batches, 0);
    EXPECT_EQ(running->optimizer.step_count(), 4);
  }
}

TEST(TrainerTest, RaisesNoFloatingPointTraps) {
  const auto [train, validation] = Deal(Quadrants(100, 4, 0.1, 19), 4);
  Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.epochs = 3,
           .schedule = OneCycleSchedule{},
           .clip_norm = 1.0,
           .ema = EmaOptions{},
           .validation = validation});
  feclearexcept(FE_ALL_EXCEPT);
  ASSERT_TRUE(rig.trainer->Run().ok());
  EXPECT_EQ(fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW), 0);
}

TEST(TrainerTest, OptionsThatMakeNoSenseAreNamed) {
  const DatasetPtr data = Quadrants(64, 4, 0.0, 20);
  const Subset all = All(data);
  const auto complaint = [&](TrainerOptions options) {
    return Rig(all, BnMlp(4, 1), BceWithLogitsLoss(), {}, std::move(options)).status.message();
  };
  EXPECT_THAT(complaint({}), HasSubstr("epochs or max_steps"));
  EXPECT_THAT(complaint({.epochs = -1}), HasSubstr("epochs"));
  EXPECT_THAT(complaint({.epochs = std::numeric_limits<int64_t>::max()}), HasSubstr("epochs"));
  EXPECT_THAT(complaint({.max_steps = -3}), HasSubstr("max_steps"));
  EXPECT_THAT(complaint({.epochs = 1, .clip_norm = -1.0}), HasSubstr("clip_norm"));
  EXPECT_THAT(complaint({.epochs = 1, .clip_norm = std::nan("")}), HasSubstr("clip_norm"));
  EXPECT_THAT(complaint({.epochs = 1, .micro_batches = 0}), HasSubstr("micro_batches"));
  EXPECT_THAT(complaint({.epochs = 1, .ema = EmaOptions{.decay = 1.0}}), HasSubstr("decay"));
  EXPECT_THAT(complaint({.epochs = 1, .validation = all, .evaluate_every = 0}),
              HasSubstr("evaluate_every"));
  EXPECT_THAT(complaint({.epochs = 1, .validation = all, .evaluation_batch = 33}),
              HasSubstr("evaluation batch"));
  EXPECT_THAT(complaint({.epochs = 1, .early_stopping = EarlyStopping{}}), HasSubstr("validation"));
  EXPECT_THAT(
      complaint({.epochs = 1, .validation = all, .early_stopping = EarlyStopping{.patience = 0}}),
      HasSubstr("patience"));
  EXPECT_THAT(complaint({.epochs = 1, .validation = all, .monitor = Metric::kR2}),
              HasSubstr("loss, accuracy or auc"));
  EXPECT_THAT(complaint({.epochs = 1, .schedule = StepSchedule{.every = 0}}), HasSubstr("every"));
}

TEST(TrainerTest, DataThatDoNotFitAreNamed) {
  const auto complaint = [](const DatasetPtr& data, int64_t outputs, auto loss) {
    return Rig(All(data), BnMlp(4, outputs), std::move(loss), {}, {.epochs = 1}).status.message();
  };
  const DatasetPtr blobs = Blobs(64, 4, 5, 0.1, 21);
  EXPECT_THAT(complaint(blobs, 4, CrossEntropyLoss()), HasSubstr("5 classes"));
  EXPECT_THAT(complaint(blobs, 1, BceWithLogitsLoss()), HasSubstr("targets are i32"));
  EXPECT_THAT(complaint(Quadrants(64, 4, 0.0, 22), 2, BceWithLogitsLoss()), HasSubstr("targets"));
}

TEST(TrainerTest, AMonitorWithoutAValueIsAnErrorAndNotANumber) {
  const DatasetPtr data = Quadrants(64, 4, 0.0, 23);
  Subset one_class{.dataset = data};
  const std::vector<int32_t> labels = ClassLabels(*data).value();
  for (int64_t i = 0; i < 64; ++i)
    if (labels[static_cast<size_t>(i)] == 1) one_class.indices.push_back(i);
  Rig rig(All(data), BnMlp(4, 1), BceWithLogitsLoss(), {},
          {.epochs = 1, .validation = one_class, .monitor = Metric::kAuc});
  EXPECT_THAT(rig.trainer->Run().status().message(), HasSubstr("no auc"));
}

}  // namespace
}  // namespace lockstep::toy
