// What a network refuses: it says which tensor does not fit, and nothing has changed.
#include "engine/train/network.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/train/checkpointing.h"
#include "engine/train/training_step.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/train/samples.h"

namespace lockstep::inline v0_1::toy {
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

TEST_F(RefusedTest, NearlyTheRightTypeAndHowToMakeItSo) {
  const std::vector<double> doubles(32 * kFeatures);
  ExpectRefused(
      {ConstTensor(doubles.data(), {32, kFeatures}), samples_.numbers()},
      "x is f64 of shape (32, 6), the network was bound for f32 of shape (32, 6) or fewer "
      "samples: convert it to floats");
  std::vector<float> y(32);
  ExpectNoPrediction(ConstTensor(doubles.data(), {32, kFeatures}), Tensor(y.data(), {32, 1}),
                     "convert it to floats");
  Network classes = Network::Bind(ctx_, BnMlp(8, kClasses), CrossEntropyLoss(),
                                  {.input = {32, kFeatures}, .seed = 4})
                        .value();
  const std::vector<int64_t> wide(32);
  const Status status =
      classes.TrainStep(samples_.x(), ConstTensor(wide.data(), {32}), adam_).status();
  EXPECT_THAT(status.message(), HasSubstr("target is i64"));
  EXPECT_THAT(status.message(), HasSubstr("convert it to 32-bit integers"));
}

TEST_F(RefusedTest, MemoryThatIsMisaligned) {
  std::vector<float> more(32 * kFeatures + 1);
  const void* odd = reinterpret_cast<const std::byte*>(more.data()) + 1;
  ExpectRefused({ConstTensor(odd, DType::kF32, {32, kFeatures}), samples_.numbers()},
                "x begins at an address that is no multiple of the 4 bytes");
  ExpectRefused({samples_.x(), ConstTensor(odd, DType::kF32, {32, 1})}, "target begins");
  void* y = reinterpret_cast<std::byte*>(more.data()) + 2;
  ExpectNoPrediction(samples_.x(), Tensor(y, DType::kF32, {32, 1}), "y begins");
}

TEST_F(RefusedTest, MemoryThatOverlapsWithWhatIsWritten) {
  std::vector<float> both(32 * kFeatures + 31);
  const ConstTensor x(both.data(), {32, kFeatures});
  for (const int64_t at : {int64_t{0}, 32 * kFeatures - 1})
    ExpectNoPrediction(x, Tensor(both.data() + at, {32, 1}), "y lies in the memory of x");
  std::vector<float> y(32);
  ASSERT_TRUE(net_.Predict(x, Tensor(y.data(), {32, 1})).ok());
  // Targets may be the inputs: nothing is written to either.
  Network encoder =
      Network::Bind(ctx_, BnMlp(8, kFeatures), MseLoss(), {.input = {32, kFeatures}, .seed = 4})
          .value();
  EXPECT_TRUE(encoder.TrainStep(samples_.x(), samples_.x(), adam_).ok());

  // What the network gave lies in memory that it writes to.
  ASSERT_TRUE(encoder.Evaluate(samples_.x(), samples_.x()).ok());
  const ConstTensor own = encoder.output();
  EXPECT_THAT(encoder.Evaluate(own, own).status().message(), HasSubstr("x lies in the memory"));
  EXPECT_THAT(encoder.TrainStep(own, samples_.x(), adam_).status().message(),
              HasSubstr("copy it first"));
  const Tensor writable(const_cast<void*>(own.data()), DType::kF32, own.shape());
  EXPECT_THAT(encoder.Predict(samples_.x(), writable).message(),
              HasSubstr("that the network works in"));
}

class TwoOutputs final : public Model {
 public:
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value x, graph.AddInput("x", {graph.batch(), kFeatures}));
    LOCKSTEP_TRY_ASSIGN(const Value a, Apply(graph, "a", Linear(2), x));
    LOCKSTEP_TRY_ASSIGN(const Value b, Apply(graph, "b", Linear(2), x));
    LOCKSTEP_TRY(graph.AddOutput("first", a));
    LOCKSTEP_TRY(graph.AddOutput("second", b));
    return AddLoss(graph, "target", MseLoss(), a);
  }
};

TEST_F(RefusedTest, OutputsThatOverlapEachOther) {
  Network net = Network::Bind(ctx_, TwoOutputs(), 32, {}).value();
  std::vector<float> y(128);
  const ConstTensor x = samples_.x();
  const auto predict = [&](int64_t second) {
    const std::array outputs{Tensor(y.data(), {32, 2}), Tensor(y.data() + second, {32, 2})};
    return net.Predict({&x, 1}, outputs);
  };
  EXPECT_TRUE(predict(64).ok());
  for (const int64_t second : {0, 1, 63})
    EXPECT_THAT(predict(second).message(), HasSubstr("second lies in the memory of first"));
  const std::array three{Tensor(), Tensor(), Tensor()};
  EXPECT_THAT(net.Predict({&x, 1}, three).message(), HasSubstr("gives 2 outputs, not 3"));
}

