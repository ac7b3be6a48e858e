// A model of two inputs, two outputs and two losses through all that a network does; and what its
// inner layers give, in evaluation too.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/train/checkpointing.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/layers/layer_runner.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::Values;

constexpr int64_t kBatch = 9, kSignal = 6, kRow = 2, kKinds = 3;

class SignalAndRow final : public Model {
 public:
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value signal, graph.AddInput("signal", {graph.batch(), kSignal}));
    LOCKSTEP_TRY_ASSIGN(const Value row, graph.AddInput("row", {graph.batch(), kRow}));
    LOCKSTEP_TRY_ASSIGN(const Value encoded, Apply(graph, "encoder", encoder_, signal));
    LOCKSTEP_TRY_ASSIGN(const Value both, graph.Add(Concatenate(), {encoded, row}));
    LOCKSTEP_TRY_ASSIGN(const Value kind, Apply(graph, "kind", kind_, both));
    LOCKSTEP_TRY_ASSIGN(const Value level, Apply(graph, "level", level_, both));
    LOCKSTEP_TRY(graph.AddOutput("scores", kind));
    LOCKSTEP_TRY(graph.AddOutput("value", level));
    LOCKSTEP_TRY(AddLoss(graph, "true_kind", CrossEntropyLoss(), kind));
    return AddLoss(graph, "true_level", MseLoss(), level, /*factor=*/0.5);
  }

 private:
  Sequential encoder_ = Sequential(Linear(5), BatchNorm(), Relu());
  Linear kind_ = Linear(kKinds), level_ = Linear(1);
};

struct Data {
  std::vector<float> signal = Values(1, kBatch*kSignal), row = Values(2, kBatch*kRow);
  std::vector<float> level = Values(3, kBatch);
  std::vector<int32_t> kind = {0, 1, 2, 0, 1, 2, 0, 1, 2};
  std::array<ConstTensor, 4> All(int64_t samples = kBatch) const {
    return {ConstTensor(signal.data(), {samples, kSignal}),
            ConstTensor(row.data(), {samples, kRow}), ConstTensor(kind.data(), {samples}),
            ConstTensor(level.data(), {samples, 1})};
  }
};

struct Told {
  std::vector<float> scores, values;
  bool operator==(const Told&) const = default;
};

Told Predict(Network& net, std::span<const ConstTensor> inputs) {
  const int64_t samples = inputs[0].shape().batch();
  Told told{std::vector<float>(static_cast<size_t>(samples * kKinds)),
            std::vector<float>(static_cast<size_t>(samples))};
  const Status status =
      net.Predict(inputs, std::array{Tensor(told.scores.data(), {samples, kKinds}),
                                     Tensor(told.values.data(), {samples, 1})});
  EXPECT_TRUE(status.ok()) << status.message();
  return told;
}

Network Bind(Context& ctx, uint64_t seed) {
  return Network::Bind(ctx, SignalAndRow(), kBatch,
                       {.seed = seed, .layer_outputs = {"encoder.0", "encoder"}})
      .value();
}

TEST(SeveralInputsTest, PredictEvaluateAndFilesGoTogether) {
  Context ctx({.threads = 1});
  const Data data;
  Network net = Bind(ctx, 1);
  EXPECT_EQ(net.feature_inputs(), 2u);
  AdamW adam({.lr = 1e-2});
  double first = 0.0, loss = 0.0;
  for (int step = 0; step < 50; ++step) {
    loss = net.TrainStep(data.All(), adam).value();
    if (step == 0) first = loss;
  }
  EXPECT_LT(loss, 0.5 * first);

  const auto inputs = data.All();
  const Told told = Predict(net, std::span(inputs).first(2));
  double entropy = 0.0, squares = 0.0;
  for (size_t i = 0; i < kBatch; ++i) {
    double sum = 0.0;
    for (size_t k = 0; k < kKinds; ++k)
      sum += std::exp(static_cast<double>(told.scores[kKinds * i + k]));
    entropy += std::log(sum) -
               static_cast<double>(told.scores[kKinds * i + static_cast<size_t>(data.kind[i])]);
    squares +=
        std::pow(static_cast<double>(told.values[i]) - static_cast<double>(data.level[i]), 2);
  }
  const LossSum evaluated = net.Evaluate(inputs).value();
  EXPECT_NEAR(evaluated.sum / evaluated.weight, (entropy + 0.5 * squares) / kBatch, 1e-5);

  const auto some = data.All(4);
  const Told part = Predict(net, std::span(some).first(2));
  EXPECT_TRUE(std::equal(part.scores.begin(), part.scores.end(), told.scores.begin()));
  EXPECT_TRUE(std::equal(part.values.begin(), part.values.end(), told.values.begin()));

  const TemporaryFolder folder;
  ASSERT_TRUE(SaveModel(folder / "two.safetensors", net, {}).ok());
  Network read = Bind(ctx, 2);
  EXPECT_FALSE(Predict(read, std::span(inputs).first(2)) == told);
  ASSERT_TRUE(LoadModel(folder / "two.safetensors", read).ok());
  EXPECT_TRUE(Predict(read, std::span(inputs).first(2)) == told);
}

// "encoder.0" is what the product gives, and "encoder" what comes after norm and ReLU: in
// evaluation by the running statistics, though the norm folds where nobody looks.
TEST(SeveralInputsTest, InnerLayersAreReadInEvaluationToo) {
  Context ctx({.threads = 1});
  const Data data;
  Network net = Bind(ctx, 1);
  AdamW adam({.lr = 1e-2});
  for (int step = 0; step < 5; ++step) ASSERT_TRUE(net.TrainStep(data.All(), adam).ok());
  const auto inputs = data.All(7);
  Predict(net, std::span(inputs).first(2));
  const ConstTensor product = net.output("encoder.0"), encoded = net.output("encoder");
  ASSERT_EQ(product.shape(), (Shape{7, 5}));
  ASSERT_EQ(encoded.shape(), (Shape{7, 5}));
  EXPECT_TRUE(net.output("nothing").empty());
  const ConstParameterSet p = net.parameters();  // weight, bias, gamma, beta
  for (int64_t s = 0; s < 7; ++s) {
    for (int64_t c = 0; c < 5; ++c) {
      double v = p.value(1).f32()[c];
      for (int64_t k = 0; k < kSignal; ++k) {
        v += static_cast<double>(p.value(0).f32()[c * kSignal + k]) *
             static_cast<double>(data.signal[static_cast<size_t>(s * kSignal + k)]);
      }
      // Sums of 7 terms below 1; the norm divides by a standard deviation of a few tenths.
      EXPECT_NEAR(product.f32()[s * 5 + c], v, 1e-6);
      const double mean = net.state(0).f32()[c], var = net.state(1).f32()[c];
      const double y =
          (v - mean) / std::sqrt(var + 1e-5) * p.value(2).f32()[c] + p.value(3).f32()[c];
      EXPECT_NEAR(encoded.f32()[s * 5 + c], std::max(0.0, y), 1e-5);
    }
  }
}

}  // namespace
}  // namespace lockstep
