// How networks are built as graphs, and what can be asked of them; their gradients are in
// graph_gradients_test.cc.
#include "engine/plan/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/optim/adam.h"
#include "engine/optim/sgd.h"
#include "engine/plan/program.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr int64_t kBatch = 8, kWidth = 4;

std::vector<float> Numbers(const std::string& stream, int64_t count) {
  Random random(/*seed=*/1, StreamOf(stream));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(2.0 * random.Uniform() - 1.0);
  return values;
}

std::vector<std::string> NamesOf(const ParameterStore& store) {
  std::vector<std::string> names;
  for (const ParameterInfo& info : store.infos()) names.push_back(info.name);
  return names;
}

std::vector<float> FloatsOf(ConstTensor tensor) {
  return {tensor.f32(), tensor.f32() + tensor.size()};
}

// A graph with one input x (kBatch, kWidth).
struct Started {
  ParameterStore store;
  Graph graph{store, {.samples = kBatch}};
  Value x = *graph.AddInput("x", {kBatch, kWidth});
};

class FunctionModel final : public Model {
 public:
  explicit FunctionModel(std::function<Status(Graph&)> build) : build_(std::move(build)) {}
  Status Build(Graph& graph) const override { return build_(graph); }

 private:
  std::function<Status(Graph&)> build_;
};

TEST(GraphTest, ParametersAreNamedByThePathOfTheirLayer) {
  Started s;
  ASSERT_TRUE(
      Apply(s.graph, "", Sequential(Linear(3), Residual(Sequential(Relu(), Linear(3)))), s.x).ok());
  EXPECT_THAT(NamesOf(s.store),
              ElementsAre("0.weight", "0.bias", "1.body.1.weight", "1.body.1.bias"));
  EXPECT_EQ(s.graph.layer_outputs().count("1.body.0"), 1u);
}

TEST(GraphTest, OneLayerUnderOneNameSharesItsParameters) {
  Started s;
  const Sequential layer{Linear(kWidth), BatchNorm()};
  const Result<Value> once = Apply(s.graph, "a", layer, s.x);
  ASSERT_TRUE(once.ok());
  const Result<Value> twice = Apply(s.graph, "a", layer, *once);
  ASSERT_TRUE(twice.ok()) << twice.status().message();
  EXPECT_EQ(s.store.infos().size(), 4u);
  EXPECT_EQ(s.store.states().size(), 3u);
  // The parameters count once in the report.
  EXPECT_EQ(s.graph.report()[0].parameters, kWidth * kWidth + 3 * kWidth);
}

TEST(GraphTest, TwoLayersUnderOneNameAreAnError) {
  Started s;
  const Linear a(kWidth), b(kWidth);
  ASSERT_TRUE(Apply(s.graph, "a", a, s.x).ok());
  const Result<Value> other = Apply(s.graph, "a", b, s.x);
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.status().message(), HasSubstr("two layers are named a"));
}

// Makes its inner layers as it is built: each time others, of the same names.
class MadeAnew final : public Layer {
 public:
  std::string kind() const override { return "MadeAnew"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    kept_.push_back(std::make_unique<Linear>(graph.shape(x).channels()));
    return Apply(graph, "inner", *kept_.back(), x);
  }

 private:
  mutable std::vector<std::unique_ptr<Linear>> kept_;  // so that no address comes twice
};

TEST(GraphTest, ALayerThatMakesInnerLayersAsItIsBuiltCanBeShared) {
  Started s;
  const MadeAnew layer;
  const Result<Value> once = Apply(s.graph, "a", layer, s.x);
  ASSERT_TRUE(once.ok());
  const Result<Value> twice = Apply(s.graph, "a", layer, *once);
  ASSERT_TRUE(twice.ok()) << twice.status().message();
  EXPECT_THAT(NamesOf(s.store), ElementsAre("a.inner.weight", "a.inner.bias"));
  const MadeAnew other;
  EXPECT_FALSE(Apply(s.graph, "a", other, s.x).ok());
}

TEST(GraphTest, NamesThatComeTwiceAndShapesThatDoNotFitAreErrors) {
  Started s;
  EXPECT_THAT(s.graph.AddInput("x", {kBatch, 1}).status().message(), HasSubstr("two inputs"));
  EXPECT_THAT(s.graph.AddInput("z", {kBatch + 1, 1}).status().message(), HasSubstr("batches are"));
  ASSERT_TRUE(s.graph.AddOutput("y", s.x).ok());
  EXPECT_THAT(s.graph.AddOutput("y", s.x).message(), HasSubstr("two outputs"));
  ASSERT_TRUE(s.graph.AddParameter("p", {3}, Init::Constant(1.0f), Decay::kNo).ok());
  EXPECT_FALSE(s.graph.AddParameter("p", {4}, Init::Constant(1.0f), Decay::kNo).ok());
  const Result<Value> narrow = Apply(s.graph, "narrow", Linear(3), s.x);
  ASSERT_TRUE(narrow.ok());
  EXPECT_THAT(s.graph.Add(Sum(), {s.x, *narrow}).status().message(), HasSubstr("(8, 3)"));
}

