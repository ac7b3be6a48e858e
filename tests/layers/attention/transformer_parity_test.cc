// Attention, blocks and a whole GPT against the numbers PyTorch gives (tests/golden/
// make_transformer.py made transformer.json).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "layers/attention/transformer_block.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "models/gpt.h"
#include "tests/layers/attention/given_integers.h"
#include "tests/layers/layer_runner.h"

namespace lockstep::inline v0_1 {
namespace {

using testing::Given;
using testing::LayerRunner;
using testing::Values;
using Json = nlohmann::ordered_json;

const Json& Golden() {
  static const Json golden = [] {
    std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/transformer.json");
    return Json::parse(in).at("cases");
  }();
  return golden;
}

// As in tests/layers/parity_test.cc: relative to the largest value of a tensor.
constexpr double kTolerance = 1e-5;

void ExpectClose(std::span<const float> got, const Json& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0.0;
  for (const auto& v : want) largest = std::max(largest, std::abs(v.get<double>()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want[i].get<double>());
    EXPECT_TRUE(error <= kTolerance * largest + 1e-7)
        << what << "[" << i << "]: " << got[i] << " against " << want[i].get<double>();
  }
}

// Padding behind, in front, and two texts in a row.
const std::vector<int32_t> kSegments = {0, 0, 0, -1, -1, -1, 0, 0, 0, 0, 0, 0, 1, 1, 1};
const std::vector<int32_t> kPositions = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4};

struct Attention {
  MultiHeadAttentionOptions options{};
  bool segments = false, rotary = false;
};

// MultiHeadAttention with what it reads beside x.
class AttentionLayer final : public Layer {
 public:
  explicit AttentionLayer(const Attention& test) : test_(test) {}
  std::string kind() const override { return "Attention"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    AttentionValues values;
    if (test_.segments) {
      LOCKSTEP_TRY_ASSIGN(values.segments, Given(graph, x, kSegments));
    }
    if (test_.rotary) {
      LOCKSTEP_TRY_ASSIGN(const Value positions, Given(graph, x, kPositions));
      LOCKSTEP_TRY_ASSIGN(values.rotary, MakeRotary(graph, positions, 4));
    }
    return Apply(graph, "", MultiHeadAttention(test_.options, values), x);
  }

