// Gradients of whole networks against differences of their losses.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/train/network.h"
#include "gtest/gtest.h"
#include "layers/cross_entropy.h"
#include "tests/layers/network_models.h"

namespace lockstep::networks {
namespace {

// The loss in training mode as a function of the step h along `direction` from the parameters.
double LossAt(Network& net, ConstTensor x, ConstTensor t, const std::vector<float>& at,
              const std::vector<double>& direction, double h) {
  const std::span<float> values = net.parameters().values;
  for (size_t i = 0; i < at.size(); ++i) values[i] = static_cast<float>(at[i] + h * direction[i]);
  net.ParametersChanged();
  const LossSum loss = net.EvaluateInTrainingMode(x, t).value();
  return loss.sum / loss.weight;
}

// Along the gradient itself the derivative is the gradient's norm: wrong anywhere, it would not be.
// The first layer's gradient has passed through every dx of the network.
TEST(NetworkGradientTest, MatchesDifferencesOfTheLossAlongTheGradientOfEveryParameter) {
  for (const Model& model : Models()) {
    Context ctx({.threads = 1});
    Network net = Network::Bind(ctx, model.make(false), MseLoss(),
                                {.input = Batched(model.sample, kBatch), .seed = 31})
                      .value();
    const std::vector<float> x = Normals(net.input_shape().size(), 32);
    const std::vector<float> t = Normals(net.output_shape().size(), 33);
    const ConstTensor xs(x.data(), net.input_shape()), ts(t.data(), net.output_shape());
    const StepResult step = net.Gradients(xs, ts).value();
    const ParameterSet p = net.parameters();
    const std::vector<float> at(p.values.begin(), p.values.end());
    const std::vector<float> gradient(p.gradients.begin(), p.gradients.end());
    for (size_t i = 0; i < p.infos.size(); ++i) {
      std::vector<double> direction(at.size(), 0.0);
      double norm = 0.0;
      const auto begin = static_cast<size_t>(p.infos[i].offset);
      const auto end = begin + static_cast<size_t>(p.infos[i].shape.size());
      for (size_t j = begin; j < end; ++j) norm += std::pow(double{gradient[j]}, 2.0);
      norm = std::sqrt(norm);
      // A bias in front of a batch norm has no effect: only rounding is left of its gradient.
      if (norm < 1e-5) continue;
      for (size_t j = begin; j < end; ++j) direction[j] = gradient[j] / norm;
      // Differences lose about 1e-6 of the loss to rounding in float, divided by h; ReLU's kinks
      // and the stencil's own error, h^4, lose less the smaller h is. Several lengths, and the best
      // one counts: a wrong gradient is wrong at all of them.
      double best = std::numeric_limits<double>::infinity();
      for (const double h : {0.03, 0.01, 0.003, 0.001}) {
        const auto f = [&](double s) { return LossAt(net, xs, ts, at, direction, s * h); };
        const double slope = (8.0 * (f(1) - f(-1)) - (f(2) - f(-2))) / (12.0 * h);
        best = std::min(best, std::abs(slope - norm));
      }
      const double loss = step.mean();
      EXPECT_LE(best, 0.01 * norm + 1.5 * 1e-6 * (1.0 + loss) / 0.003)
          << model.name << ", " << p.infos[i].name << ": norm " << norm;
    }
  }
}

TEST(NetworkGradientTest, BackwardOverwritesOrAddsAsAsked) {
  Context ctx({.threads = 1});
  for (const Model& model : Models()) {
    Network net = Network::Bind(ctx, model.make(false), MseLoss(),
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