TEST(GraphTest, WhatNobodyHasIsAnErrorOfBind) {
  Context ctx({.threads = 1});
  const auto bind = [&](NetworkOptions options) {
    options.input = {kBatch, kWidth};
    return Network::Bind(ctx, std::make_unique<Sequential>(Sequential(Linear(2))),
                         std::make_unique<MseLoss>(), options)
        .status();
  };
  EXPECT_TRUE(bind({.frozen = {"0.bias"}, .layer_outputs = {"0"}}).ok());
  EXPECT_THAT(bind({.layer_outputs = {"1"}}).message(), HasSubstr("no layer 1"));
  // The second pattern is wrong though the first freezes something.
  EXPECT_THAT(bind({.frozen = {"0.bias", "body.*"}}).message(), HasSubstr("'body.*'"));
}

// ---- Outputs

// Of layers in the middle of a step whose memory is shared: what they would be if it were not.
TEST(GraphTest, LayerOutputsHoldAfterAStepWhateverSharesTheirMemory) {
  Context ctx({.threads = 2});
  const std::vector<float> x = Numbers("x", kBatch * kWidth), t = Numbers("t", kBatch * 2);
  const std::vector<std::string> layers = {"0", "1", "2.body", "3", "4"};
  std::vector<std::vector<float>> expected;
  for (const bool share : {false, true}) {
    Result<Network> net = Network::Bind(
        ctx,
        Sequential(Linear(16), Relu(), Residual(Sequential(Linear(16), Relu())), Tanh(), Linear(2)),
        MseLoss(),
        {.input = {kBatch, kWidth},
         .layer_outputs = layers,
         .share_memory = share,
         .fusion = share ? Fusion::kAll : Fusion::kNone});
    ASSERT_TRUE(net.ok()) << net.status().message();
    std::fill(net->step_memory().begin(), net->step_memory().end(), std::byte{0xFF});
    ASSERT_TRUE(
        net->Gradients({x.data(), {kBatch, kWidth}}, {t.data(), {kBatch, 2}}).status().ok());
    for (size_t i = 0; i < layers.size(); ++i) {
      const ConstTensor y = net->output(layers[i]);
      ASSERT_FALSE(y.empty()) << layers[i];
      if (!share) {
        expected.push_back(FloatsOf(y));
      } else {
        EXPECT_THAT(FloatsOf(y), ::testing::ElementsAreArray(expected[i])) << layers[i];
      }
    }
    EXPECT_TRUE(net->output("5").empty());
  }
}

TEST(GraphTest, PredictGivesEveryOutputAlsoTheInputItselfAndOneThatIsReadInside) {
  Context ctx({.threads = 1});
  const auto build = [](Graph& g) -> Status {
    LOCKSTEP_TRY_ASSIGN(const Value x, g.AddInput("x", {g.batch(), kWidth}));
    LOCKSTEP_TRY_ASSIGN(const Value twice, g.Add(Sum(), {x, x}));
    LOCKSTEP_TRY_ASSIGN(const Value square, g.Add(Multiply(), {twice, twice}));
    LOCKSTEP_TRY_ASSIGN(const Value sum, g.Add(Sum(), {square, twice}));
    LOCKSTEP_TRY(g.AddOutput("x itself", x));
    LOCKSTEP_TRY(g.AddOutput("twice", twice));
    return g.AddOutput("sum", sum);
  };
  Result<Network> net =
      Network::Bind(ctx, FunctionModel(build), kBatch, NetworkOptions{.training = false});
  ASSERT_TRUE(net.ok()) << net.status().message();
  std::fill(net->step_memory().begin(), net->step_memory().end(), std::byte{0xFF});
  constexpr int64_t kSamples = 3;
  const std::vector<float> x = Numbers("x", kSamples * kWidth);
  const Shape shape{kSamples, kWidth};
  std::vector<float> itself(x.size(), NAN), twice(x.size(), NAN), sum(x.size(), NAN);
  const std::array<ConstTensor, 1> inputs = {ConstTensor(x.data(), shape)};
  const std::array<Tensor, 3> outputs = {Tensor(itself.data(), shape), Tensor(twice.data(), shape),
                                         Tensor(sum.data(), shape)};
  ASSERT_TRUE(net->Predict(inputs, outputs).ok());
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(itself[i], x[i]);
    EXPECT_EQ(twice[i], 2.0f * x[i]);
    EXPECT_EQ(sum[i], 4.0f * x[i] * x[i] + 2.0f * x[i]);  // each exact up to one rounding
  }
}