 private:
  Attention test_;
};

// A decoder whose memory is made of its input.
class MemoryLayer final : public Layer {
 public:
  std::string kind() const override { return "Memory"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(const Value memory, Apply(graph, "memory", Linear(8), x));
    const TransformerBlockOptions options{
        .width = 8, .heads = 2, .feed_forward = 12, .causal = true};
    return Apply(graph, "block", TransformerBlock(options, {.memory = memory}), x);
  }
};

using Make = std::function<std::unique_ptr<Layer>()>;

const std::map<std::string, Make>& Cases() {
  using Norm = TransformerBlockOptions::Norm;
  using Activation = TransformerBlockOptions::Activation;
  const auto attention = [](const Attention& test) -> Make {
    return [test] { return std::make_unique<AttentionLayer>(test); };
  };
  const auto block = [](const TransformerBlockOptions& options) -> Make {
    return [options] { return std::make_unique<TransformerBlock>(options); };
  };
  static const std::map<std::string, Make> cases = {
      {"attention", attention({{.heads = 2}})},
      {"attention_no_bias", attention({{.heads = 2, .bias = false}})},
      {"attention_causal", attention({{.heads = 2, .causal = true}})},
      {"attention_shared_keys", attention({{.heads = 2, .key_heads = 1, .causal = true}})},
      {"attention_segments", attention({{.heads = 2}, true})},
      {"attention_causal_segments", attention({{.heads = 2, .causal = true}, true})},
      {"attention_rotary", attention({{.heads = 2}, false, true})},
      {"attention_rotary_shared_keys", attention({{.heads = 2, .key_heads = 1}, false, true})},
      {"block", block({.width = 8, .heads = 2, .feed_forward = 12})},
      {"block_post_norm", block({.width = 8,
                                 .heads = 2,
                                 .feed_forward = 12,
                                 .norm_first = false,
                                 .activation = Activation::kRelu})},
      {"block_gelu_tanh",
       block({.width = 8, .heads = 2, .feed_forward = 12, .activation = Activation::kGeluTanh})},
      {"block_swiglu", block({.width = 8,
                              .heads = 2,
                              .feed_forward = 12,
                              .norm = Norm::kRms,
                              .activation = Activation::kSwiGlu,
                              .bias = false})},
      {"block_with_memory", [] { return std::make_unique<MemoryLayer>(); }},
  };
  return cases;
}

class TransformerParity : public ::testing::TestWithParam<std::string> {};

TEST_P(TransformerParity, ForwardAndBackwardAreTheSame) {
  const Json& golden = Golden().at(GetParam());
  const auto dims = golden.at("shape").get<std::vector<int64_t>>();
  const Shape shape{std::span<const int64_t>(dims)};
  LayerRunner runner(Cases().at(GetParam())(), shape);
  ASSERT_TRUE(runner.status().ok()) << runner.status().message();
  EXPECT_EQ(runner.store().infos().size(), golden.at("gradients").size());
  uint32_t stream = 100;
  for (const auto& [name, unused] : golden.at("gradients").items()) {
    const std::span<float> value = runner.value(name);
    ASSERT_FALSE(value.empty()) << name;
    const std::vector<float> start = Values(stream++, static_cast<int64_t>(value.size()));
    const bool scale = name.ends_with("weight") && value.size() == 8;
    for (size_t i = 0; i < value.size(); ++i) value[i] = start[i] * 0.5f + (scale ? 1.0f : 0.0f);
  }
  const std::vector<float> x = Values(1, shape.size());
  const std::vector<float> y = runner.Forward(x, shape);
  EXPECT_EQ(runner.Forward(x, shape, testing::Mode::kEvaluate), y);
  ASSERT_EQ(runner.Forward(x, shape), y);
  const std::vector<float> dx =
      runner.Backward(x, shape, Values(2, static_cast<int64_t>(y.size())));
  ExpectClose(y, golden.at("y"), "y");
  ExpectClose(dx, golden.at("dx"), "dx");
  for (const auto& [name, want] : golden.at("gradients").items()) {
    std::vector<float> got(runner.gradient(name).begin(), runner.gradient(name).end());
    Json kept = want;
    // What is added to every key of a query changes no weight: its gradient is rounding alone.
    if (name.ends_with("in_proj_bias")) {
      const size_t keys = (got.size() - 8) / 2;
      for (size_t i = 8; i < 8 + keys && GetParam().find("rotary") == std::string::npos; ++i) {
        EXPECT_NEAR(got[i], 0.0, 1e-5);
        got[i] = 0.0f, kept[i] = 0.0;
      }
    }
    ExpectClose(got, kept, "gradient of " + name);
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, TransformerParity, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, unused] : Cases()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

std::vector<int32_t> Tokens(uint32_t stream, int64_t count) {
  std::vector<int32_t> tokens;
  for (const float v : Values(stream, count))
    tokens.push_back(static_cast<int32_t>((v + 1.0f) * 32.5f));
  return tokens;
}

// Ten steps of AdamW. What a step does to a parameter is its gradient by its own size, so where a
// gradient is rounding alone (biases of keys) the two engines part; that changes nothing they say.
TEST(TrainingParity, TheNanoGptWithAdamW) {
  const Json& golden = Golden().at("gpt_nano");
  Context ctx({.threads = 1});
  Result<Network> net = Network::Bind(ctx, Gpt(GptNano()), CrossEntropyLoss(),
                                      {.input = {12, 64}, .input_dtype = DType::kI32});
  ASSERT_TRUE(net.ok()) << net.status().message();
  {
    const ParameterWriter writer = net->Write();
    ASSERT_EQ(writer->infos.size(), golden.at("names").size());
    uint32_t stream = 100;
    for (const auto& name : golden.at("names")) {
      for (size_t i = 0; i < writer->infos.size(); ++i) {
        const ParameterInfo& info = writer->infos[i];
        if (info.name != name.get<std::string>()) continue;
        const bool scale = info.name.ends_with("weight") && info.shape.rank() == 1;
        const std::vector<float> start = Values(stream, info.shape.size());
        for (size_t j = 0; j < start.size(); ++j)
          writer->value(i).f32()[j] = start[j] * 0.0625f + (scale ? 1.0f : 0.0f);
        ++stream;
      }
    }
    ASSERT_EQ(stream, 100 + golden.at("names").size());
  }
  AdamW adamw({.lr = 1e-3, .weight_decay = 0.01, .decay_all = true, .groups = {}});
  std::vector<float> losses;
  for (uint32_t s = 0; s < 10; ++s) {
    const std::vector<int32_t> text = Tokens(1000 + s, 12 * 65);
    std::vector<int32_t> x, target;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i % 65 < 64) x.push_back(text[i]);
      if (i % 65 > 0) target.push_back(text[i]);
    }
    const Result<double> loss =
        net->TrainStep({x.data(), Shape{12, 64}}, {target.data(), Shape{12, 64}}, adamw);
    ASSERT_TRUE(loss.ok()) << loss.status().message();
    losses.push_back(static_cast<float>(*loss));
  }
  ExpectClose(losses, golden.at("losses"), "losses");
  const std::vector<int32_t> x = Tokens(999, 12 * 64);
  std::vector<float> y(12 * 64 * 65, NAN), some;
  ASSERT_TRUE(net->Predict({x.data(), Shape{12, 64}}, {y.data(), Shape{12, 64, 65}}).ok());
  for (size_t i = 0; i < y.size(); ++i) {
    if (i % 65 % 8 == 0 && i / 65 % 64 % 13 == 0) some.push_back(y[i]);
  }
  ExpectClose(some, golden.at("y"), "y");
}

}  // namespace
}  // namespace lockstep
