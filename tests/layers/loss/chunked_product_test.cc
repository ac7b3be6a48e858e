// A head of many classes, whose loss computes the scores itself, against head and loss apart.
#include "layers/loss/chunked_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "engine/train/training_step.h"
#include "layers/activation.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

struct Case {
  int64_t samples = 6, length = 5, width = 3, classes = 2100;
  CrossEntropyLossOptions loss{};
  bool bias = true;
  int shards = 1, threads = 1;
  bool with_layer = true;  // in front of the head
};

std::vector<float> Features(const Case& c) {
  Random random(5, StreamOf("chunked_product_test"));
  std::vector<float> x(static_cast<size_t>(c.samples * c.length * c.width));
  for (float& v : x) v = static_cast<float>(random.Normal());
  return x;
}
std::vector<int32_t> Targets(const Case& c) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < c.samples * c.length; ++i)
    ids.push_back(i % 7 == 3 ? -100 : static_cast<int32_t>(i * 977 % c.classes));
  return ids;
}

Result<Network> Bind(Context& ctx, const Case& c, Fusion fusion) {
  auto layers = std::make_unique<Sequential>();
  if (c.with_layer) layers->Add(std::make_unique<Linear>(c.width));
  layers->Add(std::make_unique<Linear>(
      c.classes, LinearOptions{.bias = c.bias, .init = LinearOptions::WeightInit::kNormal}));
  return Network::Bind(ctx, std::move(layers), std::make_unique<CrossEntropyLoss>(c.loss),
                       {.input = {c.samples, c.length, c.width},
                        .seed = 3,
                        .shards = c.shards,
                        .input_gradient = true,
                        .fusion = fusion});
}

struct Gradients {
  double loss = 0.0, weight = 0.0;
  std::vector<float> values, of_x;
};
// Of the whole batch, or of it twice, the second time added to the first.
Gradients GradientsOf(const Case& c, Fusion fusion, bool twice = false) {
  Context ctx({.threads = c.threads});
  Network net = Bind(ctx, c, fusion).value();
  EXPECT_EQ(net.training_program().fusions().empty(), fusion == Fusion::kNone);
  const std::vector<float> x = Features(c);
  const std::vector<int32_t> ids = Targets(c);
  const ConstTensor input(x.data(), {c.samples, c.length, c.width});
  const ConstTensor target(ids.data(), {c.samples, c.length});
  StepResult step = net.Gradients(input, target).value();
  if (twice) step = net.Gradients(input, target, {.accumulate = true}).value();
  EXPECT_EQ(net.output().empty(), fusion == Fusion::kAll);
  const auto gradients = net.parameters().gradients;
  const auto of_x = net.input_gradient().span<float>();
  return {step.loss.sum,
          step.loss.weight,
          {gradients.begin(), gradients.end()},
          {of_x.begin(), of_x.end()}};
}

void ExpectSameBits(const Gradients& a, const Gradients& b) {
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.weight, b.weight);
  ASSERT_EQ(a.values.size(), b.values.size());
  EXPECT_EQ(std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(float)), 0);
  ASSERT_EQ(a.of_x.size(), b.of_x.size());
  EXPECT_EQ(std::memcmp(a.of_x.data(), b.of_x.data(), a.of_x.size() * sizeof(float)), 0);
}

TEST(ChunkedProductTest, GivesTheBitsOfHeadAndLossApart) {
  for (const bool bias : {true, false}) {
    for (const double smoothing : {0.0, 0.1}) {
      for (const int shards : {1, 4}) {
        Case c{.loss = {.label_smoothing = smoothing}, .bias = bias, .shards = shards};
        if (bias) {
          for (int64_t i = 0; i < c.classes; ++i)
            c.loss.class_weights.push_back(0.5f + static_cast<float>(i % 5));
        }
        c.with_layer = shards == 1;
        const Gradients apart = GradientsOf(c, Fusion::kNone);
        ExpectSameBits(GradientsOf(c, Fusion::kAll), apart);
        ExpectSameBits(GradientsOf(c, Fusion::kAll, /*twice=*/true),
                       GradientsOf(c, Fusion::kNone, /*twice=*/true));
        for (const int threads : {2, 3, 7}) {
          c.threads = threads;
          ExpectSameBits(GradientsOf(c, Fusion::kAll), apart);
        }
      }
    }
  }
}

