// A step that fails in the middle, by what other people's code throws or by what ranks do to each
// other, has not happened: everything is to the bit what it was, and what follows as if it had not
// been tried.
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "engine/train/training_step.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/loss/mse.h"
#include "tests/engine/io/temporary_folder.h"
#include "tests/engine/train/everything.h"
#include "tests/engine/train/foreign_code.h"
#include "tests/engine/train/samples.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

constexpr int64_t kBatch = 24;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class Throws final : public StepObserver {
 public:
  Throws(bool backward, bool after) : backward_(backward), after_(after) {}
  void Before(const std::string& layer, bool backward) override {
    if (!after_) Meet(layer, backward);
  }
  void After(const std::string& layer, bool backward, ConstTensor) override {
    if (after_) Meet(layer, backward);
  }

 private:
  void Meet(const std::string& layer, bool backward) const {
    if (layer == "4" && backward == backward_) throw std::runtime_error("of someone else's");
  }
  bool backward_, after_;
};

class ForeignCodeTest : public testing::Test {
 protected:
  Network Make(int64_t parts = 1, Communicator* communicator = nullptr) {
    auto net =
        Network::Bind(ctx_,
                      Sequential(Passing(faults_), Linear(16), BatchNorm(), Relu(),
                                 Passing(faults_), Linear(16), BatchNorm(), Relu(), Linear(1)),
                      Squares(faults_),
                      {.input = {kBatch / parts, kFeatures},
                       .seed = 3,
                       .shards = 4,
                       .communicator = communicator});
    EXPECT_TRUE(net.ok()) << net.status().message();
    return std::move(*net);
  }
  static Result<TrainingStepReport> Run(TrainingStep& step, const Samples& samples, uint64_t index,
                                        Optimizer& optimizer, StepObserver* observer = nullptr) {
    const std::array inputs{samples.x(), samples.numbers()};
    return step.Run({.inputs = inputs, .samples = samples.count, .global_samples = samples.count},
                    index, optimizer, optimizer.learning_rate(), false, observer);
  }

  // Two steps; one that meets `fault`; two more. A network that did not meet it is as far.
  void ExpectNothingHappens(Fault fault, Code code, const std::string& message,
                            const TrainingStepOptions& options, bool foreign_optimizer,
                            StepObserver* observer = nullptr) {
    SCOPED_TRACE(message + ", parts " + std::to_string(options.parts) + ", fault " +
                 std::to_string(static_cast<int>(fault)));
    faults_.at = Fault::kNone;
    Network net = Make(options.parts), twin = Make(options.parts);
    AdamW adam({.lr = 1e-2}), twins({.lr = 1e-2});
    HalfWay own(faults_), twins_own(faults_);
    Optimizer& optimizer = foreign_optimizer ? static_cast<Optimizer&>(own) : adam;
    Optimizer& twin_optimizer = foreign_optimizer ? static_cast<Optimizer&>(twins_own) : twins;
    auto step = TrainingStep::Make(net, options).value();
    auto twin_step = TrainingStep::Make(twin, options).value();
    for (uint64_t i = 0; i < 2; ++i) {
      ASSERT_TRUE(Run(*step, Samples(kBatch, i), i, optimizer).ok());
      ASSERT_TRUE(Run(*twin_step, Samples(kBatch, i), i, twin_optimizer).ok());
    }
    const Everything before = Look(net, optimizer);
    for (int attempt = 0; attempt < 2; ++attempt) {
      faults_.at = fault;
      const Status status = Run(*step, Samples(kBatch, 5), 2, optimizer, observer).status();
      faults_.at = Fault::kNone;
      ASSERT_EQ(status.code(), code) << status.message();
      EXPECT_THAT(status.message(), HasSubstr(message));
      if (fault != Fault::kAdmit) {  // what was refused before it ran leaves the last pass
        EXPECT_TRUE(net.output().empty());
      }
      EXPECT_TRUE(Look(net, optimizer) == before);
    }
    // What it predicts now is what it would after having been saved and loaded.
    TemporaryFolder folder;
    Network loaded = Make(options.parts);
    ASSERT_TRUE(SaveModel(folder / "model", net, {}).ok());
    ASSERT_TRUE(LoadModel(folder / "model", loaded).ok());
    EXPECT_EQ(Bits(Predictions(loaded, Samples(5, 77))), before.predictions);
    for (uint64_t i = 2; i < 4; ++i) {
      const auto a = Run(*step, Samples(kBatch, i), i, optimizer);
      const auto b = Run(*twin_step, Samples(kBatch, i), i, twin_optimizer);
      ASSERT_TRUE(a.ok() && b.ok()) << a.status().message();
      EXPECT_EQ(a->loss.sum, b->loss.sum);
    }
    EXPECT_TRUE(Look(net, optimizer) == Look(twin, twin_optimizer));
  }

  Context ctx_{{.threads = 2}};
  Faults faults_;
};

