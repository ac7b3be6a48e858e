#include "engine/train/checkpointing.h"

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/loader.h"
#include "engine/io/hash.h"
#include "engine/optim/sgd.h"
#include "engine/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/loss/bce_with_logits.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;
using testing::IsSupersetOf;

Network Bind(Context& ctx, uint64_t seed, BatchNormOptions norm = {}, int64_t hidden = 8) {
  auto net = Network::Bind(ctx, BnMlp(hidden, 1, norm), BceWithLogitsLoss(),
                           {.input = {16, 4}, .seed = seed});
  EXPECT_TRUE(net.ok()) << net.status().message();
  return std::move(*net);
}

// Another value, of whatever type.
void Nudge(const Tensor& tensor) {
  if (tensor.dtype() == DType::kI64) {
    ++*tensor.as<int64_t>();
  } else {
    *tensor.f32() += 1.0f;
  }
}

TEST(CheckpointingTest, TensorsHaveTheNamesOfPyTorch) {
  Context ctx({.threads = 1});
  const Network net = Bind(ctx, 1);
  std::vector<std::string> names;
  for (const NamedTensor& named : ModelTensors(net)) names.push_back(named.name);
  EXPECT_THAT(names,
              testing::ElementsAre("0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias",
                                   "4.weight", "4.bias", "6.weight", "6.bias", "1.running_mean",
                                   "1.running_var", "1.num_batches_tracked", "4.running_mean",
                                   "4.running_var", "4.num_batches_tracked"));
}

TEST(CheckpointingTest, TheHashSeesEveryParameterAndState) {
  Context ctx({.threads = 1});
  const Network net = Bind(ctx, 1);
  std::set<uint64_t> hashes = {ModelHash(net)};
  EXPECT_EQ(ModelHash(net), ModelHash(Bind(ctx, 1)));
  for (const NamedTensor& named : ModelTensors(net)) {
    Nudge(named.tensor);
    EXPECT_TRUE(hashes.insert(ModelHash(net)).second) << named.name;
  }
}

TEST(CheckpointingTest, TheBestWeightsAreSavedWithoutTheRun) {
  const auto [train, validation] = Deal(Quadrants(200, 4, 0.1, 72), 4);
  TemporaryFolder folder;
  const std::string path = folder / "best.safetensors";
  Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.epochs = 4, .validation = validation, .recipe = "a = 1\n"});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  EXPECT_THAT(rig.trainer->SaveBest(path).message(), HasSubstr("no best weights"));
  ASSERT_TRUE(rig.trainer->Run().ok());  // which ends with the best weights
  const uint64_t best = ModelHash(*rig.net);
  *ModelTensors(*rig.net)[0].tensor.f32() += 1.0f;  // the network goes on, the best stay
  ASSERT_TRUE(rig.trainer->SaveBest(path).ok());
  EXPECT_EQ(LoadCheckpoint(path).value().meta.at("parameter_hash"), HexOf(best));
  Network other = Bind(rig.ctx, 5);
  const auto loaded = LoadModel(path, other);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->state.recipe, "a = 1\n");
  EXPECT_EQ(ModelHash(other), best);
}

TEST(CheckpointingTest, AModelComesBackToTheBitAndPredictsTheSame) {
  const DatasetPtr data = Quadrants(64, 4, 0.1, 71);
  TemporaryFolder folder;
  const std::string path = folder / "model.safetensors";
  const Standardizer standardizer =
      Standardizer::FromVectors({1, 2, 3, 4}, {0.5f, 0.0f, 1.0f, 2.0f}).value();
  Rig rig(All(data), BnMlp(8, 1), BceWithLogitsLoss(), {}, {.epochs = 2, .recipe = "a = 1\n"});
  ASSERT_TRUE(rig.trainer->Run().ok());
  ASSERT_TRUE(SaveModel(path, *rig.net, rig.trainer->state(), &standardizer).ok());

  Context ctx({.threads = 1});
  Network net = Bind(ctx, 99);
  (void)Evaluate(net, All(data));  // folds the norms once: loading must undo that
  const LoadedModel model = LoadModel(path, net).value();
  EXPECT_EQ(ModelHash(net), ModelHash(*rig.net));
  EXPECT_EQ(Evaluate(net, All(data)).value().loss,
            Evaluate(*rig.net, All(data), {.batch = 16}).value().loss);
  EXPECT_EQ(model.state, rig.trainer->state());
  EXPECT_EQ(model.state.recipe, "a = 1\n");
  ASSERT_TRUE(model.standardizer);
  EXPECT_EQ(model.standardizer->mean(), standardizer.mean());
  EXPECT_EQ(model.standardizer->sd(), standardizer.sd());
}

