// The loss of quantiles: PyTorch's numbers (tests/golden/make_features.py made features.json), what
// makes it least, and what is refused.
#include "layers/loss/pinball.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/linear.h"
#include "tests/layers/layer_runner.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using testing::Values;
using Json = nlohmann::ordered_json;

// Nothing but a loss of the input, which wants a gradient.
class LossAlone final : public Model {
 public:
  LossAlone(const Loss& loss, const Shape& shape) : loss_(loss), shape_(shape) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value y, graph.AddInput("y", shape_, DType::kF32, true));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return AddLoss(graph, "target", loss_, y);
  }

 private:
  const Loss& loss_;
  Shape shape_;
};

struct Gradients {
  double loss = 0.0;
  std::vector<float> dy;
};

Gradients GradientsOf(const PinballLoss& loss, const std::vector<float>& y, const Shape& shape,
                      const std::vector<float>& targets, int threads = 1, int shards = 1) {
  Context ctx({.threads = threads});
  Network net =
      Network::Bind(ctx, LossAlone(loss, shape), shape.batch(), {.shards = shards}).value();
  const StepResult step =
      net.Gradients({y.data(), shape}, {targets.data(), loss.target_shape(shape)}).value();
  const std::span<const float> dy = net.input_gradient().span<float>();
  return {step.mean(), {dy.begin(), dy.end()}};
}

TEST(PinballLossTest, ValueAndGradientArePyTorchs) {
  std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/features.json");
  const Json cases = Json::parse(in).at("cases");
  for (const char* name : {"pinball", "pinball_of_two"}) {
    const Json& golden = cases.at(name);
    const int64_t rows = golden.at("rows"), targets = golden.at("targets");
    const std::vector<double> quantiles = golden.at("quantiles");
    const Shape shape{rows, targets * static_cast<int64_t>(quantiles.size())};
    std::vector<float> y = Values(1, shape.size());
    for (float& v : y) v *= 4.0f;
    const Gradients got = GradientsOf(PinballLoss(quantiles), y, shape, Values(3, rows * targets));
    // Sums of PyTorch's floats: a few roundings of 6e-8.
    EXPECT_NEAR(got.loss, golden.at("loss").at(0).get<double>(), 1e-6);
    ASSERT_EQ(got.dy.size(), golden.at("dy").size());
    for (size_t i = 0; i < got.dy.size(); ++i)
      EXPECT_NEAR(got.dy[i], golden.at("dy").at(i).get<double>(), 1e-8) << i;
  }
}

TEST(PinballLossTest, TheMedianAloneIsHalfTheAbsoluteError) {
  const Gradients got =
      GradientsOf(PinballLoss({0.5}), {1.0f, -2.0f, 3.0f}, {3, 1}, {0.0f, 0.0f, 3.0f});
  EXPECT_EQ(got.loss, 0.5);
  // 1 / 3, rounded, times a half; at the target itself there is no slope.
  EXPECT_EQ(got.dy, (std::vector<float>{1.0f / 6.0f, -1.0f / 6.0f, 0.0f}));
}

TEST(PinballLossTest, NaNIsNoLoss) {
  Context ctx({.threads = 1});
  const PinballLoss loss({0.1, 0.9});
  Network net = Network::Bind(ctx, LossAlone(loss, {1, 2}), 1, {}).value();
  const std::vector<float> y = {1.0f, NAN}, target = {0.0f};
  const Status status = net.Gradients({y.data(), {1, 2}}, {target.data(), {1, 1}}).status();
  EXPECT_EQ(status.code(), Code::kNonFinite) << status.message();
}

TEST(PinballLossTest, TheBitsAreTheSameForAnyNumberOfThreads) {
  const Shape shape{1237, 6};
  const std::vector<float> y = networks::Normals(shape.size(), 1);
  const std::vector<float> t = networks::Normals(2 * shape.batch(), 2);
  for (const int shards : {1, 16}) {
    const Gradients one = GradientsOf(PinballLoss({0.1, 0.5, 0.9}), y, shape, t, 1, shards);
    const Gradients many = GradientsOf(PinballLoss({0.1, 0.5, 0.9}), y, shape, t, 7, shards);
    EXPECT_EQ(one.loss, many.loss);
    EXPECT_EQ(one.dy, many.dy);
  }
}

// A network that knows nothing but a constant learns the quantiles of its targets.
TEST(PinballLossTest, IsLeastAtTheQuantiles) {
  constexpr int64_t kSamples = 401;
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Linear(3), PinballLoss({0.1, 0.5, 0.9}),
                              {.input = {kSamples, 1}, .seed = 1})
                    .value();
  const std::vector<float> x(kSamples, 0.0f);
  std::vector<float> t = networks::Normals(kSamples, 9);
  Sgd coarse({.lr = 1.0}), fine({.lr = 0.1});
  for (int step = 0; step < 400; ++step) {
    ASSERT_TRUE(net.TrainStep({x.data(), {kSamples, 1}}, {t.data(), {kSamples, 1}},
                              step < 300 ? coarse : fine)
                    .ok());
  }
  std::sort(t.begin(), t.end());
  std::vector<float> y(kSamples * 3);
  ASSERT_TRUE(net.Predict({x.data(), {kSamples, 1}}, {y.data(), {kSamples, 3}}).ok());
  for (size_t i = 0; i < 3; ++i) {
    const double share =
        static_cast<double>(std::lower_bound(t.begin(), t.end(), y[i]) - t.begin()) / kSamples;
    // The last steps are up to 0.1 / 3 long, where normal numbers lie at most 0.4 a unit apart.
    EXPECT_NEAR(share, i == 0 ? 0.1 : i == 1 ? 0.5 : 0.9, 0.4 * 0.1 / 3 + 1.0 / kSamples);
  }
}

TEST(PinballLossTest, OutputsThatAreNoWholeSetOfQuantilesAreRefused) {
  Context ctx({.threads = 1});
  const auto error = [&](std::vector<double> quantiles) {
    return Network::Bind(ctx, Linear(4), PinballLoss(std::move(quantiles)), {.input = {2, 3}})
        .status()
        .message();
  };
  EXPECT_THAT(error({0.1, 0.5, 0.9}), HasSubstr("3 quantiles of each target), not (2, 4)"));
  EXPECT_THAT(error({}), HasSubstr("quantiles between 0 and 1"));
  EXPECT_THAT(error({0.0, 0.5}), HasSubstr("quantiles between 0 and 1"));
  EXPECT_THAT(error({NAN, 0.5}), HasSubstr("quantiles between 0 and 1"));
  EXPECT_THAT(error({0.75, 0.25}), HasSubstr("ascending"));
  EXPECT_THAT(error({0.25, 0.25}), HasSubstr("ascending"));
  EXPECT_EQ(error({0.25, 0.75}), "");
}

}  // namespace
}  // namespace lockstep