TEST_F(ForeignCodeTest, ALayerOrALossThatThrowsChangesNothing) {
  for (const Fault fault :
       {Fault::kAdmit, Fault::kCheck, Fault::kForward, Fault::kBackward, Fault::kWeight}) {
    for (const int64_t parts : {1, 2, 4}) {
      ExpectNothingHappens(fault, Code::kInternal, "of someone else's", {.parts = parts}, false);
    }
    ExpectNothingHappens(fault, Code::kInternal, "of someone else's", {.clip_norm = 0.5}, false);
  }
}

TEST_F(ForeignCodeTest, AnOptimizerThatStopsHalfWayChangesNothing) {
  for (const double clip : {0.0, 0.5}) {
    ExpectNothingHappens(Fault::kUpdate, Code::kInternal, "of someone else's", {.clip_norm = clip},
                         true);
    ExpectNothingHappens(Fault::kStatus, Code::kNonFinite, "half way", {.clip_norm = clip}, true);
  }
}

TEST_F(ForeignCodeTest, AnObserverThatThrowsChangesNothing) {
  for (const bool backward : {false, true}) {
    for (const bool after : {false, true}) {
      Throws observer(backward, after);
      ExpectNothingHappens(Fault::kNone, Code::kInternal, "of someone else's", {.parts = 2}, false,
                           &observer);
    }
  }
}

TEST_F(ForeignCodeTest, CallsByHandChangeNothingEither) {
  Network net = Make(), twin = Make();
  const Samples samples(kBatch), more(kBatch, 2);
  Sgd none;
  const auto model = [&] { return Look(net, none); };
  std::vector<float> y(kBatch);
  const Tensor all(y.data(), {kBatch, 1});
  const Everything before = model();
  Throws observer(/*backward=*/true, /*after=*/true), forward(false, true);
  const auto failed = [&](const Status& status) {
    const bool refused = faults_.at == Fault::kAdmit;
    faults_.at = Fault::kNone;
    EXPECT_EQ(status.code(), Code::kInternal) << status.message();
    EXPECT_THAT(status.message(), HasSubstr("of someone else's"));
    EXPECT_TRUE(refused ||
                (net.output().empty() && net.output("y").empty() && net.input_gradient().empty()));
    EXPECT_TRUE(model() == before);
  };
  for (const Fault fault :
       {Fault::kAdmit, Fault::kCheck, Fault::kForward, Fault::kBackward, Fault::kWeight}) {
    faults_.at = fault;
    failed(net.Gradients(samples.x(), samples.numbers()).status());
    faults_.at = fault;
    if (fault == Fault::kBackward) continue;
    failed(net.EvaluateInTrainingMode(samples.x(), samples.numbers()).status());
    faults_.at = fault;
    failed(net.Evaluate(samples.x(), samples.numbers()).status());
    faults_.at = fault;
    if (fault == Fault::kWeight) continue;
    // What was admitted once is not asked again: another number of samples than Look's.
    failed(net.Predict(samples.x(), all));
  }
  failed(net.Gradients(samples.x(), samples.numbers(), {.observer = &observer}).status());
  failed(net.Evaluate(samples.x(), samples.numbers(), &forward).status());
  failed(net.Predict(samples.x(), all, &forward));
  Samples bad = samples;
  bad.features[7] = kNan;
  EXPECT_EQ(net.Gradients(bad.x(), bad.numbers()).status().code(), Code::kNonFinite);
  EXPECT_EQ(net.EvaluateInTrainingMode(bad.x(), bad.numbers()).status().code(), Code::kNonFinite);
  EXPECT_TRUE(model() == before);

  // Sums of gradients: one that was lost is not added to.
  ASSERT_TRUE(net.Gradients(samples.x(), samples.numbers()).ok());
  faults_.at = Fault::kBackward;
  EXPECT_FALSE(net.Gradients(more.x(), more.numbers(), {.accumulate = true}).ok());
  faults_.at = Fault::kNone;
  const Status lost = net.Gradients(more.x(), more.numbers(), {.accumulate = true}).status();
  EXPECT_EQ(lost.code(), Code::kInvalid);
  EXPECT_THAT(lost.message(), HasSubstr("without StepOptions::accumulate"));
  ASSERT_TRUE(net.Gradients(samples.x(), samples.numbers()).ok());
  ASSERT_TRUE(net.Gradients(more.x(), more.numbers(), {.accumulate = true}).ok());
  ASSERT_TRUE(twin.Gradients(samples.x(), samples.numbers()).ok());
  ASSERT_TRUE(twin.Gradients(more.x(), more.numbers(), {.accumulate = true}).ok());
  const ConstParameterSet a = net.parameters(), b = twin.parameters();
  EXPECT_TRUE(std::equal(a.gradients.begin(), a.gradients.end(), b.gradients.begin()));
}

