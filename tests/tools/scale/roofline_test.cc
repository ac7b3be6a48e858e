#include "tools/scale/roofline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>

#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/loss/cross_entropy.h"
#include "models/gpt.h"
#include "models/mlp.h"
#include "models/resnet.h"

namespace lockstep::inline v0_1::scale {
namespace {

const Peaks kPeaks{.operations_per_second = 1e11, .bytes_per_second = 1e10};

Cost CostOf(Network& network, Optimizer& optimizer) {
  const Status bound = optimizer.Bind(network.context(), network.store().ParametersToWrite());
  EXPECT_TRUE(bound.ok()) << bound.message();
  return StepCost(network.training_program(), optimizer);
}

TEST(Bounds, AreTheLongerAndTheSum) {
  const Cost cost{.operations = 2e11, .bytes = 1e10};
  EXPECT_DOUBLE_EQ(Bound(cost, kPeaks), 2.0);
  EXPECT_DOUBLE_EQ(Floor(cost, kPeaks), 3.0);
}

// Six operations for each weight and row, four where nobody wants dx; SGD with momentum moves 24
// bytes for each parameter.
TEST(StepCost, OfAnMlpIsThatOfItsProducts) {
  Context ctx({.threads = 1});
  auto network = Network::Bind(ctx, Mlp({.hidden = {96, 64}, .outputs = 40}), CrossEntropyLoss(),
                               {.input = {32, 50}});
  ASSERT_TRUE(network.ok()) << network.status().message();
  Sgd sgd({.lr = 0.1, .momentum = 0.9});
  const Cost cost = CostOf(*network, sgd);
  EXPECT_DOUBLE_EQ(cost.operations, 32.0 * (4 * 50 * 96 + 6 * 96 * 64 + 6 * 64 * 40));
  EXPECT_DOUBLE_EQ(cost.bytes, 24.0 * static_cast<double>(network->parameter_count()));
}

TEST(StepCost, OfAResNetIsThatOfItsConvolutions) {
  Context ctx({.threads = 1});
  auto network =
      Network::Bind(ctx, CifarResNet(8, 10), CrossEntropyLoss(), {.input = {4, 32, 32, 3}});
  ASSERT_TRUE(network.ok()) << network.status().message();
  Sgd sgd({.lr = 0.1, .momentum = 0.9});
  const Cost cost = CostOf(*network, sgd);
  // Rows times outputs times inputs of each convolution; taps in the padding may count or not,
  // which is a tenth at 8 x 8.
  double products = 0.0;
  const auto conv = [&](double in, double out, double kernel, double side, double times) {
    products += times * 4 * side * side * out * in * kernel * kernel;
  };
  conv(3, 16, 3, 32, 4);
  conv(16, 16, 3, 32, 2 * 6);
  conv(16, 32, 3, 16, 6), conv(32, 32, 3, 16, 6), conv(16, 32, 1, 16, 6);
  conv(32, 64, 3, 8, 6), conv(64, 64, 3, 8, 6), conv(32, 64, 1, 8, 6);
  EXPECT_NEAR(cost.operations / products, 1.0, 0.1);
}

TEST(StepCost, OfAGptHasAttentionInIt) {
  Context ctx({.threads = 1});
  constexpr int64_t kBatch = 2, kLength = 32, kWidth = 64, kLayers = 2, kVocabulary = 96;
  auto network =
      Network::Bind(ctx,
                    Gpt({.vocabulary = kVocabulary,
                         .context = kLength,
                         .layers = kLayers,
                         .heads = 2,
                         .width = kWidth}),
                    CrossEntropyLoss(), {.input = {kBatch, kLength}, .input_dtype = DType::kI32});
  ASSERT_TRUE(network.ok()) << network.status().message();
  AdamW adam({.lr = 1e-3, .groups = {}});
  const Cost cost = CostOf(*network, adam);
  const double rows = kBatch * kLength;
  const double products = 6.0 * rows * (kLayers * 12.0 * kWidth * kWidth + kVocabulary * kWidth);
  const double attention = kLayers * 12.0 * kBatch * kLength * (kLength + 1) / 2 * kWidth;
  // The plan counts a pair of a token with itself half.
  EXPECT_NEAR(cost.operations, products + attention, 0.04 * attention);
  EXPECT_DOUBLE_EQ(cost.bytes, 32.0 * static_cast<double>(network->parameter_count()));
}

TEST(LayerCosts, OfEachLayerThatComputes) {
  Context ctx({.threads = 1});
  auto network = Network::Bind(ctx, Mlp({.hidden = {96}, .outputs = 40}), CrossEntropyLoss(),
                               {.input = {32, 50}, .fusion = Fusion::kNone});
  ASSERT_TRUE(network.ok()) << network.status().message();
  const std::vector<LayerCost> layers = LayerCosts(network->training_program());
  ASSERT_GE(layers.size(), 4u);
  EXPECT_EQ(layers[0].path, "0");
  EXPECT_EQ(layers[0].kind, "Linear");
  EXPECT_DOUBLE_EQ(layers[0].forward.operations, 2.0 * 32 * 50 * 96);
  // x, W and b read; y written.
  EXPECT_DOUBLE_EQ(layers[0].forward.bytes, 4.0 * (32 * 50 + 50 * 96 + 96 + 32 * 96));
  // dW alone: nobody wants dx of the first layer. dy and x are read, W is declared as read, dW and
  // db written.
  EXPECT_DOUBLE_EQ(layers[0].backward.operations, 2.0 * 32 * 50 * 96);
  EXPECT_DOUBLE_EQ(layers[0].backward.bytes, 4.0 * (32 * 96 + 32 * 50 + 50 * 96 + 50 * 96 + 96));
  double operations = 0.0;
  bool has_loss = false;
  for (const LayerCost& layer : layers) {
    operations += layer.forward.operations + layer.backward.operations;
    has_loss = has_loss || layer.path.empty();
    EXPECT_GT(layer.forward.bytes, 0.0) << layer.path;
  }
  EXPECT_TRUE(has_loss);
  EXPECT_GT(operations, 0.0);
}

TEST(LayerCosts, WhatIsFrozenCostsNothingInBackward) {
  Context ctx({.threads = 1});
  auto network = Network::Bind(ctx, Mlp({.hidden = {96}, .outputs = 40}), CrossEntropyLoss(),
                               {.input = {32, 50}, .frozen = {"0.*", "1.*"}});
  ASSERT_TRUE(network.ok()) << network.status().message();
  Sgd sgd({.lr = 0.1, .momentum = 0.9});
  const Cost cost = CostOf(*network, sgd);
  EXPECT_DOUBLE_EQ(cost.operations, 32.0 * (2 * 50 * 96 + 4 * 96 * 40));
  EXPECT_EQ(LayerCosts(network->training_program())[0].backward.operations, 0.0);
}

}  // namespace
}  // namespace lockstep::scale
