// Checkpointed changes memory and time, and no bit: the networks of network_models.h, whose layers
// are put into regions in several ways. The plan behind it: tests/engine/plan/timetable_test.cc.
#include "layers/container/checkpointed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/train/checkpointing.h"
#include "layers/loss/cross_entropy.h"
#include "layers/sequence/places.h"
#include "models/gpt.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1::networks {
namespace {

// A Sequential, layer i of which is in region cut[i] (0: in none), with neighbours of one number in
// one region.
class InRegions final : public Layer {
 public:
  InRegions(Sequential layers, std::vector<int> cut)
      : layers_(std::move(layers)), cut_(std::move(cut)) {}
  std::string kind() const override { return "InRegions"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    std::unique_ptr<Graph::Recomputed> region;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (i == 0 || cut_[i] != cut_[i - 1]) {
        region.reset();
        if (cut_[i] > 0) region = std::make_unique<Graph::Recomputed>(graph);
      }
      LOCKSTEP_TRY_ASSIGN(x, Apply(graph, std::to_string(i), layers_[i], x));
    }
    return x;
  }

 private:
  Sequential layers_;
  std::vector<int> cut_;
};

Trace TraceWith(const Model& model, const std::vector<int>& cut, const TraceOptions& options) {
  const Model with{model.name, model.sample,
                   [&] { return Sequential(InRegions(model.make(), cut)); }};
  return TraceOf(with, options);
}

TEST(CheckpointedTest, StepsEndInTheSameBitsAndStatesWhateverIsComputedAgain) {
  for (const Model& model : Models()) {
    const size_t count = model.make().size();
    const Trace plain = TraceWith(model, std::vector<int>(count, 0), {.shards = 2});
    std::vector<std::vector<int>> cuts(5, std::vector<int>(count));
    for (size_t i = 0; i < count; ++i) {
      cuts[0][i] = 1;                              // all
      cuts[1][i] = static_cast<int>(i) + 1;        // each by itself
      cuts[2][i] = static_cast<int>(i) / 2 + 1;    // pairs
      cuts[3][i] = (static_cast<int>(i) + 1) / 3;  // none, then threes
      cuts[4][i] = i % 4 < 2 ? 1 : 0;              // two in, two out
    }
    for (const std::vector<int>& cut : cuts) {
      SCOPED_TRACE(model.name + ::testing::PrintToString(cut));
      EXPECT_EQ(TraceWith(model, cut, {.threads = 2, .shards = 2, .poison = true}), plain);
      EXPECT_EQ(TraceWith(model, cut,
                          {.shards = 2, .fusion = Fusion::kNone, .poison = true, .evaluate = true}),
                TraceWith(model, std::vector<int>(count, 0),
                          {.shards = 2, .fusion = Fusion::kNone, .share = false}));
    }
  }
}

// As tall as it comes: blocks of which each is a region.
constexpr int64_t kTokens = 32, kChannels = 48;
Sequential Tower(int blocks, bool checkpointed) {
  Sequential tower;
  for (int i = 0; i < blocks; ++i) {
    Residual block(
        Sequential(LayerNorm(), Linear(4 * kChannels), Gelu(), Linear(kChannels), Dropout(0.1)));
    if (checkpointed) {
      tower.Add(Checkpointed(std::move(block)));
    } else {
      tower.Add(std::move(block));
    }
  }
  tower.Add(Linear(1));
  return tower;
}

Network BindTower(Context& ctx, int blocks, bool checkpointed) {
  return Network::Bind(ctx, Tower(blocks, checkpointed), MseLoss(),
                       {.input = {kBatch, kTokens, kChannels}, .seed = 3})
      .value();
}

TEST(CheckpointedTest, MemoryGrowsWithTheBlocksInputsAndNotWithTheirInside) {
  Context ctx({.threads = 1});
  std::vector<int64_t> bytes;
  for (const int blocks : {4, 12}) {
    for (const bool checkpointed : {false, true}) {
      const Network net = BindTower(ctx, blocks, checkpointed);
      bytes.push_back(net.training_program().step_bytes());
      // Nobody needs what the second product gives, but for dropout's mask, which needs nothing.
      const double flops = net.training_program().repeated_flops();
      const double products =
          2.0 * kBatch * kTokens * kChannels * 4 * kChannels * blocks * checkpointed;
      EXPECT_GE(flops, products);
      EXPECT_LE(flops, 1.2 * products);
    }
  }
  const int64_t value = kBatch * kTokens * kChannels * 4;
  // Eight blocks more: plain, of each at least its input, the normed one, and three of four times
  // the width (before and behind Gelu, ...); checkpointed, its input alone, and no more than its
  // statistics or what packing leaves over beside it.
  EXPECT_GE(bytes[2] - bytes[0], 8 * 10 * value);
  EXPECT_LE(bytes[3] - bytes[1], 8 * value * 5 / 4);
  EXPECT_LE(bytes[3], (12 + 18) * value);
}

