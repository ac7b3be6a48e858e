// Layers and models of someone else's that build what makes no sense: an error of Bind that says
// what, where it can be said at all, and right numbers where it cannot.
#include <cstdint>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/train/checkpointing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/arithmetic.h"
#include "layers/loss/mse.h"
#include "tests/engine/train/foreign_code.h"
#include "tests/engine/train/samples.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

// A layer that is one function.
class Made final : public Layer {
 public:
  explicit Made(std::function<Result<Value>(Graph&, Value)> build) : build_(std::move(build)) {}
  std::string kind() const override { return "Made"; }
  Result<Value> Build(Graph& graph, Value x) const override { return build_(graph, x); }

 private:
  std::function<Result<Value>(Graph&, Value)> build_;
};

class ForeignLayersTest : public testing::Test {
 protected:
  Result<Network> Bind(Made layer) {
    return Network::Bind(ctx_, Sequential(Linear(4), std::move(layer), Linear(1)), MseLoss(),
                         {.input = {8, kFeatures}, .seed = 1});
  }
  void ExpectRefused(Made layer, Code code, const std::string& message) {
    const Status status = Bind(std::move(layer)).status();
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_THAT(status.message(), HasSubstr(message));
  }
  Context ctx_{{.threads = 1}};
};

TEST_F(ForeignLayersTest, AValueOfAnotherGraphIsRefused) {
  ParameterStore store;
  Graph other(store, {.samples = 8});
  const Value foreign = other.AddInput("x", {8, 4}).value();
  ExpectRefused(Made([&](Graph&, Value) { return foreign; }), Code::kInvalid,
                "layer 1 (Made): it returns a value of another graph");
  ExpectRefused(Made([](Graph&, Value) { return Value(); }), Code::kInvalid, "returns no value");
  ExpectRefused(Made([&](Graph& graph, Value) { return Apply(graph, "inner", Relu(), foreign); }),
                Code::kInvalid, "another");
  ExpectRefused(Made([&](Graph& graph, Value x) {
                  return graph.Add(Sum(), {x, foreign});
                }),
                Code::kInvalid, "input 1 of an operation is a value of another graph");
  ExpectRefused(Made([&](Graph& graph, Value x) -> Result<Value> {
                  LOCKSTEP_TRY(graph.AddOutput("more", foreign));
                  return x;
                }),
                Code::kInvalid, "output more");
}

TEST_F(ForeignLayersTest, AValueThatALayerKeptFromTheLastTimeIsRefused) {
  Value kept;
  ExpectRefused(Made([&](Graph&, Value x) {
                  if (!kept.valid()) kept = x;
                  return kept;
                }),
                Code::kInvalid, "another graph");
}

TEST_F(ForeignLayersTest, WhatBuildThrowsIsAnError) {
  ExpectRefused(Made([](Graph&, Value) -> Result<Value> { throw std::runtime_error("not today"); }),
                Code::kInternal, "not today");
  ExpectRefused(Made([](Graph&, Value) -> Result<Value> { throw std::bad_alloc(); }),
                Code::kOutOfMemory, "out of memory");
  ExpectRefused(
      Made([](Graph& graph, Value x) -> Result<Value> {
        LOCKSTEP_TRY(
            graph.AddParameter("w", Shape{4, graph.shape(x)[1] - 5}, Init::Constant(0), Decay::kNo)
                .status());
        return x;
      }),
      Code::kInvalid, "(4, -1) has the extent -1");
  Faults faults{.at = Fault::kDeclare};
  const Status status = Network::Bind(ctx_, Sequential(Passing(faults), Linear(1)), MseLoss(),
                                      {.input = {8, kFeatures}})
                            .status();
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("of someone else's"));
}

TEST_F(ForeignLayersTest, ParametersTooLargeForAnyMachineAreRefused) {
  for (const int64_t outputs : {int64_t{1} << 49, int64_t{1} << 61}) {
    const Status status =
        Network::Bind(ctx_, Sequential(Linear(outputs)), {.input = {1, 1 << 10}}).status();
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.message(), HasSubstr(std::to_string(outputs)));
  }
}

Result<Value> Scaled(Graph& graph, Value x, const std::string& name, int64_t width) {
  return Apply(graph, name, Linear(width), x);
}

TEST_F(ForeignLayersTest, AParameterThatOnlyEvaluationNamesIsRefused) {
  ExpectRefused(Made([](Graph& graph, Value x) -> Result<Value> {
                  if (graph.training()) return x;
                  return Scaled(graph, x, "head", 4);
                }),
                Code::kInvalid,
                "parameter 1.head.weight is named when the model is built for "
                "evaluation and not when it is built for training");
  // The same of another shape; and one that only training has, as a further head for its loss.
  ExpectRefused(Made([](Graph& graph, Value x) {
                  return Scaled(graph, x, "head", graph.training() ? 4 : 5);
                }),
                Code::kInvalid, "parameter 1.head.weight");
  EXPECT_TRUE(Bind(Made([](Graph& graph, Value x) -> Result<Value> {
                if (graph.training()) LOCKSTEP_TRY(Scaled(graph, x, "more", 4).status());
                return x;
              })).ok());
}

// What is whose is decided by names alone.
TEST_F(ForeignLayersTest, ChildrenThatAreBuiltInAnotherOrderForEvaluationKeepTheirParameters) {
  const auto two = [](bool turned) {
    return Made([turned](Graph& graph, Value x) -> Result<Value> {
      const bool first_last = turned && !graph.training();
      Value a, b;
      for (int i = 0; i < 2; ++i) {
        const bool is_a = (i == 0) != first_last;
        LOCKSTEP_TRY_ASSIGN(const Value y, Scaled(graph, x, is_a ? "a" : "b", 4));
        (is_a ? a : b) = y;
      }
      return graph.Add(Sum(), {a, b});
    });
  };
  Network straight = Bind(two(false)).value(), turned = Bind(two(true)).value();
  const Samples samples(8);
  AdamW adam({.lr = 0.1}), adam2({.lr = 0.1});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(straight.TrainStep(samples.x(), samples.numbers(), adam).value(),
              turned.TrainStep(samples.x(), samples.numbers(), adam2).value());
  }
  EXPECT_EQ(ModelHash(straight), ModelHash(turned));
  EXPECT_EQ(Predictions(straight, samples), Predictions(turned, samples));
}

}  // namespace
}  // namespace lockstep::toy
