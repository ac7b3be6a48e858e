// Gradients of whole networks against differences of their losses.
#include <cstdint>
#include <vector>

#include "engine/train/network.h"
#include "gtest/gtest.h"
#include "layers/loss/cross_entropy.h"
#include "models/testing/gradient_check.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1::networks {
namespace {

TEST(NetworkGradientTest, MatchesDifferencesOfTheLossAlongRandomDirections) {
  int64_t held = 0;
  for (const Model& model : Models())
    EXPECT_EQ(lockstep::checks::CheckGradients(SubjectOf(model), 31, &held), "") << model.name;
  EXPECT_GT(held, 750);  // none of them was left out
}

TEST(NetworkGradientTest, BackwardOverwritesOrAddsAsAsked) {
  for (const Model& model : Models())
    EXPECT_EQ(lockstep::checks::CheckAccumulation(SubjectOf(model), 41), "") << model.name;
}

TEST(NetworkGradientTest, ADivisorTakesThePlaceOfTheBatchsOwnWeight) {
  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, Sequential(Linear(4)), CrossEntropyLoss(), {.input = {8, 3}, .seed = 5})
          .value();
  const std::vector<float> x = Normals(24, 51);
  const std::vector<int32_t> t = {0, 1, 2, 3, 0, 1, 2, 3}, ignored(8, -100);
  const ConstTensor xs(x.data(), {8, 3}), ts(t.data(), {8});
  ASSERT_TRUE(net.Gradients(xs, ts).ok());
  const std::vector<float> mean(net.parameters().gradients.begin(),
                                net.parameters().gradients.end());
  ASSERT_TRUE(net.Gradients(xs, ts, {.divisor = 32.0}).ok());
  for (size_t i = 0; i < mean.size(); ++i)
    EXPECT_EQ(net.parameters().gradients[i], mean[i] / 4.0f);  // a power of two: exact
  // Nothing counts: an error for a batch of its own, nothing for a part of one.
  EXPECT_EQ(net.Gradients(xs, {ignored.data(), {8}}).status().code(), Code::kNonFinite);
  const StepResult part = net.Gradients(xs, {ignored.data(), {8}}, {.divisor = 16.0}).value();
  EXPECT_EQ(part.loss.weight, 0.0);
  for (const float g : net.parameters().gradients) EXPECT_EQ(g, 0.0f);
}

}  // namespace
}  // namespace lockstep::networks
