// Files of format version 1, which named a batch norm "batch_norm.1" and could hold its count of
// batches as F32: models and runs of then go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/builtin/clinical.h"
#include "engine/io/hash.h"
#include "engine/train/checkpointing.h"
#include "engine/train/predictor.h"
#include "layers/loss/bce_with_logits.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

// last.safetensors of models/recipes/clinical.toml, as the program of format version 1 wrote it,
// with data.size=120 model.hidden=[3] train.epochs=2 train.ema_decay=0.9.
constexpr char kGolden[] = LOCKSTEP_SOURCE_DIR "/tests/golden/version1_run.safetensors";

Sequential Layers(BatchNormOptions norm = {}) {
  return Sequential(Linear(3), BatchNorm(norm), Relu(), Linear(1));
}

Network Bind(Context& ctx, BatchNormOptions norm = {}) {
  return Network::Bind(ctx, Layers(norm), BceWithLogitsLoss(), {.input = {64, 20}, .seed = 99})
      .value();
}

TEST(Version1Test, AModelPredictsWhatItDidThen) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx);
  const Result<LoadedModel> model = LoadModel(kGolden, net);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->state.step, 4);
  EXPECT_EQ(model->state.layer_traits.at("batch_norm.1"), "torch momentum=0.1 eps=1e-05");
  ASSERT_TRUE(model->standardizer);

  // As `lockstep predict` printed them then, for the first four patients.
  const std::vector<float> want = {0.3610823f, 0.3585627f, 0.32582745f, 0.36151102f};
  const ClinicalData data = MakeClinical({.size = 4}).value();
  std::vector<float> x(4 * 20), y(4);
  std::vector<int64_t> rows = {0, 1, 2, 3};
  ASSERT_TRUE(data.dataset->Gather(rows, Tensor(x.data(), {4, 20}), Tensor()).ok());
  Predictor predictor = Predictor::Make(net, Task::kBinary, std::move(model->standardizer)).value();
  ASSERT_TRUE(predictor.Run(ConstTensor(x.data(), {4, 20}), Tensor(y.data(), {4, 1})).ok());
  // Sums of 20 terms of size 1, and of 3, in another order; the sigmoid's slope is at most 1/4.
  for (size_t i = 0; i < 4; ++i) EXPECT_FALSE(!(std::abs(y[i] - want[i]) <= 1e-6)) << i;
}

// The optimizer, the average and the best weights too; counts become whole numbers.
TEST(Version1Test, ARunIsReadAsAWhole) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx);
  const Checkpoint checkpoint = LoadCheckpoint(kGolden).value();
  EXPECT_EQ(checkpoint.meta.at("lockstep.format_version"), "1");
  ASSERT_EQ(checkpoint.Find("average.1.num_batches_tracked")->type, StoredType::kF32);
  AdamW adam;
  Ema ema({.decay = 0.9});
  ASSERT_TRUE(ema.Bind(ctx, net.store()).ok());
  ModelCopy best(net);
  const Result<TrainingState> state =
      ReadInto(checkpoint, {.network = &net, .optimizer = &adam, .ema = &ema, .best = &best});
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(adam.step_count(), 4);
  EXPECT_EQ(ema.update_count(), 4);
  // Every float as it stands in the file.
  const auto same = [&](const std::string& name, const ConstTensor& tensor) {
    const StoredTensor* stored = checkpoint.Find(name);
    ASSERT_NE(stored, nullptr) << name;
    ASSERT_EQ(stored->data.size(), tensor.bytes()) << name;
    EXPECT_EQ(std::memcmp(stored->data.data(), tensor.data(), tensor.bytes()), 0) << name;
  };
  for (const NamedTensor& named : ModelTensors(net)) {
    if (named.tensor.dtype() == DType::kI64) {
      EXPECT_EQ(*named.tensor.as<int64_t>(), 4) << named.name;  // two epochs of two batches
    } else {
      same(named.name, named.tensor);
    }
  }
  for (const OptimizerState& s : adam.states())
    same("optimizer." + s.parameter + "." + s.name, s.tensor);
  // Averages of counts were fractions.
  const auto nearest = [&](const std::string& name, const Tensor& tensor) {
    if (tensor.dtype() == DType::kF32) return same(name, tensor);
    const float stored = checkpoint.Find(name)->view().f32()[0];
    EXPECT_EQ(*tensor.as<int64_t>(), std::llround(stored)) << name;
  };
  for (const Ema::Average& average : ema.states())
    nearest("average." + average.name, average.tensor);
  for (const NamedTensor& named : best.tensors()) nearest("best." + named.name, named.tensor);
}