TEST_F(RefusedTest, OptionsThatMakeNoSense) {
  for (const StepOptions& options :
       {StepOptions{.first_sample = -1}, StepOptions{.gradient_scale = HUGE_VAL},
        StepOptions{.divisor = -1.0}, StepOptions{.divisor = std::nan("")}}) {
    EXPECT_EQ(net_.Gradients(samples_.x(), samples_.numbers(), options).status().code(),
              Code::kInvalid);
  }
  const auto bound = [&](NetworkOptions options) {
    return Network::Bind(ctx_, BnMlp(8, 1), MseLoss(), options).status();
  };
  const Shape fits{32, kFeatures};
  EXPECT_THAT(bound({}).message(), HasSubstr("holds nothing"));
  EXPECT_THAT(bound({.input = {0, kFeatures}}).message(), HasSubstr("(0, 6)"));
  EXPECT_THAT(bound({.input = fits, .shards = 0}).message(), HasSubstr("shards"));
  EXPECT_THAT(bound({.input = fits, .parts = 0}).message(), HasSubstr("parts"));
  EXPECT_THAT(bound({.input = fits, .evaluation_batch = -2}).message(), HasSubstr("-2"));
  EXPECT_THAT(bound({.input = fits, .evaluation_batch = INT64_MAX / 2}).message(),
              HasSubstr("more elements than can be counted"));
  EXPECT_THAT(bound({.input = {int64_t{1} << 40, int64_t{1} << 20}}).message(),
              HasSubstr("no machine can hold"));
  EXPECT_THAT(bound({.input = {1, int64_t{1} << 60}}).message(), HasSubstr("1152921504606846976"));
  EXPECT_THAT(Network::Bind(ctx_, TwoOutputs(), -3, {}).status().message(), HasSubstr("-3"));
  EXPECT_THAT(
      Network::Bind(ctx_, std::unique_ptr<Layer>(), nullptr, {.input = fits}).status().message(),
      HasSubstr("layers is null"));
  EXPECT_THAT(Network::Bind(ctx_, std::unique_ptr<Model>(), 3, {}).status().message(),
              HasSubstr("model is null"));
}

TEST_F(RefusedTest, TrainingOfWhatOnlyPredicts) {
  Network net = Network::Bind(ctx_, BnMlp(8, 1), {.input = {32, kFeatures}}).value();
  for (const Status& status :
       {net.TrainStep(samples_.x(), samples_.numbers(), adam_).status(),
        net.Gradients(samples_.x(), samples_.numbers()).status(),
        net.EvaluateInTrainingMode(samples_.x(), samples_.numbers()).status(),
        TrainingStep::Make(net, {}).status()}) {
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr("prediction only"));
  }
  EXPECT_TRUE(net.input_gradient().empty());
  EXPECT_THROW((void)net.training_program(), ArgumentFailure);
}

TEST_F(RefusedTest, CallsOnWhatWasMovedFrom) {
  ASSERT_TRUE(net_.TrainStep(samples_.x(), samples_.numbers(), adam_).ok());
  auto step = TrainingStep::Make(net_, {}).value();
  const std::vector<float> before = Predictions(net_, samples_);
  Network net = std::move(net_);
  std::vector<float> y(32);
  const std::array inputs{samples_.x(), samples_.numbers()};
  PageMemory memory;
  // NOLINTBEGIN(bugprone-use-after-move): that is what is asked
  for (const Status& status :
       {net_.TrainStep(samples_.x(), samples_.numbers(), adam_).status(),
        net_.Gradients(samples_.x(), samples_.numbers()).status(),
        net_.Evaluate(samples_.x(), samples_.numbers()).status(),
        net_.EvaluateInTrainingMode(samples_.x(), samples_.numbers()).status(),
        net_.Predict(samples_.x(), Tensor(y.data(), {32, 1})),
        net_.BuildForExport(Fusion::kAll, memory).status(),
        net_.BuildForText(1, 8, memory).status(), TrainingStep::Make(net_, {}).status(),
        step->Run({.inputs = inputs, .samples = 32, .global_samples = 32}, 0, adam_, 0.1)
            .status()}) {
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr("moved from"));
  }
  EXPECT_TRUE(net_.output().empty() && net_.output("y").empty() && net_.input_gradient().empty());
  EXPECT_THROW((void)net_.parameters(), ArgumentFailure);
  EXPECT_THROW((void)net_.context(), ArgumentFailure);
  EXPECT_THROW((void)net_.evaluation_program(), ArgumentFailure);
  // NOLINTEND(bugprone-use-after-move)
  Network& same = net;
  net = std::move(same);
  EXPECT_EQ(Predictions(net, samples_), before);
  EXPECT_TRUE(net.TrainStep(samples_.x(), samples_.numbers(), adam_).ok());
}

TEST_F(RefusedTest, OutputsAreThoseOfTheLastPassThatSucceeded) {
  EXPECT_TRUE(net_.output().empty());
  std::vector<float> y(32);
  ASSERT_TRUE(net_.Predict(samples_.x(), Tensor(y.data(), {32, 1})).ok());
  EXPECT_EQ(net_.output().data(), y.data());
  ASSERT_TRUE(net_.Evaluate(samples_.x(), samples_.numbers()).ok());
  ASSERT_NE(net_.output().data(), y.data());
  EXPECT_EQ(Copy(net_.output()), y);
  EXPECT_TRUE(net_.output("none").empty());
  // Refused before anything ran: the last pass is still the last.
  EXPECT_FALSE(net_.Evaluate(samples_.x(), samples_.x()).ok());
  EXPECT_EQ(Copy(net_.output()), y);
}

}  // namespace
}  // namespace lockstep::toy
