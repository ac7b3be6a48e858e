// Transformers as a whole: padding changes nothing, a text that goes on says what the whole text
// says, ranks give the same bits, what does not fit is refused, and they learn.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/plan/program.h"
#include "engine/train/network.h"
#include "layers/loss/cross_entropy.h"
#include "models/gpt.h"
#include "models/recipe.h"
#include "models/recipe_keys.h"
#include "models/transformer_encoder.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

GptOptions Small(GptOptions::Positions positions = GptOptions::Positions::kLearned) {
  return {.vocabulary = 11,
          .context = 16,
          .layers = 2,
          .heads = 4,
          .key_heads = 2,
          .width = 16,
          .positions = positions};
}

std::vector<int32_t> Text(int64_t count, int seed) {
  std::vector<int32_t> text;
  for (int64_t i = 0; i < count; ++i)
    text.push_back(static_cast<int32_t>((i * i + 3 * i + seed * (i % 5)) % 11));
  return text;
}

template <class L>
std::vector<float> Predicted(L layers, const std::vector<int32_t>& tokens, int64_t length) {
  Context ctx({.threads = 2});
  const int64_t batch = static_cast<int64_t>(tokens.size()) / length;
  Result<Network> net = Network::Bind(
      ctx, std::move(layers), {.input = {batch, length}, .input_dtype = DType::kI32, .seed = 7});
  EXPECT_TRUE(net.ok()) << net.status().message();
  std::vector<float> y(static_cast<size_t>(net->output_shape().size()), NAN);
  const Status status =
      net->Predict({tokens.data(), {batch, length}}, {y.data(), net->output_shape()});
  EXPECT_TRUE(status.ok()) << status.message();
  return y;
}

// One text of 5 tokens: alone, with padding behind, in front, and packed behind another.
TEST(TransformerTest, ATextIsComputedAsIfItWereAlone) {
  for (const auto positions : {GptOptions::Positions::kLearned, GptOptions::Positions::kRotary}) {
    GptOptions options = Small(positions);
    // The learned positions of all networks are the first of as many.
    const std::vector<int32_t> text = {3, 1, 4, 1, 5};
    const std::vector<float> alone = Predicted(Gpt(options), text, 5);
    options.places = {.padded = true, .separator = 10};
    const std::vector<int32_t> rows = {3,  1,  4,  1, 5, -1, -1, -1,  //
                                       -1, -1, -1, 3, 1, 4,  1,  5,   //
                                       7,  2,  10, 3, 1, 4,  1,  5};
    const std::vector<float> all = Predicted(Gpt(options), rows, 8);
    for (const size_t first : {size_t{0}, size_t{11}, size_t{19}}) {
      for (size_t i = 0; i < 5 * 11; ++i)
        ASSERT_NEAR(all[first * 11 + i], alone[i], 1e-6) << first << " " << i;
    }
  }
}

TEST(TransformerTest, AClassifierDoesNotSeePadding) {
  for (const auto pool : {EncoderOptions::Pool::kMean, EncoderOptions::Pool::kClassToken}) {
    TransformerEncoderOptions options{
        .encoder = {.block = {.width = 16, .heads = 2, .feed_forward = 32},
                    .layers = 2,
                    .outputs = 3,
                    .pool = pool,
                    .positions = EncoderOptions::Positions::kRotary},
        .vocabulary = 11,
        .padded = true};
    const std::vector<float> alone = Predicted(TransformerEncoder(options), {3, 1, 4, 1, 5}, 5);
    const std::vector<float> all = Predicted(
        TransformerEncoder(options),
        {3, 1, 4, 1, 5, -1, -1, -1, -1, -1, -1, 3, 1, 4, 1, 5, -1, -1, -1, -1, -1, -1, -1, -1}, 8);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(all[i], alone[i], 1e-6);
      // The same but for the order of sums: keys stand elsewhere in their tiles.
      EXPECT_NEAR(all[3 + i], all[i], 1e-6);
      EXPECT_TRUE(std::isfinite(all[6 + i]));
    }
  }
}