TEST(CheckpointingTest, AModelLoadsIntoANetworkForPredictionAndOfAnotherBatch) {
  TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network net = Bind(ctx, 1);
  ASSERT_TRUE(SaveModel(folder / "model", net, {}).ok());
  Network predicts = Network::Bind(ctx, BnMlp(8, 1), {.input = {3, 4}, .seed = 2}).value();
  const Result<LoadedModel> model = LoadModel(folder / "model", predicts);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_FALSE(model.value().standardizer);
  EXPECT_EQ(ModelHash(predicts), ModelHash(net));
}

TEST(CheckpointingTest, OfARunTheBestThenTheAverageThenTheLastWeightsAreTheModel) {
  const auto [train, validation] = Deal(Quadrants(160, 4, 0.3, 72), 2);
  struct Saver final : TrainingObserver {
    Wish OnEpoch(const EpochReport& report) override {
      if (report.epoch == 5) {
        EXPECT_TRUE(trainer->Save(path).ok());
      }
      return Wish::kGoOn;
    }
    Trainer* trainer = nullptr;
    std::string path;
  };
  TemporaryFolder folder;
  for (const bool best : {true, false}) {
    for (const bool average : {true, false}) {
      Saver saver;
      TrainerOptions options{
          .epochs = 6, .validation = validation, .keep_best = best, .observer = &saver};
      if (average) options.ema = EmaOptions{.decay = 0.9};
      Rig rig(train, BnMlp(8, 1), BceWithLogitsLoss(), {.adam = {.lr = 3e-2}}, options);
      saver.trainer = rig.trainer.get();
      saver.path = folder / "run";
      ASSERT_TRUE(rig.trainer->Run().ok());  // ends with just that
      Context ctx({.threads = 1});
      Network net = Bind(ctx, 99);
      const Result<LoadedModel> model = LoadModel(saver.path, net);
      ASSERT_TRUE(model.ok()) << model.status().message();
      EXPECT_EQ(ModelHash(net), ModelHash(*rig.net)) << best << average;
    }
  }
}

TEST(CheckpointingTest, ARunsFileHoldsWhatItsHeaderSays) {
  const DatasetPtr data = Quadrants(64, 4, 0.1, 73);
  TemporaryFolder folder;
  Rig rig(All(data), BnMlp(8, 1), BceWithLogitsLoss(), {},
          {.max_steps = 1,
           .ema = EmaOptions{},
           .validation = All(data),
           .standardizer = Standardizer::FromVectors({0, 0, 0, 0}, {1, 1, 1, 1}).value()});
  ASSERT_TRUE(rig.trainer->Save(folder / "start").ok());  // before the first step, too
  const Checkpoint checkpoint = LoadCheckpoint(folder / "start").value();
  std::vector<std::string> names;
  for (const StoredTensor& tensor : checkpoint.tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, IsSupersetOf({"0.weight", "1.running_var", "optimizer.0.weight.exp_avg",
                                   "optimizer.6.bias.exp_avg_sq", "average.0.weight",
                                   "average.1.running_mean", "data.mean", "data.sd"}));
  EXPECT_THAT(names, testing::Not(testing::Contains("best.0.weight")));  // there is none yet
  Rig again(All(data), BnMlp(8, 1), BceWithLogitsLoss(), {},
            {.max_steps = 1, .ema = EmaOptions{}, .validation = All(data)});
  EXPECT_TRUE(again.trainer->Resume(folder / "start").ok());
}