// ---- What needs no gradient

class BackwardNames final : public StepObserver {
 public:
  void Before(const std::string& layer, bool backward) override {
    if (backward) names.push_back(layer);
  }
  void After(const std::string&, bool, ConstTensor) override {}
  std::vector<std::string> names;
};

TEST(GraphTest, NothingRunsBackwardForUnusedOutputsNorBelowWhatIsFrozen) {
  Context ctx({.threads = 1});
  const auto build = [](Graph& g) -> Status {
    LOCKSTEP_TRY_ASSIGN(const Value x, g.AddInput("x", {g.batch(), kWidth}));
    LOCKSTEP_TRY_ASSIGN(const Value body, Apply(g, "body", Linear(4), x));
    LOCKSTEP_TRY_ASSIGN(const Value y, Apply(g, "head", Linear(2), body));
    LOCKSTEP_TRY_ASSIGN(const Value unused, Apply(g, "unused", Linear(2), body));
    LOCKSTEP_TRY(g.AddOutput("y", y));
    LOCKSTEP_TRY(g.AddOutput("unused", unused));
    return AddLoss(g, "t", MseLoss(), y);
  };
  Result<Network> net = Network::Bind(ctx, FunctionModel(build), kBatch, {.frozen = {"body.*"}});
  ASSERT_TRUE(net.ok()) << net.status().message();
  const std::vector<float> x = Numbers("x", kBatch * kWidth), t = Numbers("t", kBatch * 2);
  BackwardNames seen;
  ASSERT_TRUE(net->Gradients(ConstTensor(x.data(), {kBatch, kWidth}),
                             ConstTensor(t.data(), {kBatch, 2}), {.observer = &seen})
                  .status()
                  .ok());
  EXPECT_THAT(seen.names, ElementsAre("", "head"));  // the loss has no path
}

TEST(GraphTest, NoOptimizerMovesAFrozenParameterNorItsBatchNorm) {
  Context ctx({.threads = 2});
  const std::vector<float> x = Numbers("x", kBatch * kWidth), t = Numbers("t", kBatch * 2);
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  optimizers.push_back(std::make_unique<AdamW>(AdamWOptions{.lr = 0.1, .weight_decay = 0.5}));
  optimizers.push_back(std::make_unique<Sgd>(
      SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.5, .decay_all = true}));
  for (const auto& optimizer : optimizers) {
    Result<Network> net =
        Network::Bind(ctx, Sequential(Linear(4), BatchNorm(), Relu(), Linear(2)), MseLoss(),
                      {.input = {kBatch, kWidth}, .frozen = {"0.*", "1.*"}});
    ASSERT_TRUE(net.ok()) << net.status().message();
    const std::vector<float> before(net->parameters().values.begin(),
                                    net->parameters().values.end());
    std::vector<std::vector<std::byte>> states;
    for (size_t i = 0; i < net->states().size(); ++i) {
      const auto* data = static_cast<const std::byte*>(net->state(i).data());
      states.emplace_back(data, data + net->state(i).bytes());
    }
    for (int step = 0; step < 3; ++step) {
      ASSERT_TRUE(
          net->TrainStep({x.data(), {kBatch, kWidth}}, {t.data(), {kBatch, 2}}, *optimizer).ok());
    }
    for (size_t i = 0; i < net->parameters().infos.size(); ++i) {
      const ParameterInfo& info = net->parameters().infos[i];
      const ConstTensor now = net->parameters().value(i);
      const bool same = std::memcmp(now.data(), before.data() + info.offset, now.bytes()) == 0;
      EXPECT_EQ(same, info.frozen) << optimizer->kind() << " " << info.name;
      EXPECT_EQ(info.frozen, info.name < "2") << info.name;
    }
    for (size_t i = 0; i < states.size(); ++i)
      EXPECT_EQ(std::memcmp(net->state(i).data(), states[i].data(), states[i].size()), 0)
          << net->states()[i].name;
  }
}

// ---- Program::Backward tells when a gradient is final.