// Scores of a text whose tokens come `steps` at a time, in a graph that goes on with it.
class GoingOn {
 public:
  GoingOn(const Gpt& gpt, int64_t most, int64_t room) : ctx_({.threads = 2}) {
    Graph graph(store_, {.training = false,
                         .keeps_training = false,
                         .threads = 2,
                         .samples = most,
                         .cache_tokens = room});
    const auto build = [&]() -> Status {
      LOCKSTEP_TRY_ASSIGN(const Value x, graph.AddInput("x", {most, 1}, DType::kI32));
      LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "", gpt, x));
      LOCKSTEP_TRY(graph.AddOutput("y", y));
      LOCKSTEP_TRY_ASSIGN(program_, Program::Make(std::move(graph), {}));
      return Status::Ok();
    };
    status_ = build();
    if (!status_.ok()) return;
    store_.Allocate(ctx_, /*seed=*/7, /*training=*/false);
    memory_ = PageMemory(ctx_, program_->step_bytes() + program_->kept_bytes() + 64);
    program_->Place(memory_.data(), memory_.data() + program_->step_bytes());
  }

  const Status& status() const { return status_; }
  Result<std::vector<float>> Next(const std::vector<int32_t>& tokens, int64_t first) {
    const auto count = static_cast<int64_t>(tokens.size());
    const BatchCut cut = BatchCut::Whole(count, 1);
    program_->SetCut(cut);
    program_->SetInput(0, ConstTensor(tokens.data(), {count, 1}));
    const Step step{.ctx = ctx_,
                    .program = *program_,
                    .cut = cut,
                    .states = store_.state_memory(/*staged=*/false),
                    .first_token = first};
    LOCKSTEP_TRY(program_->Check(step, /*losses=*/false));
    program_->Forward(step, /*losses=*/false);
    const std::span<const float> y = program_->output(0).span<float>();
    return std::vector<float>(y.begin(), y.end());
  }

 private:
  Context ctx_;
  ParameterStore store_;
  Status status_;
  std::unique_ptr<Program> program_;
  PageMemory memory_;
};

TEST(TransformerTest, ATextThatGoesOnSaysWhatTheWholeTextSays) {
  for (const auto positions : {GptOptions::Positions::kLearned, GptOptions::Positions::kRotary}) {
    const Gpt gpt(Small(positions));
    const std::vector<int32_t> text = Text(13, 2);
    const std::vector<float> whole = Predicted(gpt, text, 13);
    GoingOn going(gpt, 6, 16);
    ASSERT_TRUE(going.status().ok()) << going.status().message();
    std::vector<float> parts;
    int64_t at = 0;
    for (const int64_t count : {6, 1, 1, 4, 1}) {
      const auto y = going.Next({text.begin() + at, text.begin() + at + count}, at);
      ASSERT_TRUE(y.ok()) << y.status().message();
      parts.insert(parts.end(), y->begin(), y->end());
      at += count;
    }
    ASSERT_EQ(parts.size(), whole.size());
    for (size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(parts[i], whole[i], 1e-6) << i;
    // Once more from the middle: what came later is forgotten.
    const auto again = going.Next({text.begin() + 6, text.begin() + 8}, 6);
    ASSERT_TRUE(again.ok());
    for (size_t i = 0; i < again->size(); ++i)
      EXPECT_NEAR((*again)[i], whole[6 * 11 + i], 1e-6) << i;
    EXPECT_THAT(going.Next(Text(6, 1), 11).status().message(),
                AllOf(HasSubstr("17 tokens long"), HasSubstr("room for 16")));
  }
  EXPECT_THAT(GoingOn(Gpt(Small()), 4, 17).status().message(),
              AllOf(HasSubstr("17 tokens"), HasSubstr("context of 16")));
}

std::string BindError(const GptOptions& options, const Shape& input = {2, 8}) {
  Context ctx({.threads = 1});
  return Network::Bind(ctx, Gpt(options), {.input = input, .input_dtype = DType::kI32})
      .status()
      .message();
}

TEST(TransformerTest, WhatDoesNotFitIsRefusedWithBothNumbers) {
  EXPECT_EQ(BindError(Small()), "");
  GptOptions options = Small();
  options.heads = 3;
  EXPECT_THAT(BindError(options), AllOf(HasSubstr("16"), HasSubstr("3 heads")));
  options = Small();
  options.key_heads = 3;
  EXPECT_THAT(BindError(options), AllOf(HasSubstr("4 heads"), HasSubstr("3 heads of keys")));
  options = Small(GptOptions::Positions::kRotary);
  options.heads = options.key_heads = 16;
  EXPECT_THAT(BindError(options), HasSubstr("heads of 1 numbers are odd"));
  EXPECT_THAT(BindError(Small(), {2, 17}),
              AllOf(HasSubstr("17 tokens"), HasSubstr("context of 16")));
}

// A picture's tokens are counted in whole numbers: 60 x 60 pixels in patches of 14 are none, and a
// class token in front is one more, no matter how many there are.
TEST(TransformerTest, PatchesDivideThePicture) {
  Context ctx({.threads = 1});
  const auto tokens = [&](int64_t height, int64_t width, int64_t patch) -> std::string {
    const VitOptions options{.encoder = {.block = {.width = 4, .heads = 1, .feed_forward = 4},
                                         .layers = 1,
                                         .pool = EncoderOptions::Pool::kClassToken},
                             .patch = patch};
    Result<Network> net = Network::Bind(ctx, Vit(options), {.input = {1, height, width, 3}});
    if (!net.ok()) return net.status().message();
    for (const ParameterInfo& info : net->parameters().infos) {
      if (info.name == "positions.weight") return info.shape.ToString();
    }
    return "";
  };
  EXPECT_EQ(tokens(224, 224, 16), "(196, 4)");
  EXPECT_EQ(tokens(70, 42, 14), "(15, 4)");
  EXPECT_EQ(tokens(60, 60, 1), "(3600, 4)");
  EXPECT_THAT(tokens(60, 56, 14), AllOf(HasSubstr("60 x 56"), HasSubstr("14 x 14")));
  EXPECT_THAT(tokens(56, 60, 14), HasSubstr("56 x 60"));
}

TEST(TransformerTest, DefaultsOfABlockAreThoseOfThePaperWithItsNormInFront) {
  const TransformerBlockOptions block;
  EXPECT_EQ(block.width, 512);
  EXPECT_EQ(block.heads, 8);
  EXPECT_EQ(block.feed_forward, 2048);
  EXPECT_TRUE(block.norm_first);
  EXPECT_EQ(block.norm, TransformerBlockOptions::Norm::kLayer);
  EXPECT_EQ(block.activation, TransformerBlockOptions::Activation::kGelu);
}

TEST(TransformerTest, TheShapesOfGpt2HaveItsParameters) {
  ParameterStore store;
  Graph graph(store, {.training = false, .samples = 1});
  const Value x = graph.AddInput("x", {1, 8}, DType::kI32).value();
  ASSERT_TRUE(Apply(graph, "", Gpt(), x).ok());
  int64_t count = 0;
  for (const ParameterInfo& info : store.infos()) count += info.shape.size();
  EXPECT_EQ(count, 124439808);
}

TEST(TransformerTest, AGptLearnsATextByHeart) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Gpt(Small(GptOptions::Positions::kRotary)), CrossEntropyLoss(),
                              {.input = {2, 12}, .input_dtype = DType::kI32, .seed = 1})
                    .value();
  std::vector<int32_t> x, target;
  for (const int seed : {1, 4}) {
    const std::vector<int32_t> text = Text(13, seed);
    x.insert(x.end(), text.begin(), text.end() - 1);
    target.insert(target.end(), text.begin() + 1, text.end());
  }
  AdamW adam({.lr = 1e-2});
  double loss = 0.0;
  for (int step = 0; step < 150; ++step)
    loss = net.TrainStep({x.data(), {2, 12}}, {target.data(), {2, 12}}, adam).value();
  EXPECT_LT(loss, 0.07);  // both begin alike, so the first guess costs ln 2 / 12 = 0.058
}