TEST(Version1Test, ARunGoesOn) {
  const ClinicalData data = MakeClinical({.size = 120}).value();
  Subset train{.dataset = data.dataset}, validation{.dataset = data.dataset};
  // Another split than that of then: nothing but the numbers of samples is compared.
  for (int64_t i = 0; i < 102; ++i) (i < 84 ? train : validation).indices.push_back(i);
  Rig rig(train, Layers(), BceWithLogitsLoss(),
          {.seed = 1, .loader = {.batch = 64, .seed = 1, .prefetch = 0}},
          {.epochs = 4,
           .ema = EmaOptions{.decay = 0.9},
           .validation = validation,
           .monitor = Metric::kAuc});
  ASSERT_TRUE(rig.status.ok()) << rig.status.message();
  const Status resumed = rig.trainer->Resume(kGolden);
  ASSERT_TRUE(resumed.ok()) << resumed.message();
  EXPECT_EQ(rig.trainer->step(), 4);
  const Result<TrainingSummary> summary = rig.trainer->Run();
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  EXPECT_EQ(summary->steps, 8);
  EXPECT_EQ(rig.optimizer.step_count(), 8);
}

// ---- Files made here, of what version 1 could hold ----------------------------------------------

// Rewrites a file of SaveCheckpoint as one of version 1.
void MakeVersion1(const std::string& path) {
  std::string bytes = Slurp(path);
  const std::string version = "\"lockstep.format_version\":\"", sum = "\"lockstep.checksum\":\"";
  ASSERT_NE(bytes.find(version + "3"), std::string::npos);
  bytes[bytes.find(version) + version.size()] = '1';
  const size_t place = bytes.find(sum) + sum.size();
  bytes.replace(place, 16, 16, '0');
  bytes.replace(place, 16, HexOf(Hasher().Add(bytes).Finish()));
  Spill(path, bytes);
}

// `count`: what num_batches_tracked is stored as.
Status LoadVersion1(const StoredTensor& count, const std::string& norm, Network& into) {
  TemporaryFolder folder;
  const std::string path = folder / "model";
  const Network net = Bind(into.context());
  std::vector<StoredTensor> stored;
  for (const NamedTensor& named : ModelTensors(net)) stored.emplace_back(named);
  for (StoredTensor& tensor : stored) {
    if (tensor.name == "1.num_batches_tracked")
      tensor = StoredTensor(tensor.name, count.type, count.shape, count.data);
  }
  Metadata meta = MetadataOf(TrainingState{});
  meta["batch_norm.1"] = norm;
  EXPECT_TRUE(SaveCheckpoint(path, stored, meta).ok());
  MakeVersion1(path);
  return LoadModel(path, into).status();
}

int64_t CountOf(const Network& net) {
  for (size_t i = 0; i < net.states().size(); ++i) {
    if (net.states()[i].name == "1.num_batches_tracked") return *net.state(i).as<int64_t>();
  }
  return -1;
}

constexpr char kTorch[] = "torch momentum=0.1 eps=1e-05";

TEST(Version1Test, CountsAreReadFromFloatsAndWholeNumbers) {
  Context ctx({.threads = 1});
  const float number = 12345.0f, average = 12344.7f, nan = NAN, negative = -1.0f;
  const int64_t whole = 12345;
  const auto load = [&](StoredType type, const auto& value, Network& net) {
    return LoadVersion1(StoredTensor("", type, {}, std::as_bytes(std::span(&value, 1))), kTorch,
                        net);
  };
  for (const float* stored : {&number, &average}) {  // averaged counts were fractions
    Network net = Bind(ctx);
    const Status status = load(StoredType::kF32, *stored, net);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(CountOf(net), 12345);
  }
  Network net = Bind(ctx);
  const Status status = load(StoredType::kI64, whole, net);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(CountOf(net), 12345);

  const uint64_t before = ModelHash(net);
  for (const float* stored : {&nan, &negative})
    EXPECT_THAT(load(StoredType::kF32, *stored, net).message(), HasSubstr("num_batches_tracked"));
  EXPECT_EQ(ModelHash(net), before);
}

TEST(Version1Test, AnotherConventionIsStillRefused) {
  Context ctx({.threads = 1});
  Network net = Bind(ctx);
  const uint64_t before = ModelHash(net);
  const float count = 1.0f;
  const StoredTensor stored("", StoredType::kF32, {}, std::as_bytes(std::span(&count, 1)));
  const Status status = LoadVersion1(stored, "keras momentum=0.99 eps=0.001", net);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("batch_norm.1"));
  EXPECT_THAT(status.message(), HasSubstr("keras momentum=0.99"));
  EXPECT_EQ(ModelHash(net), before);
}

}  // namespace
}  // namespace lockstep::toy