TEST(CheckpointingTest, AnotherConventionIsRefusedAndNamed) {
  TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network torch = Bind(ctx, 1);
  ASSERT_TRUE(SaveModel(folder / "model", torch, {}).ok());
  Network keras = Bind(ctx, 2, {.convention = Convention::kKeras});
  const uint64_t before = ModelHash(keras);
  const Status status = LoadModel(folder / "model", keras).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("batch_norm.1 was trained as"));
  EXPECT_THAT(status.message(), HasSubstr("torch momentum=0.1"));
  EXPECT_THAT(status.message(), HasSubstr("keras momentum=0.99"));
  EXPECT_EQ(ModelHash(keras), before);
  Network other_eps = Bind(ctx, 2, {.eps = 1e-3});
  EXPECT_THAT(LoadModel(folder / "model", other_eps).status().message(), HasSubstr("eps=1e-05"));
}

TEST(CheckpointingTest, AnotherModelIsRefusedAndNothingChanges) {
  TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network net = Bind(ctx, 1);
  ASSERT_TRUE(SaveModel(folder / "model", net, {}).ok());
  Network wider = Bind(ctx, 2, {}, /*hidden=*/9);
  const uint64_t before = ModelHash(wider);
  const Status status = LoadModel(folder / "model", wider).status();
  EXPECT_THAT(status.message(), HasSubstr("0.weight"));
  EXPECT_THAT(status.message(), HasSubstr(folder / "model"));
  EXPECT_EQ(ModelHash(wider), before);
}

TEST(CheckpointingTest, ARunDoesNotGoOnWithAnotherOptimizer) {
  const DatasetPtr data = Quadrants(64, 4, 0.1, 74);
  TemporaryFolder folder;
  Rig rig(All(data), BnMlp(8, 1), BceWithLogitsLoss(), {}, {.epochs = 1});
  ASSERT_TRUE(rig.trainer->Save(folder / "run").ok());

  Context ctx({.threads = 1});
  Network net = Bind(ctx, 7);
  Sgd sgd({.lr = 0.1});
  auto loader = Loader::Make(data, AllIndices(64), {.batch = 32}).value();
  auto net32 = Network::Bind(ctx, BnMlp(8, 1), BceWithLogitsLoss(), {.input = {32, 4}}).value();
  auto trainer = Trainer::Make(net32, sgd, *loader, {.epochs = 1, .seed = 7}).value();
  EXPECT_THAT(trainer->Resume(folder / "run").message(), HasSubstr("\"AdamW\", this run uses SGD"));
  // Nor from a model alone.
  ASSERT_TRUE(SaveModel(folder / "model", net32, rig.trainer->state()).ok());
  EXPECT_FALSE(trainer->Resume(folder / "model").ok());
}

// As PyTorch writes them: i64 scalars. Files of version 1 may have them as F32: version1_test.cc.
TEST(CheckpointingTest, CountersAreWholeNumbers) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, 1), other = Bind(ctx, 2);
  std::vector<StoredTensor> stored;
  for (const NamedTensor& named : ModelTensors(net)) stored.emplace_back(named);
  const int64_t batches = 12345;
  for (StoredTensor& tensor : stored) {
    if (tensor.name.ends_with("num_batches_tracked"))
      tensor =
          StoredTensor(tensor.name, StoredType::kI64, {}, std::as_bytes(std::span(&batches, 1)));
  }
  Checkpoint checkpoint;
  checkpoint.tensors = stored;
  TrainingState state;
  state.layer_traits = net.layer_traits();
  checkpoint.meta = MetadataOf(state);
  const Result<LoadedModel> model = LoadModel(checkpoint, other);
  ASSERT_TRUE(model.ok()) << model.status().message();
  for (size_t i = 0; i < other.states().size(); ++i) {
    if (other.states()[i].name.ends_with("num_batches_tracked")) {
      EXPECT_EQ(*other.state(i).as<int64_t>(), 12345);
    } else {
      EXPECT_EQ(*other.state(i).f32(), *net.state(i).f32());
    }
  }
}

