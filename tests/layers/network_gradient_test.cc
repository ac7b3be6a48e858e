// Gradients of whole networks against differences of their losses.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "engine/train/network.h"
#include "gtest/gtest.h"
#include "layers/loss/cross_entropy.h"
#include "tests/layers/network_models.h"

namespace lockstep::networks {
namespace {

// What a gradient is taken with respect to: a parameter, or the input.
struct Leaf {
  std::string name;
  std::span<float> values;
  std::vector<float> gradient;
};

// The slope of the loss in training mode along `direction` from where `leaf` is.
double SlopeOf(Network& net, ConstTensor x, ConstTensor t, const Leaf& leaf,
               const std::vector<double>& direction, double h) {
  const std::vector<float> start(leaf.values.begin(), leaf.values.end());
  const auto loss = [&](double steps) {
    for (size_t i = 0; i < start.size(); ++i)
      leaf.values[i] = static_cast<float>(start[i] + steps * h * direction[i]);
    net.store().Changed();
    const LossSum sum = net.EvaluateInTrainingMode(x, t).value();
    return sum.sum / sum.weight;
  };
  const double slope = (8.0 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12.0 * h);
  std::copy(start.begin(), start.end(), leaf.values.begin());
  net.store().Changed();
  return slope;
}

// A gradient g is held against differences of the loss along random directions d: g d is the slope
// there only if every element of g is right (a projection of g, or a missing one, would give
// another), and the input's gradient has come through every dx of the network.
//
// The tolerance. Differences of a loss L in float lose about 4e-7 (1 + L) to rounding (its terms
// are rounded, their sum is double), so the slope up to 1.5 * 4e-7 (1 + L) / h; the stencil itself
// is exact up to h^4, and kinks of ReLU spoil it where one lies within 2 h. Several lengths h, and
// the best counts: a wrong gradient is wrong at all of them. Several directions, for what an error
// does along one of them is about its length divided by sqrt(n).
TEST(NetworkGradientTest, MatchesDifferencesOfTheLossAlongRandomDirections) {
  constexpr int kDirections = 4;
  int held = 0;
  for (const Model& model : Models()) {
    SCOPED_TRACE(model.name);
    Context ctx({.threads = 1});
    Network net =
        Network::Bind(ctx, model.make(), MseLoss(),
                      {.input = Batched(model.sample, kBatch), .seed = 31, .input_gradient = true})
            .value();
    std::vector<float> x = Normals(net.input_shape().size(), 32);
    const std::vector<float> t = Normals(net.output_shape().size(), 33);
    const ConstTensor xs(x.data(), net.input_shape()), ts(t.data(), net.output_shape());
    const double loss = net.Gradients(xs, ts).value().mean();
    const auto copy = [](std::span<const float> from) {
      return std::vector<float>(from.begin(), from.end());
    };
    std::vector<Leaf> leaves = {{"x", x, copy(net.input_gradient().span<float>())}};
    const ParameterSet parameters = net.store().ParametersToWrite();
    for (size_t i = 0; i < parameters.infos.size(); ++i) {
      leaves.push_back({parameters.infos[i].name, parameters.value(i).span<float>(),
                        copy(parameters.gradient(i).span<float>())});
    }
    for (const Leaf& leaf : leaves) {
      double norm = 0.0;
      for (const float g : leaf.gradient) norm += static_cast<double>(g) * static_cast<double>(g);
      norm = std::sqrt(norm);
      Random random(7, StreamOf(leaf.name));
      for (int d = 0; d < kDirections; ++d) {
        std::vector<double> direction(leaf.gradient.size());
        double length = 0.0, want = 0.0;
        for (double& v : direction) v = random.Normal(), length += v * v;
        for (size_t i = 0; i < direction.size(); ++i) {
          direction[i] /= std::sqrt(length);
          want += direction[i] * static_cast<double>(leaf.gradient[i]);
        }
        double best = std::numeric_limits<double>::infinity();
        for (const double h : {0.03, 0.01, 0.003, 0.001, 0.0003}) {
          const double slope = SlopeOf(net, xs, ts, leaf, direction, h);
          best = std::min(best,
                          std::abs(slope - want) - (1.5 * 4e-7 * (1.0 + loss) / h + 2e-3 * norm));
        }
        EXPECT_LE(best, 0.0) << leaf.name << ", direction " << d << ": gradient along it " << want
                             << ", of length " << norm;
        held += best <= 0.0;
      }
    }
  }
  EXPECT_GT(held, 600);  // none of them was left out
}

TEST(NetworkGradientTest, BackwardOverwritesOrAddsAsAsked) {
  Context ctx({.threads = 1});
  for (const Model& model : Models()) {
    Network net = Network::Bind(ctx, model.make(), MseLoss(),
                                {.input = Batched(model.sample, kBatch), .seed = 41})
                      .value();
    const std::vector<float> x = Normals(net.input_shape().size(), 42);
    const std::vector<float> t = Normals(net.output_shape().size(), 43);
    const ConstTensor xs(x.data(), net.input_shape()), ts(t.data(), net.output_shape());
    const std::span<const float> gradients = net.parameters().gradients;
    ASSERT_TRUE(net.Gradients(xs, ts).ok());
    const std::vector<float> once(gradients.begin(), gradients.end());
    ASSERT_TRUE(net.Gradients(xs, ts).ok());
    EXPECT_TRUE(std::ranges::equal(gradients, once)) << model.name;
    ASSERT_TRUE(net.Gradients(xs, ts, {.accumulate = true}).ok());
    for (size_t i = 0; i < once.size(); ++i)  // one more rounding, of a sum that begins elsewhere
      ASSERT_NEAR(gradients[i], 2.0f * once[i], 1e-5 * (0.01 + std::abs(once[i]))) << model.name;
  }
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
