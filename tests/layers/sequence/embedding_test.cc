// Places of tokens, embeddings of tokens and of places: their gradients against sums one by one,
// the same bits however they are computed, and what is refused.
#include "layers/sequence/embedding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/optim/sgd.h"
#include "engine/train/network.h"
#include "layers/arithmetic.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/sequence/places.h"
#include "layers/sequence/token_pool.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Places of tokens as two outputs, and vectors so that there is something to bind.
class PlacesModel final : public Model {
 public:
  PlacesModel(int64_t batch, int64_t length, PlacesOptions options)
      : batch_(batch), length_(length), options_(options) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value tokens,
                        graph.AddInput("tokens", {batch_, length_}, DType::kI32));
    LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, tokens, options_));
    if (places.segments.valid()) {
      LOCKSTEP_TRY(graph.AddOutput("segments", places.segments));
    }
    return graph.AddOutput("positions", places.positions);
  }

 private:
  int64_t batch_, length_;
  PlacesOptions options_;
};

TEST(PlacesTest, AreCountedWithinEachText) {
  Context ctx({.threads = 2});
  const std::vector<int32_t> tokens = {
      5,  9,  5,  5,  9,  6,  -1,  // two texts end with 9, one goes on
      -1, -1, 4,  4,  9,  9,  4,   // padding in front
      -1, -1, -1, -1, -1, -1, -1};
  const auto run = [&](PlacesOptions options) {
    Network net = Network::Bind(ctx, PlacesModel(3, 7, options), 3, {.training = false}).value();
    const ConstTensor x(tokens.data(), {3, 7});
    const bool both = options.padded || options.separator >= 0;
    std::vector<int32_t> segments(21), positions(21);
    const Tensor s(segments.data(), {3, 7}), p(positions.data(), {3, 7});
    const std::vector<Tensor> out = both ? std::vector<Tensor>{s, p} : std::vector<Tensor>{p};
    EXPECT_TRUE(net.Predict({&x, 1}, out).ok());
    return std::pair(segments, positions);
  };
  const auto [segments, positions] = run({.padded = true, .separator = 9});
  EXPECT_EQ(segments, (std::vector<int32_t>{0, 0, 1, 1,  1,  2,  -1, -1, -1, 0, 0,
                                            0, 1, 2, -1, -1, -1, -1, -1, -1, -1}));
  EXPECT_EQ(positions,
            (std::vector<int32_t>{0, 1, 0, 1, 2, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  const auto [padded, from_first] = run({.padded = true});
  EXPECT_EQ(padded[7], -1);
  EXPECT_EQ(padded[13], 0);
  EXPECT_EQ(from_first[13], 4);
  EXPECT_EQ(run({}).second[13], 6);
}

constexpr int64_t kBatch = 12, kLength = 7, kCount = 5, kWidth = 131;

// Ids that come often, one that never comes, and padding.
std::vector<int32_t> Ids() {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < kBatch * kLength; ++i) {
    const auto id = static_cast<int32_t>(i * i % 7);
    ids.push_back(id == 2 ? 0 : id == 5 ? kPaddingToken : id == 6 ? 4 : id);
  }
  return ids;
}

struct Embedded {
  std::vector<float> y, gradient, dy;
};

// Gradients of sum over ids of (embedding - target)^2 / n.
Embedded RunEmbedding(int threads, int shards, bool twice = false) {
  Context ctx({.threads = threads});
  Network net =
      Network::Bind(
          ctx, Embedding(kCount, kWidth), MseLoss(),
          {.input = {kBatch, kLength}, .input_dtype = DType::kI32, .seed = 3, .shards = shards})
          .value();
  const std::vector<int32_t> ids = Ids();
  const std::vector<float> t = networks::Normals(kBatch * kLength * kWidth, 4);
  const ConstTensor x(ids.data(), {kBatch, kLength}), target(t.data(), {kBatch, kLength, kWidth});
  networks::Poison(net);
  EXPECT_TRUE(net.Gradients(x, target).ok());
  Embedded run;
  const auto y = net.output().span<float>();
  run.y.assign(y.begin(), y.end());
  for (size_t i = 0; i < t.size(); ++i)
    run.dy.push_back(2.0f * (run.y[i] - t[i]) / static_cast<float>(t.size()));
  if (twice) {
    EXPECT_TRUE(net.Gradients(x, target, {.accumulate = true}).ok());
  }
  const auto gradient = net.parameters().gradient(0).span<float>();
  run.gradient.assign(gradient.begin(), gradient.end());
  return run;
}

TEST(EmbeddingTest, TheGradientOfAVectorIsTheSumOverItsIds) {
  const std::vector<int32_t> ids = Ids();
  for (const int shards : {1, 3, 16}) {
    const Embedded run = RunEmbedding(1, shards);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0) {
        EXPECT_EQ(run.y[i * kWidth], 0.0f);
      }
    }
    for (int32_t id = 0; id < kCount; ++id) {
      for (size_t c = 0; c < kWidth; ++c) {
        double want = 0.0, terms = 0.0;
        for (size_t i = 0; i < ids.size(); ++i) {
          if (ids[i] != id) continue;
          want += static_cast<double>(run.dy[i * kWidth + c]);
          terms += std::abs(static_cast<double>(run.dy[i * kWidth + c]));
        }
        // dy is rounded otherwise here (3 roundings), each shard once and each of 4 merges once.
        EXPECT_NEAR(run.gradient[static_cast<size_t>(id) * kWidth + c], want, 8 * 0x1p-24 * terms);
        if (id == 2) {
          EXPECT_EQ(run.gradient[2 * kWidth + c], 0.0f);
        }
      }
    }
  }
}