// 256 rows of 66000 scores are a chunk: three chunks, then a chunk for each two of the shards.
TEST(ChunkedProductTest, SeveralChunksGiveTheSameBits) {
  for (const int shards : {1, 6}) {
    Case c{.samples = 6, .length = 99, .width = 2, .classes = 66000, .shards = shards};
    EXPECT_GT(c.samples * c.length * c.classes, 2 * ChunkedProduct::kChunkFloats);
    const Gradients apart = GradientsOf(c, Fusion::kNone, /*twice=*/true);
    c.threads = shards == 1 ? 1 : 2;
    ExpectSameBits(GradientsOf(c, Fusion::kAll, /*twice=*/true), apart);
  }
}

// Rows that are ignored add exactly nothing, however many fill a sample up.
TEST(ChunkedProductTest, PaddingChangesNoBitOfTheLoss) {
  for (const int64_t classes : {5, 2100}) {
    const auto loss_of = [&](int64_t length) {
      const Case c{.length = length,
                   .classes = classes,
                   .loss = {.label_smoothing = 0.2},
                   .shards = 2,
                   .with_layer = false};
      Context ctx({.threads = 2});
      Network net = Bind(ctx, c, Fusion::kAll).value();
      const Case real{.length = 37};
      const std::vector<float> texts = Features(real);
      std::vector<float> x(static_cast<size_t>(c.samples * length * c.width), 7.0f);
      std::vector<int32_t> ids(static_cast<size_t>(c.samples * length), -100);
      for (int64_t s = 0; s < c.samples; ++s) {
        const int64_t end = real.length - 3 * s;  // each of its own length
        std::copy_n(texts.begin() + s * real.length * c.width, end * c.width,
                    x.begin() + s * length * c.width);
        for (int64_t t = 0; t < end; ++t)
          ids[static_cast<size_t>(s * length + t)] = static_cast<int32_t>((s * 31 + t * 7) % 5);
      }
      return net
          .Gradients({x.data(), {c.samples, length, c.width}}, {ids.data(), {c.samples, length}})
          .value()
          .loss;
    };
    const LossSum shortest = loss_of(37);
    EXPECT_EQ(shortest.weight, 6 * 37 - 3 * 15);
    for (const int64_t length : {38, 48, 64, 101}) {
      const LossSum padded = loss_of(length);
      EXPECT_EQ(padded.sum, shortest.sum) << length;
      EXPECT_EQ(padded.weight, shortest.weight) << length;
    }
  }
}

TEST(ChunkedProductTest, PartsOfABatchChangeNoBit) {
  const Case c{.samples = 8, .length = 21, .shards = 4};
  const std::vector<float> x = Features(c);
  const std::vector<int32_t> ids = Targets(c);
  const std::vector<ConstTensor> inputs{ConstTensor(x.data(), {c.samples, c.length, c.width}),
                                        ConstTensor(ids.data(), {c.samples, c.length})};
  std::vector<float> first;
  double first_loss = 0.0;
  for (const int64_t parts : {1, 2, 4}) {
    Context ctx({.threads = 2});
    Case bound = c;
    bound.samples = c.samples / parts;
    Network net = Bind(ctx, bound, Fusion::kAll).value();
    Sgd sgd({.momentum = 0.9});
    const auto step = TrainingStep::Make(net, {.parts = parts}).value();
    double loss = 0.0;
    for (uint64_t i = 0; i < 3; ++i) {
      const auto report = step->Run(
          {.inputs = inputs, .samples = c.samples, .global_samples = c.samples}, i, sgd, 0.1);
      ASSERT_TRUE(report.ok()) << report.status().message();
      loss = report->loss.sum;
    }
    const auto values = net.parameters().values;
    if (parts == 1) first.assign(values.begin(), values.end()), first_loss = loss;
    EXPECT_EQ(loss, first_loss) << parts;
    EXPECT_EQ(std::memcmp(values.data(), first.data(), first.size() * sizeof(float)), 0) << parts;
  }
}

TEST(ChunkedProductTest, ScoresAreThereWhereSomebodyAsksForThem) {
  const Case c{.with_layer = false};
  const std::vector<float> x = Features(c);
  const std::vector<int32_t> ids = Targets(c);
  const ConstTensor input(x.data(), {c.samples, c.length, c.width});
  const ConstTensor target(ids.data(), {c.samples, c.length});
  Context ctx({.threads = 2});
  Network net = Bind(ctx, c, Fusion::kAll).value();
  // A step forward alone gives the loss of the whole step, and of an evaluation.
  const double sum = net.Gradients(input, target).value().loss.sum;
  EXPECT_EQ(net.EvaluateInTrainingMode(input, target).value().sum, sum);
  EXPECT_TRUE(net.output().empty());
  EXPECT_EQ(net.Evaluate(input, target).value().sum, sum);
  EXPECT_EQ(net.output().shape(), Shape({c.samples, c.length, c.classes}));

  auto layers = std::make_unique<Sequential>();
  layers->Add(std::make_unique<Linear>(c.classes));
  Network keeps = Network::Bind(ctx, std::move(layers), std::make_unique<CrossEntropyLoss>(),
                                {.input = {c.samples, c.length, c.width}, .layer_outputs = {"0"}})
                      .value();
  EXPECT_TRUE(keeps.Gradients(input, target).ok());
  EXPECT_EQ(keeps.output("0").shape(), Shape({c.samples, c.length, c.classes}));
  EXPECT_FALSE(keeps.output().empty());
}