TEST(GraphTest, EachGradientIsFinalOnceInAFixedOrderAfterItsLastWrite) {
  Context ctx({.threads = 2});
  const std::vector<float> x = Numbers("x", kBatch * kWidth), t = Numbers("t", kBatch * kWidth);
  const Linear shared(kWidth), between(kWidth), frozen(kWidth);
  for (const bool share : {false, true}) {
    ParameterStore store;
    Graph graph(store, {.threads = 2, .samples = kBatch}, {"frozen.*"});
    const Value in = *graph.AddInput("x", {kBatch, kWidth});
    const Value a = *Apply(graph, "shared", shared, in);
    const Value b = *Apply(graph, "between", between, a);
    const Value c = *Apply(graph, "frozen", frozen, b);
    const Value d = *Apply(graph, "shared", shared, c);
    ASSERT_TRUE(Apply(graph, "unused", Linear(2), b).ok());
    ASSERT_TRUE(graph.AddOutput("y", d).ok());
    ASSERT_TRUE(AddLoss(graph, "t", MseLoss(), d).ok());
    Result<std::unique_ptr<Program>> made =
        Program::Make(std::move(graph), {.share_memory = share});
    ASSERT_TRUE(made.ok()) << made.status().message();
    Program& program = **made;
    store.Allocate(ctx, /*seed=*/1, /*training=*/true);
    const PageMemory memory(ctx, program.step_bytes() + program.kept_bytes());
    program.Place(memory.data(), memory.data() + program.step_bytes());

    const ParameterSet parameters = store.ParametersToWrite();
    const BatchCut cut = BatchCut::Whole(kBatch, 1);
    program.SetCut(cut);
    program.SetInput(0, {x.data(), {kBatch, kWidth}});
    program.SetInput(1, {t.data(), {kBatch, kWidth}});
    std::vector<std::string> first_order;
    for (int round = 0; round < 3; ++round) {
      std::fill_n(memory.data(), program.step_bytes(), std::byte{0xFF});
      const Step step{
          .ctx = ctx, .program = program, .cut = cut, .states = store.state_memory(false)};
      program.Forward(step, /*losses=*/true);
      std::vector<std::string> order;
      std::vector<std::vector<float>> seen(parameters.infos.size());
      const std::function<void(int)> final = [&](int parameter) {
        const auto i = static_cast<size_t>(parameter);
        order.push_back(parameters.infos[i].name);
        seen[i] = FloatsOf(parameters.gradient(i));
      };
      program.Backward(step, std::array{1.0}, nullptr, &final);
      EXPECT_THAT(order, UnorderedElementsAre("shared.weight", "shared.bias", "between.weight",
                                              "between.bias"));
      for (size_t i = 0; i < seen.size(); ++i) {
        if (seen[i].empty()) continue;
        EXPECT_THAT(FloatsOf(parameters.gradient(i)), ::testing::ElementsAreArray(seen[i]))
            << parameters.infos[i].name;
      }
      if (round == 0) first_order = order;
      EXPECT_EQ(order, first_order);
    }
  }
}

// ---- Values that are made of parameters alone

// y = 2 w, made when w has changed.
class Doubled final : public Operation {
 public:
  explicit Doubled(int* made) : made_(made) {}
  Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused&,
                              const PlanOptions&) const override {
    return Declaration{.outputs = {x[0]}, .from_parameters = true};
  }
  void Forward(const Step&, const Operands& o) override {
    ++*made_;
    for (int64_t i = 0; i < o.y().size(); ++i) o.y_f32()[i] = 2.0f * o.x_f32(0)[i];
  }

 private:
  int* made_;
};

// y = x + sigmoid(2 w). A sigmoid may write over its input, but not over what is kept.
class KeptModel final : public Model {
 public:
  explicit KeptModel(int* made) : made_(made) {}
  Status Build(Graph& g) const override {
    LOCKSTEP_TRY_ASSIGN(const Value x, g.AddInput("x", {g.batch(), kWidth}));
    LOCKSTEP_TRY_ASSIGN(const Value w,
                        g.AddParameter("w", {g.batch(), kWidth}, Init::Uniform(1.0f), Decay::kNo));
    LOCKSTEP_TRY_ASSIGN(const Value doubled, g.Add(Doubled(made_), {w}));
    const Sigmoid sigmoid;
    LOCKSTEP_TRY_ASSIGN(const Value s, Apply(g, "sigmoid", sigmoid, doubled));
    LOCKSTEP_TRY_ASSIGN(const Value y, g.Add(Sum(), {x, s}));
    return g.AddOutput("y", y);
  }

 private:
  int* made_;
};

TEST(GraphTest, WhatIsMadeOfParametersIsMadeWhenTheyChangeAndStaysInBetween) {
  int made = 0;
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, KeptModel(&made), kBatch, {.training = false}).value();
  const std::vector<float> x(kBatch * kWidth, 0.0f);
  const auto predict = [&] {
    std::memset(net.step_memory().data(), 0xFF, net.step_memory().size());
    std::vector<float> y(x.size());
    EXPECT_TRUE(net.Predict({x.data(), {kBatch, kWidth}}, {y.data(), {kBatch, kWidth}}).ok());
    return y;
  };
  const std::vector<float> first = predict();
  EXPECT_EQ(predict(), first);
  EXPECT_EQ(made, 1);
  {
    const ParameterWriter parameters = net.Write();
    for (float& w : parameters->values) w += 1.0f;
  }
  EXPECT_NE(predict(), first);
  EXPECT_EQ(made, 2);
}

}  // namespace
}  // namespace lockstep