// A statistic can be spoilt by what the loss does not see.
class Counter final : public Layer {
 public:
  explicit Counter(const float& next) : next_(next) {}
  std::string kind() const override { return "Counter"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(const State seen, graph.AddState("seen", {2}, DType::kF32, 0.0));
    LOCKSTEP_TRY_ASSIGN(const State least, graph.AddState("least", {}, DType::kF32,
                                                          std::numeric_limits<float>::infinity()));
    (void)least;  // infinite from the beginning, which is nobody's fault
    return graph.Add(Count(next_, seen, graph.training()), {x});
  }

 private:
  class Count final : public Operation {
   public:
    Count(const float& next, State seen, bool training)
        : next_(next), seen_(seen), training_(training) {}
    Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                                const PlanOptions&) const override {
      return Declaration{.outputs = {x[0]}, .passes_dy = {true}};
    }
    void Forward(const Step& step, const Operands& o) override {
      std::copy_n(o.x_f32(0), o.x(0).size(), o.y_f32());
      if (training_) step.state(seen_)[1] = next_;
    }
    void Backward(const Step&, const Operands& o) override {
      if (!o.dx(0).empty() && o.dx_f32(0) != o.dy_f32())
        std::copy_n(o.dy_f32(), o.dy().size(), o.dx_f32(0));
    }

   private:
    const float& next_;
    State seen_;
    bool training_;
  };
  const float& next_;
};

TEST(FailedStepTest, AStatisticThatWouldBecomeNanIsAnErrorThatNamesIt) {
  Context ctx({.threads = 1});
  float next = 1.0f;
  Network net = Network::Bind(ctx, Sequential(Counter(next), Linear(1)), MseLoss(),
                              {.input = {kBatch, kFeatures}})
                    .value();
  const Samples samples(kBatch);
  Sgd sgd({.lr = 1e-2});
  ASSERT_TRUE(net.TrainStep(samples.x(), samples.numbers(), sgd).ok());
  const uint64_t before = ModelHash(net);
  for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    next = bad;
    for (const Status& status :
         {net.TrainStep(samples.x(), samples.numbers(), sgd).status(),
          net.Gradients(samples.x(), samples.numbers()).status(),
          net.EvaluateInTrainingMode(samples.x(), samples.numbers()).status()}) {
      EXPECT_EQ(status.code(), Code::kNonFinite);
      EXPECT_THAT(status.message(), HasSubstr("0.seen"));
    }
    EXPECT_EQ(ModelHash(net), before);
  }
  next = 2.0f;
  EXPECT_TRUE(net.TrainStep(samples.x(), samples.numbers(), sgd).ok());
}

// ---- Ranks --------------------------------------------------------------------------------------

TEST_F(ForeignCodeTest, ACommunicatorThatFailsChangesNothingOrTheNetworkRefusesToGoOn) {
  const Samples samples(kBatch / 2);
  const auto step_of = [&](Network& net, TrainingStep& step, Optimizer& optimizer) {
    const std::array inputs{samples.x(), samples.numbers()};
    (void)net;
    return step
        .Run({.inputs = inputs, .samples = kBatch / 2, .global_samples = kBatch}, 0, optimizer,
             1e-2)
        .status();
  };
  int64_t calls = 0;
  {
    Failing others;
    Network net = Make(2, &others);
    auto step = TrainingStep::Make(net, {}).value();
    AdamW adam;
    ASSERT_TRUE(step_of(net, *step, adam).ok());
    const int64_t after_one = others.calls;
    ASSERT_TRUE(step_of(net, *step, adam).ok());
    calls = others.calls - after_one;
  }
  ASSERT_GT(calls, 4);
  int refused = 0;
  for (int64_t fails_at = 0; fails_at < calls; ++fails_at) {
    Failing others;
    Network net = Make(2, &others);
    auto step = TrainingStep::Make(net, {}).value();
    AdamW adam;
    ASSERT_TRUE(step_of(net, *step, adam).ok());
    const Everything before = Look(net, adam);
    ModelCopy copy(net);
    ASSERT_TRUE(copy.TakeFrom(net).ok());
    others.fails_at = others.calls + fails_at;
    const Status status = step_of(net, *step, adam);
    EXPECT_EQ(status.code(), Code::kIo) << fails_at;
    EXPECT_THAT(status.message(), HasSubstr("has gone"));
    std::vector<float> y(5);
    const Samples few(5, 77);
    const Status predicted = net.Predict(few.x(), Tensor(y.data(), {5, 1}));
    if (predicted.ok()) {
      EXPECT_TRUE(Look(net, adam) == before) << fails_at;
      continue;
    }
    // After the update: no call does as if nothing were.
    ++refused;
    EXPECT_EQ(predicted.code(), Code::kIo);
    EXPECT_THAT(predicted.message(), HasSubstr("load a checkpoint"));
    TemporaryFolder folder;
    EXPECT_EQ(SaveModel(folder / "model", net, {}).code(), Code::kIo);
    EXPECT_EQ(step_of(net, *step, adam).code(), Code::kIo);
    ASSERT_TRUE(copy.ApplyTo(net).ok());
    EXPECT_EQ(Bits(Predictions(net, few)), before.predictions);
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, calls);
}

}  // namespace
}  // namespace lockstep::toy