TEST(CheckpointingTest, ACopyGivesBackWhatItTook) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, 1);
  const uint64_t before = ModelHash(net);
  ModelCopy copy(net);
  ASSERT_TRUE(copy.TakeFrom(net).ok());
  const ModelCopy moved = std::move(copy);
  for (const NamedTensor& named : ModelTensors(net)) Nudge(named.tensor);
  ASSERT_TRUE(moved.ApplyTo(net).ok());
  EXPECT_EQ(ModelHash(net), before);
}

TEST(CheckpointingTest, ACopyOfAnotherNetworkIsRefusedAndNothingIsCopied) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx, 1), wider = Bind(ctx, 2, {}, /*hidden=*/64);
  // As many tensors of the same names, of other widths; of other types; of another number.
  Network fewer =
      Network::Bind(ctx, Sequential(Linear(8), Linear(1)), BceWithLogitsLoss(), {.input = {16, 4}})
          .value();
  ModelCopy copy(net);
  ASSERT_TRUE(copy.TakeFrom(net).ok());
  const uint64_t before = ModelHash(net);
  for (Network* other : {&wider, &fewer}) {
    const uint64_t others = ModelHash(*other);
    const Status taken = copy.TakeFrom(*other), applied = copy.ApplyTo(*other);
    for (const Status& status : {taken, applied}) {
      EXPECT_EQ(status.code(), Code::kInvalid);
      EXPECT_THAT(status.message(), HasSubstr(other == &wider ? "0.weight as f32 (64, 4)"
                                                              : "16 parameters and states"));
    }
    EXPECT_EQ(ModelHash(*other), others);
  }
  ASSERT_TRUE(copy.ApplyTo(net).ok());
  EXPECT_EQ(ModelHash(net), before);
  EXPECT_EQ(ModelCopy().ApplyTo(net).code(), Code::kInvalid);
}

// Online training that goes on from a file: no moment is left behind, whoever binds when.
TEST(CheckpointingTest, AnOptimizerThatIsNotBoundYetTakesItsMomentsAllTheSame) {
  const DatasetPtr data = Quadrants(16, 4, 0.1, 77);
  auto loader = Loader::Make(data, AllIndices(16), {.batch = 16}).value();
  const Batch batch = **loader->Next();
  const auto steps = [&](Network& net, AdamW& adam, int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(net.TrainStep(batch.x, batch.target, adam).ok());
  };
  TemporaryFolder folder;
  Context ctx({.threads = 1});
  Network net = Bind(ctx, 1);
  AdamW adam({.lr = 1e-2});
  steps(net, adam, 3);
  ASSERT_TRUE(WriteCheckpoint(folder / "run", {.network = &net, .optimizer = &adam}, {}).ok());
  steps(net, adam, 3);

  const Checkpoint checkpoint = LoadCheckpoint(folder / "run").value();
  for (const bool bound_first : {false, true}) {
    Network other = Bind(ctx, 9);
    AdamW unbound({.lr = 1e-2});
    if (bound_first) {
      ASSERT_TRUE(unbound.Bind(ctx, other.store().ParametersToWrite()).ok());
    }
    ASSERT_TRUE(ReadInto(checkpoint, {.network = &other, .optimizer = &unbound}).ok());
    EXPECT_EQ(unbound.step_count(), 3);
    steps(other, unbound, 3);
    EXPECT_EQ(ModelHash(other), ModelHash(net)) << bound_first;
  }
  AdamW alone;
  EXPECT_THAT(ReadInto(checkpoint, {.optimizer = &alone}).status().message(),
              HasSubstr("CheckpointParts::network"));
  Network third = Bind(ctx, 9);
  const uint64_t before = ModelHash(third);
  EXPECT_THAT(ReadInto(checkpoint, {.network = &third, .optimizer = &adam}).status().message(),
              HasSubstr("another network"));
  EXPECT_EQ(ModelHash(third), before);
}

}  // namespace
}  // namespace lockstep::toy
