// The maps are the weights that the network's own attention uses: with them its output is made once
// more.
#include "tools/report/attention_maps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "layers/attention/multi_head_attention.h"
#include "layers/container/sequential.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/sequence/embedding.h"
#include "layers/sequence/places.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int64_t kBatch = 3, kTokens = 7, kWidth = 12, kVocabulary = 5;

// Attention over embedded tokens; texts end with token 0.
class Attends final : public Model {
 public:
  explicit Attends(MultiHeadAttentionOptions options, bool packed)
      : options_(options), packed_(packed) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value tokens,
                        graph.AddInput("x", {graph.batch(), kTokens}, DType::kI32));
    LOCKSTEP_TRY_ASSIGN(const Places places,
                        PlacesOf(graph, tokens, {.separator = packed_ ? 0 : -1}));
    LOCKSTEP_TRY_ASSIGN(const Value x,
                        Apply(graph, "embedding", Embedding(kVocabulary, kWidth), tokens));
    LOCKSTEP_TRY_ASSIGN(
        const Value y,
        Apply(graph, "attention", MultiHeadAttention(options_, {.segments = places.segments}), x));
    LOCKSTEP_TRY(graph.AddOutput("embedded", x));
    return graph.AddOutput("y", y);
  }

 private:
  MultiHeadAttentionOptions options_;
  bool packed_;
};

std::vector<double> Product(const float* x, int64_t rows, int64_t width, ConstTensor weight,
                            ConstTensor bias) {
  const int64_t out = weight.shape()[0];
  std::vector<double> y(static_cast<size_t>(rows * out));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < out; ++n) {
      double sum = double{bias.f32()[n]};
      for (int64_t k = 0; k < width; ++k)
        sum += double{x[r * width + k]} * double{weight.f32()[n * width + k]};
      y[static_cast<size_t>(r * out + n)] = sum;
    }
  }
  return y;
}

TEST(AttentionMaps, AreTheWeightsThatGiveTheNetworksOutput) {
  struct Form {
    MultiHeadAttentionOptions options;
    bool packed;
  };
  for (const Form& form :
       {Form{{.heads = 3}, false}, Form{{.heads = 3, .causal = true}, false},
        Form{{.heads = 6, .key_heads = 2, .causal = true}, true}, Form{{.heads = 1}, true}}) {
    Context ctx({.threads = 2});
    Network net = Network::Bind(ctx, Attends(form.options, form.packed), kBatch,
                                {.seed = 5, .training = false})
                      .value();
    const std::vector<int32_t> tokens = {1, 4, 0, 3, 2, 0, 1};
    const ConstTensor x(tokens.data(), {1, kTokens});
    const auto maps = AttentionMapsOf(net, x);
    ASSERT_TRUE(maps.ok()) << maps.status().message();
    ASSERT_EQ(maps->size(), static_cast<size_t>(form.options.heads));
    std::vector<float> embedded(kTokens * kWidth), y(embedded.size());
    const ConstTensor inputs[] = {x};
    const Shape shape{1, kTokens, kWidth};
    const Tensor outputs[] = {{embedded.data(), shape}, {y.data(), shape}};
    ASSERT_TRUE(net.Predict(inputs, outputs).ok());

    const ConstParameterSet p = net.parameters();
    const auto parameter = [&](const std::string& name) {
      for (size_t i = 0; i < p.infos.size(); ++i) {
        if (p.infos[i].name == "attention." + name) return p.value(i);
      }
      ADD_FAILURE() << name;
      return ConstTensor();
    };
    const std::vector<double> packed = Product(
        embedded.data(), kTokens, kWidth, parameter("in_proj_weight"), parameter("in_proj_bias"));
    const auto row = static_cast<int64_t>(packed.size()) / kTokens;
    const int64_t heads = form.options.heads, size = kWidth / heads;
    const int64_t key_heads = form.options.key_heads > 0 ? form.options.key_heads : heads;
    std::vector<float> seen(kTokens * kWidth);
    for (int64_t h = 0; h < heads; ++h) {
      const AttentionMap& map = (*maps)[static_cast<size_t>(h)];
      EXPECT_EQ(map.layer, "attention");
      EXPECT_EQ(map.head, h);
      for (int64_t t = 0; t < kTokens; ++t) {
        double sum = 0.0;
        for (int64_t s = 0; s < kTokens; ++s) {
          const double weight = map.weights[static_cast<size_t>(t * kTokens + s)];
          sum += weight;
          if (form.options.causal && s > t) {
            EXPECT_EQ(weight, 0.0);
          }
          for (int64_t d = 0; d < size; ++d) {
            const int64_t v = (heads + key_heads + h / (heads / key_heads)) * size + d;
            seen[static_cast<size_t>(t * kWidth + h * size + d)] +=
                static_cast<float>(weight * packed[static_cast<size_t>(s * row + v)]);
          }
        }
        EXPECT_NEAR(sum, 1.0, 1e-12);
      }
    }
    const std::vector<double> expected = Product(
        seen.data(), kTokens, kWidth, parameter("out_proj.weight"), parameter("out_proj.bias"));
    // Sums of at most kWidth floats of size below 4, twice, and the roundings above.
    for (size_t i = 0; i < y.size(); ++i)
      EXPECT_TRUE(std::abs(expected[i] - double{y[i]}) <= 100 * 0x1p-24 * 4) << i;
  }
}

TEST(AttentionMaps, ANetworkWithoutAttentionHasNone) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Linear(3)), {.input = {2, 4}}).value();
  const std::vector<float> x(4);
  EXPECT_TRUE(AttentionMapsOf(net, {x.data(), {1, 4}})->empty());
}

}  // namespace
}  // namespace lockstep::tools