TEST(CheckpointedTest, ItsParametersAreNamedAsThoseOfTheBodyAndItEndsInTheSameModel) {
  Context ctx({.threads = 2});
  Network plain = BindTower(ctx, 2, false), checkpointed = BindTower(ctx, 2, true);
  ASSERT_EQ(plain.parameters().infos.size(), checkpointed.parameters().infos.size());
  for (size_t i = 0; i < plain.parameters().infos.size(); ++i)
    EXPECT_EQ(plain.parameters().infos[i].name, checkpointed.parameters().infos[i].name);
  const std::vector<float> x = Normals(kBatch * kTokens * kChannels, 1);
  const std::vector<float> t = Normals(kBatch * kTokens, 2);
  for (Network* net : {&plain, &checkpointed}) {
    AdamW adam({.lr = 1e-2});
    for (int step = 0; step < 3; ++step) {
      Poison(*net);
      ASSERT_TRUE(net->TrainStep({x.data(), {kBatch, kTokens, kChannels}},
                                 {t.data(), {kBatch, kTokens, 1}}, adam)
                      .ok());
    }
  }
  EXPECT_EQ(ModelHash(plain), ModelHash(checkpointed));
}

TEST(CheckpointedTest, OneWithinAnotherIsOneAndAnErrorNamesTheLayer) {
  Context ctx({.threads = 1});
  const auto bytes = [&](auto layer) {
    const Network net = Network::Bind(ctx, Sequential(std::move(layer), Linear(1)), MseLoss(),
                                      {.input = {kBatch, 64}})
                            .value();
    return net.training_program().step_bytes();
  };
  const auto body = [] { return Sequential(Linear(64), Tanh(), Linear(64), Tanh(), Linear(64)); };
  const int64_t once = bytes(Checkpointed(body()));
  EXPECT_EQ(bytes(Checkpointed(Sequential(Checkpointed(body())))), once);
  const auto failed = Network::Bind(ctx, Sequential(Checkpointed(Sequential(Conv2d(3)))), MseLoss(),
                                    {.input = {kBatch, 64}});
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.status().message(), ::testing::HasSubstr("layer 0.0 (Conv2d)"));
}

// Attention, dropout within it, a tied head that its loss computes in chunks, padded texts.
TEST(CheckpointedTest, LanguageModelsEndInTheSameBitsWithLessMemory) {
  constexpr int64_t kTexts = 8, kLength = 40, kVocabulary = 300;
  std::vector<int32_t> tokens(kTexts * kLength), targets(tokens.size());
  Random random(/*seed=*/4, StreamOf("tokens"));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool padding = i % kLength >= kLength - i / kLength;
    tokens[i] = padding ? kPaddingToken : static_cast<int32_t>(random.Below(kVocabulary));
    targets[i] = padding ? -100 : static_cast<int32_t>(random.Below(kVocabulary));
  }
  for (const bool norm_first : {true, false}) {
    for (const auto positions : {GptOptions::Positions::kLearned, GptOptions::Positions::kRotary}) {
      std::vector<uint64_t> hashes;
      std::vector<int64_t> bytes;
      for (const int threads : {1, 3}) {
        for (const bool recomputed : {false, true}) {
          Context ctx({.threads = threads});
          Network net =
              Network::Bind(
                  ctx,
                  Gpt({.vocabulary = kVocabulary,
                       .context = kLength,
                       .layers = 6,
                       .heads = 4,
                       .key_heads = 2,
                       .width = 32,
                       .norm_first = norm_first,
                       .positions = positions,
                       .dropout = 0.1,
                       .attention_dropout = 0.1,
                       .recomputed = recomputed,
                       .places = {.padded = true}}),
                  CrossEntropyLoss(),
                  {.input = {kTexts, kLength}, .input_dtype = DType::kI32, .seed = 2, .shards = 2})
                  .value();
          AdamW adam({.lr = 1e-2});
          for (int step = 0; step < 2; ++step) {
            Poison(net);
            const auto loss = net.TrainStep({tokens.data(), {kTexts, kLength}},
                                            {targets.data(), {kTexts, kLength}}, adam);
            ASSERT_TRUE(loss.ok()) << loss.status().message();
          }
          hashes.push_back(ModelHash(net));
          bytes.push_back(net.training_program().step_bytes());
          EXPECT_EQ(hashes.back(), hashes.front()) << norm_first << recomputed << threads;
        }
      }
      EXPECT_LT(2 * bytes[1], bytes[0]);
    }
  }
}

}  // namespace
}  // namespace lockstep::networks
