// That right losses pass every check, and that each check of losses finds the fault it is for.
#include "models/testing/check_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "layers/loss/bce_with_logits.h"
#include "layers/loss/cross_entropy.h"
#include "layers/loss/huber.h"
#include "layers/loss/mse.h"
#include "layers/loss/pinball.h"

namespace lockstep::inline v0_1 {
namespace {

using lockstep::checks::CheckLoss;
using lockstep::checks::CheckReport;
using lockstep::checks::LossCheckOptions;

void FillZerosAndOnes(Tensor to, uint64_t seed) {
  for (int64_t i = 0; i < to.size(); ++i)
    to.f32()[i] = static_cast<float>((static_cast<uint64_t>(i) * 7 + seed) % 2);
}

TEST(CheckLossTest, RightLossesPass) {
  const auto expect_ok = [](const Loss& loss, const Shape& y,
                            const LossCheckOptions& options = {}) {
    const CheckReport report = CheckLoss(loss, y, options);
    EXPECT_TRUE(report.ok()) << loss.kind() << ":\n" << report.ToString();
    EXPECT_THAT(report.done, ::testing::Contains("weights"));
  };
  expect_ok(MseLoss(), {24, 3});
  expect_ok(HuberLoss(0.7), {24, 3});
  expect_ok(PinballLoss({0.1, 0.5, 0.9}), {24, 6});
  expect_ok(CrossEntropyLoss(), {24, 5});
  expect_ok(CrossEntropyLoss({.label_smoothing = 0.1, .class_weights = {1.0f, 2.0f, 0.5f}}),
            {9, 4, 3});
  LossCheckOptions binary;
  binary.fill_target = FillZerosAndOnes;
  expect_ok(BceWithLogitsLoss({.pos_weight = {3.0f}}), {24, 1}, binary);
}

enum class Fault { kGradient, kWeightless, kMeans };

// A squared error with a fault.
class Squares final : public LossOperation {
 public:
  explicit Squares(Fault fault) : fault_(fault) {}
  Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {{Shape{1}, DType::kF64}}, .reads_x = {true, true, true}};
  }
  bool takes_weights() const override { return true; }
  double Weight(const Step&, const Operands& o) const override {
    double weight = 0.0;
    for (int64_t s = 0; s < o.x(0).shape().batch(); ++s) weight += WeightOf(o, s);
    return weight;
  }
  void Forward(const Step&, const Operands& o) override {
    const int64_t samples = o.x(0).shape().batch(), width = o.x(0).shape().sample_size();
    double sum = 0.0;
    for (int64_t i = 0; i < o.x(0).size(); ++i) {
      const double error = o.x_f32(0)[i] - o.x_f32(1)[i];
      sum += WeightOf(o, i / width) * error * error / static_cast<double>(width);
    }
    // One that is a mean already: parts of a batch do not add up.
    *o.y().as<double>() = fault_ == Fault::kMeans ? sum / static_cast<double>(samples) : sum;
  }
  void Backward(const Step&, const Operands& o) override {
    const int64_t samples = o.x(0).shape().batch(), width = o.x(0).shape().sample_size();
    const double factor = *o.dy().as<double>() * (fault_ == Fault::kGradient ? 1.0 : 2.0) /
                          (fault_ == Fault::kMeans ? static_cast<double>(samples) : 1.0) /
                          static_cast<double>(width);
    for (int64_t i = 0; i < o.x(0).size(); ++i)
      o.dx_f32(0)[i] =
          static_cast<float>(factor * WeightOf(o, i / width) * (o.x_f32(0)[i] - o.x_f32(1)[i]));
  }

 private:
  double WeightOf(const Operands& o, int64_t sample) const {
    const bool given = o.inputs() > 2 && fault_ != Fault::kWeightless;
    return given ? static_cast<double>(o.x_f32(2)[sample]) : 1.0;
  }
  Fault fault_;
};

class SquaresLoss final : public Loss {
 public:
  explicit SquaresLoss(Fault fault) : fault_(fault) {}
  std::string kind() const override { return "SquaresLoss"; }
  DType target_dtype() const override { return DType::kF32; }
  Shape target_shape(const Shape& out) const override { return out; }
  Status Build(Graph& graph, const std::string& name, Value y, Value target,
               double factor) const override {
    return graph.AddLoss(name, Squares(fault_), {y, target}, factor);
  }

 private:
  Fault fault_;
};

TEST(CheckLossTest, FaultsAreFound) {
  const auto failed = [](Fault fault) { return CheckLoss(SquaresLoss(fault), {24, 3}); };
  const CheckReport gradient = failed(Fault::kGradient);
  EXPECT_TRUE(gradient.Failed("gradients")) << gradient.ToString();
  const CheckReport weightless = failed(Fault::kWeightless);
  EXPECT_TRUE(weightless.Failed("weights")) << weightless.ToString();
  EXPECT_FALSE(weightless.Failed("parts"));
  const CheckReport means = failed(Fault::kMeans);
  EXPECT_TRUE(means.Failed("parts")) << means.ToString();
}

}  // namespace
}  // namespace lockstep
