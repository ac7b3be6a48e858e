// LoadPart of engine/train/checkpointing.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "layers/activation.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "tests/engine/io/temporary_folder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

// Layer 0 is a body of which networks share the form, layer 1 a head.
Network Bind(Context& ctx, uint64_t seed, int64_t outputs, BatchNormOptions norm = {},
             int64_t hidden = 8) {
  Result<Network> net = Network::Bind(
      ctx, Sequential(Sequential(Linear(hidden), BatchNorm(norm), Relu()), Linear(outputs)),
      MseLoss(), {.input = {16, 4}, .seed = seed});
  EXPECT_TRUE(net.ok()) << net.status().message();
  return std::move(*net);
}

// One step, so that the body's statistics are not those that it begins with.
void Move(Network& net) {
  std::vector<float> x(16 * 4), t(static_cast<size_t>(net.output_shape().size()), 1.0f);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 2.0f;
  Sgd optimizer({.lr = 0.01});
  ASSERT_TRUE(net.TrainStep({x.data(), {16, 4}}, {t.data(), net.output_shape()}, optimizer).ok());
}

TEST(LoadPartTest, TakesWhatMatchesWithItsStatesAndLeavesTheRest) {
  Context ctx({.threads = 1});
  TemporaryFolder folder;
  Network from = Bind(ctx, 1, /*outputs=*/3);
  Move(from);
  ASSERT_TRUE(SaveModel(folder / "model", from, {}).ok());

  Network net = Bind(ctx, 2, /*outputs=*/5);  // its head would not fit
  ModelCopy before(net);
  ASSERT_TRUE(before.TakeFrom(net).ok());
  const std::vector<std::string> body = {"0.*"};
  const Status status = LoadPart(folder / "model", body, net);
  ASSERT_TRUE(status.ok()) << status.message();
  const std::vector<NamedTensor> now = ModelTensors(net), saved = ModelTensors(from);
  for (size_t i = 0; i < now.size(); ++i) {
    const bool of_body = now[i].name.starts_with("0.");
    const Tensor expected = of_body ? saved[i].tensor : before.tensors()[i].tensor;
    ASSERT_EQ(now[i].tensor.bytes(), expected.bytes());
    EXPECT_EQ(std::memcmp(now[i].tensor.data(), expected.data(), expected.bytes()), 0)
        << now[i].name;
  }
}

// A batch norm folded into the product in front of it, for one.
TEST(LoadPartTest, WhatIsDerivedFromParametersFollows) {
  Context ctx({.threads = 1});
  TemporaryFolder folder;
  Network from = Bind(ctx, 1, 3);
  Move(from);
  ASSERT_TRUE(SaveModel(folder / "model", from, {}).ok());
  const std::vector<float> x(4, 1.0f);
  std::vector<std::vector<float>> predictions;
  for (const bool used_before : {false, true}) {
    Network net = Bind(ctx, 2, 3);
    std::vector<float> y(3);
    const auto predict = [&] { return net.Predict({x.data(), {1, 4}}, {y.data(), {1, 3}}); };
    if (used_before) {
      ASSERT_TRUE(predict().ok());
    }
    ASSERT_TRUE(LoadPart(folder / "model", std::vector<std::string>{"0.*"}, net).ok());
    ASSERT_TRUE(predict().ok());
    predictions.push_back(y);
  }
  EXPECT_EQ(predictions[0], predictions[1]);
}

TEST(LoadPartTest, WhatDoesNotFitIsAnErrorAndNothingChanges) {
  Context ctx({.threads = 1});
  TemporaryFolder folder;
  Network from = Bind(ctx, 1, 3);
  Move(from);
  ASSERT_TRUE(SaveModel(folder / "model", from, {}).ok());
  const auto message = [&](Network& net, std::vector<std::string> patterns) {
    const uint64_t before = ModelHash(net);
    const Status status = LoadPart(folder / "model", patterns, net);
    EXPECT_EQ(ModelHash(net), before);
    return status.message();
  };
  Network net = Bind(ctx, 2, 3);
  EXPECT_THAT(message(net, {"0.*", "body.*"}), HasSubstr("\"body.*\""));
  Network wider = Bind(ctx, 2, 3, {}, /*hidden=*/9);
  EXPECT_THAT(message(wider, {"1.bias", "0.*"}), HasSubstr("0.0.weight"));
  // How a layer computes matters where it is loaded, and only there.
  Network keras = Bind(ctx, 2, 3, {.convention = Convention::kKeras});
  EXPECT_THAT(message(keras, {"0.*"}), HasSubstr("batch_norm.0.1"));
  EXPECT_TRUE(LoadPart(folder / "model", std::vector<std::string>{"1.*"}, keras).ok());
}

}  // namespace
}  // namespace lockstep
