#include "engine/train/evaluate.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/comm/thread_ranks.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/mse.h"
#include "tests/engine/train/toy_data.h"

namespace lockstep::inline v0_1::toy {
namespace {

using testing::HasSubstr;

template <class L>
Network Bind(Context& ctx, Sequential layers, L loss, Shape input) {
  auto net = Network::Bind(ctx, std::move(layers), std::move(loss), {.input = input, .seed = 5});
  EXPECT_TRUE(net.ok()) << net.status().message();
  return std::move(*net);
}

// What the definition says, from Predict one sample at a time.
TEST(EvaluateTest, MatchesPredictionsTakenOneByOne) {
  const DatasetPtr data = Quadrants(77, 5, 0.2, 61);
  Context ctx({.threads = 1});
  Network net = Bind(ctx, BnMlp(8, 1), BceWithLogitsLoss(), {16, 5});
  double loss = 0.0;
  int64_t hits = 0;
  std::vector<float> scores, labels;
  for (int64_t i = 0; i < data->size(); ++i) {
    float x[5], target, logit;
    ASSERT_TRUE(data->Gather(std::vector{i}, Tensor(x, {1, 5}), Tensor(&target, {1, 1})).ok());
    ASSERT_TRUE(net.Predict({x, {1, 5}}, {&logit, {1, 1}}).ok());
    scores.push_back(logit);
    labels.push_back(target);
    hits += (logit > 0.0f) == (target > 0.5f);
    loss += std::log1p(std::exp(-(target > 0.5f ? double{logit} : -double{logit})));
  }
  for (const int64_t batch : {0, 1, 7, 16}) {
    const EvaluationResult result = Evaluate(net, All(data), {.batch = batch}).value();
    EXPECT_EQ(result.samples, 77);
    EXPECT_EQ(*result.accuracy, static_cast<double>(hits) / 77.0);
    EXPECT_EQ(result.auc, Auc(scores, labels));
    EXPECT_NEAR(result.loss, loss / 77.0, 1e-6);  // float softplus of values around 1
  }
}

TEST(EvaluateTest, TheOrderOfSamplesDoesNotMatterButInTheLastBits) {
  const DatasetPtr data = Blobs(90, 4, 3, 0.8, 62);
  Context ctx({.threads = 1});
  Network net = Bind(ctx, BnMlp(8, 3), CrossEntropyLoss(), {32, 4});
  Subset reversed = All(data);
  std::reverse(reversed.indices.begin(), reversed.indices.end());
  const EvaluationResult a = Evaluate(net, All(data)).value();
  const EvaluationResult b = Evaluate(net, reversed).value();
  EXPECT_EQ(a.confusion, b.confusion);
  EXPECT_NEAR(a.loss, b.loss, 1e-12);
}

TEST(EvaluateTest, AnEvaluatorGivesTheSameAgainAndLeavesNoTrace) {
  const DatasetPtr data = Quadrants(50, 4, 0.1, 63);
  Context ctx({.threads = 1});
  Network net = Bind(ctx, BnMlp(8, 1), BceWithLogitsLoss(), {16, 4});
  const uint64_t before = ModelHash(net);
  const auto evaluator = Evaluator::Make(net, All(data)).value();
  const double loss = evaluator->Run().value().loss;
  EXPECT_EQ(evaluator->Run().value().loss, loss);
  EXPECT_EQ(ModelHash(net), before);
}

// Batches go round the ranks whole, and are summed in their order.
TEST(EvaluateTest, ManyRanksGiveTheBitsOfOne) {
  const DatasetPtr binary = Quadrants(77, 4, 0.2, 64), planes = Planes(77, 65);
  EvaluationResult want_binary, want_planes;
  for (const int ranks : {1, 2, 3, 16}) {  // 10 batches: some of 16 ranks have none
    ThreadRanks::Run(ranks, [&](Communicator& communicator) {
      Context ctx({.threads = 1});
      Network net = Bind(ctx, BnMlp(8, 1), BceWithLogitsLoss(), {8, 4});
      Network line = Bind(ctx, Sequential(Linear(2)), MseLoss(), {8, 3});
      const EvaluationResult a =
          Evaluate(net, All(binary), {.communicator = &communicator}).value();
      const EvaluationResult b =
          Evaluate(line, All(planes), {.communicator = &communicator}).value();
      if (ranks == 1) {
        want_binary = a;
        want_planes = b;
        return;
      }
      EXPECT_EQ(a.loss, want_binary.loss);
      EXPECT_EQ(a.auc, want_binary.auc);
      EXPECT_EQ(a.confusion, want_binary.confusion);
      EXPECT_EQ(b.loss, want_planes.loss);
      EXPECT_EQ(b.mae, want_planes.mae);
      EXPECT_EQ(b.r2, want_planes.r2);
    });
  }
}

TEST(EvaluateTest, WhatDoesNotFitIsNamed) {
  const DatasetPtr data = Quadrants(50, 4, 0.1, 66);
  Context ctx({.threads = 1});
  Network net = Bind(ctx, BnMlp(8, 1), BceWithLogitsLoss(), {16, 5});
  EXPECT_THAT(Evaluate(net, All(data)).status().message(), HasSubstr("(16, 4)"));
  EXPECT_THAT(Evaluate(net, Subset{}).status().message(), HasSubstr("no samples"));
  Network fits = Bind(ctx, BnMlp(8, 1), BceWithLogitsLoss(), {16, 4});
  EXPECT_THAT(Evaluate(fits, All(data), {.batch = 17}).status().message(),
              HasSubstr("1 to the 16"));
  auto blind = Network::Bind(ctx, BnMlp(8, 1), {.input = {16, 4}}).value();
  EXPECT_THAT(Evaluate(blind, All(data)).status().message(), HasSubstr("without a loss"));
  EXPECT_FALSE(Evaluate(fits, Subset{data, {3, 50}}).ok());
}

TEST(EvaluateTest, ANetworkThatGivesNanIsAnErrorAndNotANumber) {
  const DatasetPtr data = Quadrants(50, 4, 0.1, 67);
  Context ctx({.threads = 1});
  Network net = Bind(ctx, Sequential(Linear(1)), BceWithLogitsLoss(), {16, 4});
  {
    ParameterWriter write = net.Write();
    write->value(0).f32()[0] = NAN;
  }
  const Status status = Evaluate(net, All(data)).status();
  EXPECT_EQ(status.code(), Code::kNonFinite);
  EXPECT_THAT(status.message(), HasSubstr("sample 0"));
}

}  // namespace
}  // namespace lockstep::toy
