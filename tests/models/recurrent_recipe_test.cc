// Recipes of recurrent networks: language models and classifiers are built and learn, padding on
// either side changes nothing, what does not fit is said in terms of the recipe's keys.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/data/builtin/sums.h"
#include "engine/optim/adam.h"
#include "models/recipe.h"
#include "tests/engine/ops/same_bits.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;

Recipe Made(std::vector<std::string> overrides) {
  overrides.insert(overrides.begin(), "model.kind=recurrent");
  Result<Recipe> recipe = ParseRecipe("", "r.toml", overrides);
  EXPECT_TRUE(recipe.ok()) << recipe.status().message();
  return std::move(*recipe);
}

DatasetInfo Text(int64_t length) {
  return {.x_dtype = DType::kI32,
          .x_shape = {length},
          .target_shape = {length},
          .classes = 11,
          .vocabulary = 11};
}
DatasetInfo Labelled(bool padded = true) {
  DatasetInfo info{.x_dtype = DType::kI32, .x_shape = {6}, .vocabulary = 11, .padded = padded};
  SetTargets(Task::kClasses, 3, info);
  return info;
}
DatasetInfo Series() {
  DatasetInfo info{.x_shape = {6, 2}};
  SetTargets(Task::kRegression, 2, info);
  return info;
}

std::string ErrorOf(const std::vector<std::string>& overrides, const DatasetInfo& info,
                    Shape* out = nullptr) {
  Context ctx({.threads = 1});
  const Result<Network> net = BuildNetwork(ctx, Made(overrides), info, 4);
  if (net.ok() && out != nullptr) *out = net->output_shape();
  return net.ok() ? "" : net.status().message();
}

TEST(RecurrentRecipe, EveryCombinationIsBuiltForTextsLabelsAndSeries) {
  for (const std::string cell : {"lstm", "gru"}) {
    for (const std::string norm : {"none", "layer"}) {
      const std::vector<std::string> keys = {"model.cell=" + cell, "model.norm=" + norm,
                                             "model.hidden=12", "model.layers=2",
                                             "model.dropout=0.1"};
      Shape out;
      EXPECT_EQ(ErrorOf(keys, Text(6), &out), "");
      EXPECT_EQ(out, (Shape{4, 6, 11}));
      std::vector<std::string> both = keys;
      both.push_back("model.bidirectional=true");
      EXPECT_EQ(ErrorOf(both, Labelled(), &out), "");
      EXPECT_EQ(out, (Shape{4, 3}));
      EXPECT_EQ(ErrorOf(both, Series(), &out), "");
      EXPECT_EQ(out, (Shape{4, 2}));
    }
  }
}

TEST(RecurrentRecipe, WhatDoesNotFitNamesTheKey) {
  EXPECT_THAT(ErrorOf({"model.norm=batch"}, Text(6)), HasSubstr("model.norm = \"batch\""));
  EXPECT_THAT(ErrorOf({"model.bidirectional=true"}, Text(6)), HasSubstr("model.bidirectional"));
  EXPECT_THAT(ErrorOf({"model.tie_head=true", "model.embedding=8"}, Text(6)),
              HasSubstr("model.tie_head needs model.embedding = model.hidden (128), not 8"));
  EXPECT_THAT(ErrorOf({"model.tie_head=true"}, Labelled()), HasSubstr("model.tie_head is for"));
  DatasetInfo table{.x_shape = {20}};
  SetTargets(Task::kBinary, 1, table);
  EXPECT_THAT(ErrorOf({}, table), HasSubstr("model.kind = \"recurrent\" takes tokens"));
}

TEST(RecurrentRecipe, ATiedHeadIsTheEmbedding) {
  Context ctx({.threads = 1});
  const auto names = [&](const std::string& tie) {
    const Network net =
        BuildNetwork(ctx, Made({"model.hidden=8", "model.tie_head=" + tie}), Text(6), 4).value();
    std::vector<std::string> all;
    for (const ParameterInfo& info : net.parameters().infos) all.push_back(info.name);
    return all;
  };
  const std::vector<std::string> inner = {"embedding.weight", "rnn.weight_ih_l0",
                                          "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"};
  EXPECT_EQ(names("true"), inner);
  std::vector<std::string> all = inner;
  all.insert(all.end(), {"head.weight", "head.bias"});
  EXPECT_EQ(names("false"), all);
}

// Sums of two digits: a net that learns nothing of them says each of about 11 characters.
TEST(RecurrentRecipe, LanguageModelsLearnSums) {
  const SumsData sums = MakeSums({.digits = 1}).value();
  const DatasetInfo& info = sums.train->info();
  for (const std::string cell : {"lstm", "gru"}) {
    for (const std::string norm : {"none", "layer"}) {
      Context ctx({.threads = 1});
      Network net = BuildNetwork(ctx,
                                 Made({"model.cell=" + cell, "model.norm=" + norm,
                                       "model.hidden=32", "model.tie_head=true"}),
                                 info, sums.train->size())
                        .value();
      std::vector<int64_t> all(static_cast<size_t>(sums.train->size()));
      for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
      const Shape shape = sums.train->XShape(sums.train->size());
      std::vector<int32_t> x(static_cast<size_t>(shape.size())), t(x.size());
      ASSERT_TRUE(sums.train
                      ->Gather(all, Tensor(x.data(), DType::kI32, shape),
                               Tensor(t.data(), DType::kI32, shape))
                      .ok());
      AdamW adam({.lr = 1e-2, .weight_decay = 0.0});
      double first = 0.0, last = 0.0;
      for (int step = 0; step < 120; ++step) {
        const auto loss = net.TrainStep(ConstTensor(x.data(), DType::kI32, shape),
                                        ConstTensor(t.data(), DType::kI32, shape), adam);
        ASSERT_TRUE(loss.ok()) << loss.status().message();
        (step == 0 ? first : last) = *loss;
      }
      EXPECT_TRUE(last < 0.3 * first) << cell << " " << norm << ": " << first << " to " << last;
    }
  }
}

// What a classifier says of a text does not depend on where its padding stands.
TEST(RecurrentRecipe, PaddingOnEitherSideChangesNothing) {
  for (const std::string both : {"false", "true"}) {
    Context ctx({.threads = 1});
    Network net = BuildNetwork(ctx,
                               Made({"model.hidden=12", "model.layers=2", "model.cell=gru",
                                     "model.bidirectional=" + both}),
                               Labelled(), 4)
                      .value();
    const std::vector<int32_t> left = {-1, -1, -1, 4, 0, 9}, right = {4, 0, 9, -1, -1, -1};
    const auto answer = [&](const std::vector<int32_t>& tokens) {
      std::vector<float> y(3);
      EXPECT_TRUE(
          net.Predict(ConstTensor(tokens.data(), DType::kI32, {1, 6}), {y.data(), {1, 3}}).ok());
      return y;
    };
    EXPECT_TRUE(SameBits(answer(left), answer(right)));
    EXPECT_FALSE(SameBits(answer(left), answer({4, 0, 9, 9, -1, -1})));
  }
}

}  // namespace
}  // namespace lockstep