// ---- Recipes

std::string RecipeError(std::vector<std::string> overrides, const DatasetInfo& info) {
  overrides.insert(overrides.begin(), "model.kind=transformer");
  Result<Recipe> recipe = ParseRecipe("", "r.toml", overrides);
  if (!recipe.ok()) return recipe.status().message();
  Context ctx({.threads = 1});
  return BuildNetwork(ctx, *recipe, info, 2, /*training=*/true).status().message();
}

TEST(TransformerRecipe, EveryArchitectureIsBuilt) {
  DatasetInfo text{.x_dtype = DType::kI32,
                   .x_shape = {8},
                   .task = Task::kClasses,
                   .target_shape = {8},
                   .classes = 11,
                   .vocabulary = 11,
                   .padded = true};
  const std::vector<std::string> small = {"model.layers=1", "model.width=8", "model.heads=2"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), small.begin(), small.end());
    return more;
  };
  EXPECT_EQ(RecipeError(small, text), "");
  EXPECT_EQ(RecipeError(with({"model.positions=rotary", "model.norm=rms", "model.activation=swiglu",
                              "model.key_heads=1", "model.bias=false", "model.tie_head=false",
                              "model.dropout=0.1", "model.attention_dropout=0.1"}),
                        text),
            "");
  EXPECT_EQ(RecipeError(with({"model.architecture=encoder"}), text), "");
  EXPECT_THAT(RecipeError(with({"model.heads=3"}), text),
              HasSubstr("model.heads = 3 does not divide model.width = 8"));
  text.classes = 3;
  EXPECT_THAT(RecipeError(small, text), AllOf(HasSubstr("11 tokens"), HasSubstr("3 classes")));
  text.target_shape = {};
  EXPECT_EQ(RecipeError(with({"model.architecture=encoder", "model.pool=class_token"}), text), "");
  DatasetInfo series{.x_shape = {8, 3}};
  SetTargets(Task::kRegression, 2, series);
  EXPECT_EQ(RecipeError(with({"model.architecture=encoder"}), series), "");
  DatasetInfo pictures{.x_shape = {8, 12, 3}};
  SetTargets(Task::kClasses, 4, pictures);
  EXPECT_EQ(RecipeError(with({"model.architecture=vit"}), pictures), "");
  EXPECT_THAT(RecipeError(with({"model.architecture=vit", "model.patch=8"}), pictures),
              AllOf(HasSubstr("model.patch = 8"), HasSubstr("8 x 12")));
  EXPECT_THAT(RecipeError(small, pictures), HasSubstr("takes texts"));
}

}  // namespace
}  // namespace lockstep