TEST(EmbeddingTest, TheBitsAreTheSameForAnyNumberOfThreads) {
  for (const int shards : {1, 3, 16}) {
    const Embedded one = RunEmbedding(1, shards);
    for (const int threads : {2, 3, 7}) {
      const Embedded many = RunEmbedding(threads, shards);
      EXPECT_EQ(many.y, one.y);
      EXPECT_EQ(many.gradient, one.gradient);
    }
    const Embedded twice = RunEmbedding(3, shards, /*twice=*/true);
    for (size_t i = 0; i < one.gradient.size(); ++i)
      EXPECT_EQ(twice.gradient[i], 2.0f * one.gradient[i]);  // exact
  }
}

std::string ErrorOf(int32_t id, bool padded) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Embedding(5, 4, {.padded = padded}),
                              {.input = {2, 3}, .input_dtype = DType::kI32})
                    .value();
  const std::vector<int32_t> ids = {0, 1, 2, 3, id, 0};
  std::vector<float> y(24);
  return net.Predict({ids.data(), {2, 3}}, {y.data(), {2, 3, 4}}).message();
}

TEST(EmbeddingTest, AnIdOutOfRangeIsNamedWithItsRow) {
  EXPECT_THAT(ErrorOf(5, true), HasSubstr("id 5 in row 1, place 1: ids are 0 to 4"));
  EXPECT_THAT(ErrorOf(-2, true), HasSubstr("id -2 in row 1"));
  EXPECT_THAT(ErrorOf(-1, false), HasSubstr("id -1 in row 1"));
  EXPECT_EQ(ErrorOf(-1, true), "");
  Context ctx({.threads = 1});
  EXPECT_THAT(Network::Bind(ctx, Embedding(5, 4), {.input = {2, 3}}).status().message(),
              HasSubstr("takes ids, i32 (batch, ...), not f32 (2, 3)"));
}

// Learned positions, and a head that reads the embedding's own weight.
class TiedHead final : public Layer {
 public:
  TiedHead(int64_t context, bool tied) : context_(context), tied_(tied) {}
  std::string kind() const override { return "TiedHead"; }
  Result<Value> Build(Graph& graph, Value tokens) const override {
    LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, tokens));
    LOCKSTEP_TRY_ASSIGN(Value x, Apply(graph, "wte", Embedding(6, 4), tokens));
    LOCKSTEP_TRY_ASSIGN(const Value p,
                        Apply(graph, "wpe", PositionEmbedding(context_, 4), places.positions));
    LOCKSTEP_TRY_ASSIGN(x, graph.Add(Sum(), {x, p}));
    if (!tied_) return Apply(graph, "head", Linear(6, {.bias = false}), x);
    LOCKSTEP_TRY_ASSIGN(const Value weight,
                        graph.AddParameter("wte.weight", {6, 4}, Init::Normal(1.0f), Decay::kYes));
    return AddProduct(graph, x, weight);
  }

 private:
  int64_t context_;
  bool tied_;
};

TEST(EmbeddingTest, ATiedHeadAddsItsGradientToTheEmbeddings) {
  Context ctx({.threads = 2});
  const std::vector<int32_t> ids = {0, 1, 2, 3, 3, 5};
  const std::vector<float> t = networks::Normals(36, 4);
  const ConstTensor x(ids.data(), {2, 3}), target(t.data(), {2, 3, 6});
  const auto bind = [&](bool tied) {
    return Network::Bind(ctx, TiedHead(3, tied), MseLoss(),
                         {.input = {2, 3}, .input_dtype = DType::kI32, .seed = 3})
        .value();
  };
  Network tied = bind(true), apart = bind(false);
  ASSERT_EQ(tied.parameters().infos.size(), 2u);
  ASSERT_EQ(apart.parameters().infos.size(), 3u);
  {
    const ParameterWriter writer = apart.Write();
    for (const auto& [to, from] : {std::pair{0, 0}, {1, 1}, {2, 0}}) {
      const auto values = tied.parameters().value(static_cast<size_t>(from)).span<float>();
      std::copy(values.begin(), values.end(), writer->value(static_cast<size_t>(to)).f32());
    }
  }
  ASSERT_TRUE(tied.Gradients(x, target).ok());
  ASSERT_TRUE(apart.Gradients(x, target).ok());
  for (int64_t i = 0; i < 24; ++i) {
    EXPECT_EQ(tied.parameters().gradient(0).f32()[i],
              apart.parameters().gradient(2).f32()[i] + apart.parameters().gradient(0).f32()[i]);
  }
}

TEST(EmbeddingTest, MoreTokensThanPositionsAreRefused) {
  Context ctx({.threads = 1});
  EXPECT_THAT(Network::Bind(ctx, TiedHead(3, true), {.input = {2, 4}, .input_dtype = DType::kI32})
                  .status()
                  .message(),
              AllOf(HasSubstr("texts are of 4 tokens"), HasSubstr("only 3 positions")));
}

}  // namespace
}  // namespace lockstep