// Scores and their gradients are not held, 84 MB each: a chunk of 64 MB is.
TEST(ChunkedProductTest, HoldsAChunkOfScoresAtATime) {
  const Case c{.samples = 5, .length = 128, .width = 2, .classes = 32768};
  Context ctx({.threads = 1});
  const int64_t apart = Bind(ctx, c, Fusion::kNone).value().training_program().step_bytes();
  const int64_t chunks = Bind(ctx, c, Fusion::kAll).value().training_program().step_bytes();
  const int64_t scores = c.samples * c.length * c.classes * 4;
  EXPECT_GE(apart, 2 * scores);
  EXPECT_LT(chunks, 4 * ChunkedProduct::kChunkFloats + (int64_t{8} << 20));
}

TEST(ChunkedProductTest, FrozenHeadsAndHeadsOnFrozenLayers) {
  const Case c{};
  const std::vector<float> x = Features(c);
  const std::vector<int32_t> ids = Targets(c);
  for (const std::vector<std::string>& frozen :
       {std::vector<std::string>{"1.*"}, {"0.*"}, {"1.bias"}, {"1.weight"}, {"*"}}) {
    std::vector<double> losses;
    std::vector<std::vector<float>> gradients;
    for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
      Context ctx({.threads = 2});
      auto layers = std::make_unique<Sequential>();
      layers->Add(std::make_unique<Linear>(c.width));
      layers->Add(std::make_unique<Linear>(c.classes));
      Network net =
          Network::Bind(
              ctx, std::move(layers), std::make_unique<CrossEntropyLoss>(),
              {.input = {c.samples, c.length, c.width}, .frozen = frozen, .fusion = fusion})
              .value();
      const auto step = net.Gradients({x.data(), {c.samples, c.length, c.width}},
                                      {ids.data(), {c.samples, c.length}});
      losses.push_back(step.value().loss.sum);
      gradients.emplace_back();
      for (size_t i = 0; i < net.parameters().infos.size(); ++i) {
        if (net.parameters().infos[i].frozen) continue;
        const auto one = net.parameters().gradient(i).span<float>();
        gradients.back().insert(gradients.back().end(), one.begin(), one.end());
      }
    }
    EXPECT_EQ(losses[0], losses[1]) << frozen[0];
    EXPECT_TRUE(gradients[0] == gradients[1]) << frozen[0];
  }
}

TEST(ChunkedProductTest, FailuresAreNamedAndChangeNothing) {
  const Case c{};
  std::vector<float> x = Features(c);
  std::vector<int32_t> ids = Targets(c);
  const ConstTensor input(x.data(), {c.samples, c.length, c.width});
  const ConstTensor target(ids.data(), {c.samples, c.length});
  Context ctx({.threads = 1});
  Network net = Bind(ctx, c, Fusion::kAll).value();
  Sgd sgd({.lr = 0.1});
  const auto values = net.parameters().values;
  const std::vector<float> before(values.begin(), values.end());
  const auto refused = [&](const char* why) {
    const Result<double> loss = net.TrainStep(input, target, sgd);
    ASSERT_FALSE(loss.ok());
    EXPECT_THAT(loss.status().message(), HasSubstr(why));
    EXPECT_EQ(std::memcmp(values.data(), before.data(), before.size() * sizeof(float)), 0);
  };
  ids[4] = static_cast<int32_t>(c.classes);
  refused("target 2100 in row 4 is not a class: there are 2100");
  std::fill(ids.begin(), ids.end(), -100);
  refused("no target of the batch counts");
  const std::vector<int32_t> good = Targets(c);
  std::copy(good.begin(), good.end(), ids.begin());
  x[7] = NAN;
  refused("the input already holds values that are not finite");
  x[7] = 3e38f;
  refused("is finite up to the scores that the loss computes itself");
}

}  // namespace
}  // namespace lockstep
