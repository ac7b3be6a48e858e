// What a network refuses: it says which tensor does not fit, and nothing has changed.
#include "engine/train/network.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/train/checkpointing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/train/samples.h"

namespace lockstep::toy {
namespace {

using testing::HasSubstr;

class RefusedTest : public testing::Test {
 protected:
  void ExpectRefused(std::vector<ConstTensor> inputs, const std::string& message) {
    const uint64_t before = ModelHash(net_);
    const auto refused = [&](const char* call, const Status& status) {
      EXPECT_EQ(status.code(), Code::kInvalid) << call;
      EXPECT_THAT(status.message(), HasSubstr(message)) << call;
    };
    refused("TrainStep", net_.TrainStep(inputs, adam_).status());
    refused("Gradients", net_.Gradients(inputs).status());
    refused("Evaluate", net_.Evaluate(inputs).status());
    EXPECT_EQ(ModelHash(net_), before);
  }
  void ExpectNoPrediction(ConstTensor x, Tensor y, const std::string& message) {
    const Status status = net_.Predict(x, y);
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr(message));
  }

  Context ctx_{{.threads = 1}};
  Network net_ = SmallNetwork(ctx_);
  AdamW adam_;
  Samples samples_{32};
  std::vector<int32_t> ids_ = std::vector<int32_t>(32 * kFeatures);
};

TEST_F(RefusedTest, AnotherType) {
  ExpectRefused({ConstTensor(ids_.data(), {32, kFeatures}), samples_.numbers()}, "x is i32");
  ExpectRefused({samples_.x(), ConstTensor(ids_.data(), {32, 1})}, "target is i32");
  std::vector<float> y(32);
  ExpectNoPrediction(ConstTensor(ids_.data(), {32, kFeatures}), Tensor(y.data(), {32, 1}),
                     "x is i32");
  ExpectNoPrediction(samples_.x(), Tensor(ids_.data(), {32, 1}), "y ");
}

TEST_F(RefusedTest, NoData) {
  const float* none = nullptr;
  ExpectRefused({ConstTensor(none, {32, kFeatures}), samples_.numbers()}, "x is null");
  ExpectRefused({samples_.x(), ConstTensor(none, {32, 1})}, "target is null");
  ExpectRefused({ConstTensor(), samples_.numbers()}, "x is ");
  ExpectRefused({samples_.x(), ConstTensor()}, "target is ");
  std::vector<float> y(32);
  ExpectNoPrediction(ConstTensor(none, {32, kFeatures}), Tensor(y.data(), {32, 1}), "x is null");
  ExpectNoPrediction(samples_.x(), Tensor(static_cast<float*>(nullptr), {32, 1}), "y is null");
}

TEST_F(RefusedTest, OtherNumbersOfSamples) {
  const Samples more(33), fewer(31);
  ExpectRefused({samples_.x(), fewer.numbers()}, "target has 31 samples, x has 32");
  ExpectRefused({fewer.x(), samples_.numbers()}, "target has 32 samples, x has 31");
  ExpectRefused({more.x(), more.numbers()}, "x is f32 of shape (33, 6)");
  ExpectRefused({ConstTensor(samples_.features.data(), {0, kFeatures}),
                 ConstTensor(samples_.values.data(), {0, 1})},
                "batch is empty");
  std::vector<float> y(33);
  ExpectNoPrediction(more.x(), Tensor(y.data(), {33, 1}), "x is f32 of shape (33, 6)");
  ExpectNoPrediction(samples_.x(), Tensor(y.data(), {31, 1}), "y has the shape (31, 1)");
}

TEST_F(RefusedTest, AnotherShape) {
  ExpectRefused({ConstTensor(samples_.features.data(), {32, kFeatures - 1}), samples_.numbers()},
                "x is f32 of shape (32, 5)");
  ExpectRefused({ConstTensor(samples_.features.data(), {32 * kFeatures}), samples_.numbers()},
                "x is f32 of shape (192)");
  ExpectRefused({samples_.x(), ConstTensor(samples_.values.data(), {32})},
                "target is f32 of shape (32)");
}

TEST_F(RefusedTest, MissingTensors) {
  ExpectRefused({samples_.x()}, "x, target");
  ExpectRefused({}, "x, target");
  ExpectRefused({samples_.x(), samples_.numbers(), samples_.x()}, "x, target");
  const Status status = net_.Predict(std::span<const ConstTensor>(), std::span<const Tensor>());
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("(x)"));
}

}  // namespace
}  // namespace lockstep::toy
