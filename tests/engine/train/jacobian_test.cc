// Derivatives of outputs by inputs: against PyTorch's and complex-step numbers, and what they must
// not depend on. Of every layer beside its neighbours: tests/layers/network_jacobian_test.cc.
#include "engine/train/jacobian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/optim/sgd.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/attention/transformer_block.h"
#include "layers/container/residual.h"
#include "layers/container/sequential.h"
#include "layers/conv/conv.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/picture/pool.h"
#include "layers/sequence/embedding.h"
#include "tests/engine/train/count_heap.h"
#include "tests/layers/layer_runner.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::HasSubstr;
using testing::Values;
using toy::HeapCalls;
using toy::kCountsHeap;
using Json = nlohmann::ordered_json;

void Fill(std::span<float> to, uint32_t stream, float scale, float offset) {
  const std::vector<float> values = Values(stream, static_cast<int64_t>(to.size()));
  for (size_t i = 0; i < to.size(); ++i) to[i] = values[i] * scale + offset;
}

std::vector<float> FullOf(Jacobian& jacobian, ConstTensor x) {
  const int64_t samples = x.shape().batch();
  const Shape shape{samples, jacobian.outputs(), jacobian.inputs()};
  std::vector<float> j(static_cast<size_t>(shape.size()), NAN);
  const Status status = jacobian.Full(x, {j.data(), shape});
  EXPECT_TRUE(status.ok()) << status.message();
  return j;
}

// ---- PyTorch

const std::map<std::string, std::function<std::unique_ptr<Layer>()>>& Cases() {
  static const std::map<std::string, std::function<std::unique_ptr<Layer>()>> cases = {
      {"mlp",
       [] {
         return std::make_unique<Sequential>(
             Sequential(Linear(8), BatchNorm(), Gelu(),
                        Residual(Sequential(LayerNorm(), Linear(9), Silu(), Linear(8))), Tanh(),
                        Dropout(0.5), Linear(3)));
       }},
      {"cnn",
       [] {
         return std::make_unique<Sequential>(
             Sequential(Conv2d(4, {.padding = 1}), BatchNorm(), Relu(), MaxPool2d(2),
                        Conv2d(5, {.kernel = 2}), Silu(), Flatten(), Linear(2)));
       }},
      {"attention",
       [] {
         return std::make_unique<Sequential>(
             Sequential(TransformerBlock({.width = 8,
                                          .heads = 2,
                                          .feed_forward = 12,
                                          .dropout = 0.1,
                                          .attention_dropout = 0.1}),
                        Flatten(), Linear(2)));
       }},
  };
  return cases;
}

class JacobianParity : public ::testing::TestWithParam<std::string> {};

// Relative to the largest number: both sides round some tens of times, PyTorch's in double.
constexpr double kTolerance = 2e-6;

void ExpectClose(std::span<const float> got, const Json& want, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0.0;
  for (const auto& v : want) largest = std::max(largest, std::abs(v.get<double>()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i].get<double>());
    EXPECT_TRUE(error <= kTolerance * largest) << what << "[" << i << "]: " << got[i];
  }
}

TEST_P(JacobianParity, IsPyTorchs) {
  std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/jacobian.json");
  const Json golden = Json::parse(in).at("cases").at(GetParam());
  const auto dims = golden.at("shape").get<std::vector<int64_t>>();
  const Shape shape{std::span<const int64_t>(dims)};
  const auto streams = golden.at("streams").get<std::map<std::string, uint32_t>>();
  Context ctx({.threads = 1});
  for (const bool trains : {true, false}) {
    Network net = Network::Bind(ctx, Cases().at(GetParam())(), std::make_unique<MseLoss>(),
                                {.input = shape, .training = trains})
                      .value();
    {
      const ParameterWriter writer = net.Write();
      for (size_t i = 0; i < writer->infos.size(); ++i) {
        const ParameterInfo& info = writer->infos[i];
        const bool scale = info.name.ends_with("weight") && info.shape.rank() == 1;
        Fill(writer->value(i).span<float>(), streams.at(info.name), 0.5f, scale ? 1.0f : 0.0f);
      }
      for (size_t i = 0; i < net.states().size(); ++i) {
        const std::string& name = net.states()[i].name;
        const bool var = name.ends_with("running_var");
        if (var || name.ends_with("running_mean")) {
          Fill(writer.state(i).span<float>(), streams.at(name), var ? 1.0f : 0.5f,
               var ? 1.5f : 0.0f);
        }
      }
    }
    const std::vector<float> x = Values(1, shape.size());
    Jacobian jacobian = Jacobian::Make(net).value();
    const Shape of{shape.batch(), jacobian.outputs(), jacobian.inputs()};
    std::vector<float> j(static_cast<size_t>(of.size())), y(net.output_shape().size());
    ASSERT_TRUE(
        jacobian.Full({x.data(), shape}, {j.data(), of}, {y.data(), net.output_shape()}).ok());
    ExpectClose(j, golden.at("jacobian"), "jacobian");
    ExpectClose(y, golden.at("y"), "y");
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, JacobianParity, ::testing::Values("mlp", "cnn", "attention"),
                         [](const auto& info) { return info.param; });

// ---- A complex step: f'(x) = Im f(x + ih) / h, exact to rounding, for nothing cancels.

// Linear(5), BatchNorm, Tanh, Linear(2) of 3 features, in evaluation mode.
template <class T>
std::vector<T> Reference(const Network& net, const std::vector<T>& x) {
  const ConstParameterSet p = net.parameters();
  const auto linear = [&](size_t weight, const std::vector<T>& in) {
    const int64_t out = p.infos[weight].shape[0], width = p.infos[weight].shape[1];
    std::vector<T> y;
    for (int64_t o = 0; o < out; ++o) {
      T sum = static_cast<double>(p.value(weight + 1).f32()[o]);
      for (int64_t i = 0; i < width; ++i) {
        sum +=
            static_cast<double>(p.value(weight).f32()[o * width + i]) * in[static_cast<size_t>(i)];
      }
      y.push_back(sum);
    }
    return y;
  };
  std::vector<T> h = linear(0, x);
  for (size_t c = 0; c < h.size(); ++c) {
    const double mean = net.state(0).f32()[c], var = net.state(1).f32()[c];
    const double gamma = p.value(2).f32()[c], beta = p.value(3).f32()[c];
    h[c] = std::tanh((h[c] - mean) / std::sqrt(var + 1e-5) * gamma + beta);
  }
  return linear(4, h);
}

TEST(JacobianTest, IsWhatAComplexStepGives) {
  Context ctx({.threads = 1});
  const Shape in{16, 3}, out{16, 2};
  Network net = Network::Bind(ctx, Sequential(Linear(5), BatchNorm(), Tanh(), Linear(2)), MseLoss(),
                              {.input = in, .seed = 3})
                    .value();
  Sgd sgd({.lr = 0.1});
  const std::vector<float> x = Values(1, in.size()), t = Values(2, out.size());
  for (int step = 0; step < 20; ++step)  // statistics that are not 0 and 1
    ASSERT_TRUE(net.TrainStep({x.data(), in}, {t.data(), out}, sgd).ok());
  Jacobian jacobian = Jacobian::Make(net).value();
  const std::vector<float> j = FullOf(jacobian, {x.data(), in});
  constexpr double kStep = 1e-30;
  for (size_t s = 0; s < 16; ++s) {
    for (size_t i = 0; i < 3; ++i) {
      std::vector<std::complex<double>> at;
      for (size_t k = 0; k < 3; ++k) at.push_back({x[3 * s + k], k == i ? kStep : 0.0});
      const auto y = Reference(net, at);
      for (size_t k = 0; k < 2; ++k) {
        // Sums of 5 products of numbers around 1, each rounded a dozen times on its way.
        const double want = y[k].imag() / kStep;
        EXPECT_TRUE(std::abs(j[(s * 2 + k) * 3 + i] - want) <= 5 * 12 * 0x1p-24) << s << " " << i;
      }
    }
  }
}

// ---- What it must not depend on, and must not change

Sequential Net() {
  return Sequential(Linear(9), BatchNorm(), Relu(), Dropout(0.3),
                    Residual(Sequential(Linear(9), Gelu())), Linear(4));
}

TEST(JacobianTest, PassesThreadsAndNeighboursChangeNoBit) {
  const Shape in{11, 5};
  const std::vector<float> x = Values(1, in.size());
  std::vector<float> first;
  for (const int threads : {1, 2, 7}) {
    Context ctx({.threads = threads});
    const Network net = Network::Bind(ctx, Net(), MseLoss(), {.input = in, .seed = 3}).value();
    for (const int64_t rows : {0, 1, 3, 4, 44, 100}) {
      Jacobian jacobian = Jacobian::Make(net, {.rows = rows}).value();
      const std::vector<float> all = FullOf(jacobian, {x.data(), in});
      if (first.empty()) first = all;
      EXPECT_EQ(all, first) << threads << " threads, " << rows << " rows";
      std::vector<float> alone;
      for (int64_t s = 0; s < in.batch(); ++s) {
        const std::vector<float> one =
            FullOf(jacobian, ConstTensor(x.data(), in).Samples(s, s + 1));
        alone.insert(alone.end(), one.begin(), one.end());
      }
      EXPECT_EQ(alone, first) << threads << " threads, " << rows << " rows";
    }
  }
}

TEST(JacobianTest, AProductWithAVectorIsThatOfTheWholeJacobian) {
  Context ctx({.threads = 1});
  const Shape in{7, 5}, out{7, 4};
  const Network net = Network::Bind(ctx, Net(), MseLoss(), {.input = in, .seed = 3}).value();
  const std::vector<float> x = Values(1, in.size()), v = Values(2, out.size());
  for (const int64_t rows : {0, 3}) {
    Jacobian jacobian = Jacobian::Make(net, {.rows = rows}).value();
    const std::vector<float> j = FullOf(jacobian, {x.data(), in});
    std::vector<float> dx(x.size(), NAN);
    ASSERT_TRUE(jacobian.VectorProduct({x.data(), in}, {v.data(), out}, {dx.data(), in}).ok());
    for (size_t s = 0; s < 7; ++s) {
      for (size_t i = 0; i < 5; ++i) {
        double want = 0.0, terms = 0.0;
        for (size_t k = 0; k < 4; ++k) {
          const double term =
              static_cast<double>(v[4 * s + k]) * static_cast<double>(j[(4 * s + k) * 5 + i]);
          want += term, terms += std::abs(term);
        }
        // Two sums of 9 terms and one of 4, rounded on both sides.
        EXPECT_TRUE(std::abs(dx[5 * s + i] - want) <= 2 * 22 * 0x1p-24 * (terms + 1e-3)) << s;
      }
    }
  }
}

TEST(JacobianTest, FollowsTheWeightsAndLeavesTheNetworkAsItIs) {
  Context ctx({.threads = 1});
  const Shape in{8, 5}, out{8, 4};
  const auto bind = [&] {
    return Network::Bind(ctx, Net(), MseLoss(), {.input = in, .seed = 3}).value();
  };
  Network watched = bind(), alone = bind();
  Jacobian jacobian = Jacobian::Make(watched).value();
  Network moved = std::move(watched);  // a Jacobian goes on with the network wherever it is
  Sgd sgd_moved({.lr = 0.1, .momentum = 0.9}), sgd_alone({.lr = 0.1, .momentum = 0.9});
  const std::vector<float> x = Values(1, in.size()), t = Values(2, out.size());
  std::vector<float> before;
  for (int step = 0; step < 5; ++step) {
    ASSERT_TRUE(moved.TrainStep({x.data(), in}, {t.data(), out}, sgd_moved).ok());
    ASSERT_TRUE(alone.TrainStep({x.data(), in}, {t.data(), out}, sgd_alone).ok());
    const std::vector<float> j = FullOf(jacobian, {x.data(), in});
    EXPECT_NE(j, before);
    before = j;
    Jacobian fresh = Jacobian::Make(alone).value();
    EXPECT_EQ(j, FullOf(fresh, {x.data(), in}));
  }
  EXPECT_TRUE(std::ranges::equal(moved.parameters().values, alone.parameters().values));
  EXPECT_TRUE(std::ranges::equal(moved.parameters().gradients, alone.parameters().gradients));
  for (size_t i = 0; i < moved.states().size(); ++i)
    EXPECT_EQ(std::memcmp(moved.state(i).data(), alone.state(i).data(), moved.state(i).bytes()), 0);
}

TEST(JacobianTest, TakesNothingFromTheHeap) {
  if (!kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  const Shape in{8, 5}, out{8, 4};
  for (const int threads : {1, 2}) {
    Context ctx({.threads = threads});
    const Network net = Network::Bind(ctx, Net(), MseLoss(), {.input = in}).value();
    Jacobian jacobian = Jacobian::Make(net).value();
    const std::vector<float> x = Values(1, in.size()), v = Values(2, out.size());
    std::vector<float> j(8 * 4 * 5), dx(x.size());
    int64_t before = 0;
    for (int call = 0; call < 6; ++call) {
      if (call == 2) before = HeapCalls();
      const int64_t n = 8 - call % 3;
      ASSERT_TRUE(jacobian.Full({x.data(), in.WithBatch(n)}, {j.data(), {n, 4, 5}}).ok());
      ASSERT_TRUE(jacobian
                      .VectorProduct({x.data(), in.WithBatch(n)}, {v.data(), out.WithBatch(n)},
                                     {dx.data(), in.WithBatch(n)})
                      .ok());
    }
    EXPECT_EQ(HeapCalls() - before, 0);
  }
}

// ---- Several inputs and outputs

// a = tanh(W p), b = sum of the embeddings of two tokens times a; and a second output that reads p
// alone.
class TwoOfEach final : public Model {
 public:
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value tokens,
                        graph.AddInput("tokens", {graph.batch(), 2}, DType::kI32));
    LOCKSTEP_TRY_ASSIGN(const Value p, graph.AddInput("p", {graph.batch(), 3}));
    LOCKSTEP_TRY_ASSIGN(const Value words, Apply(graph, "words", words_, tokens));
    LOCKSTEP_TRY_ASSIGN(const Value flat, Apply(graph, "flat", flat_, words));
    LOCKSTEP_TRY_ASSIGN(const Value a, Apply(graph, "a", body_, p));
    LOCKSTEP_TRY_ASSIGN(const Value both, graph.Add(Multiply(), {flat, a}));
    LOCKSTEP_TRY_ASSIGN(const Value head, Apply(graph, "head", head_, p));
    LOCKSTEP_TRY(graph.AddOutput("both", both));
    LOCKSTEP_TRY(graph.AddOutput("head", head));
    LOCKSTEP_TRY(AddLoss(graph, "true both", MseLoss(), both));
    return AddLoss(graph, "true head", MseLoss(), head);
  }

 private:
  Embedding words_ = Embedding(7, 2);
  Flatten flat_;
  Sequential body_ = Sequential(Linear(4), Tanh());
  Linear head_ = Linear(1);
};

TEST(JacobianTest, OfSeveralInputsAndOutputs) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, TwoOfEach(), 5, {.seed = 4, .layer_outputs = {"a.1"}}).value();
  const std::vector<int32_t> tokens = {0, 1, 2, 3, 4, 5, 6, 0, 1, 2};
  const std::vector<float> p = Values(1, 15);
  const std::array inputs{ConstTensor(tokens.data(), {5, 2}), ConstTensor(p.data(), {5, 3})};
  Jacobian jacobian = Jacobian::Make(net, {.outputs = {"head", "both", "a.1"}}).value();
  std::vector<float> of_head(15), of_both(5 * 4 * 3), of_layer(5 * 4 * 3), both(20);
  ASSERT_TRUE(jacobian.Full(inputs, {of_head.data(), {5, 1, 3}}, 0, 1).ok());
  ASSERT_TRUE(jacobian.Full(inputs, {of_both.data(), {5, 4, 3}}, 1, 1, {both.data(), {5, 4}}).ok());
  ASSERT_TRUE(jacobian.Full(inputs, {of_layer.data(), {5, 4, 3}}, 2, 1).ok());
  const ConstParameterSet parameters = net.parameters();
  const auto value = [&](const std::string& name) {
    for (size_t i = 0; i < parameters.infos.size(); ++i) {
      if (parameters.infos[i].name == name) return parameters.value(i);
    }
    ADD_FAILURE() << name;
    return ConstTensor();
  };
  std::vector<float> scores(20), heads(5);
  ASSERT_TRUE(
      net.Predict(inputs, std::array{Tensor(scores.data(), {5, 4}), Tensor(heads.data(), {5, 1})})
          .ok());
  EXPECT_EQ(both, scores);
  for (size_t s = 0; s < 5; ++s) {
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(of_head[3 * s + i], value("head.weight").f32()[i]);
    for (size_t k = 0; k < 4; ++k) {
      const float word =
          value("words.weight").f32()[2 * tokens[2 * s + k / 2] + static_cast<int>(k % 2)];
      const double a = static_cast<double>(scores[4 * s + k]) / static_cast<double>(word);
      for (size_t i = 0; i < 3; ++i) {
        const double slope =
            (1.0 - a * a) * static_cast<double>(value("a.0.weight").f32()[3 * k + i]);
        // Four roundings and the division above.
        EXPECT_TRUE(std::abs(of_layer[(4 * s + k) * 3 + i] - slope) <= 1e-6) << s << k << i;
        EXPECT_TRUE(std::abs(of_both[(4 * s + k) * 3 + i] - slope * static_cast<double>(word)) <=
                    1e-6);
      }
    }
  }

  // All at once: the sums of both.
  const std::vector<float> ones(20, 1.0f);
  std::vector<float> dp(15), head(5);
  const std::array dx{Tensor(), Tensor(dp.data(), {5, 3})};
  ASSERT_TRUE(jacobian
                  .VectorProduct(inputs,
                                 std::array{ConstTensor(ones.data(), {5, 1}), ConstTensor(),
                                            ConstTensor(ones.data(), {5, 4})},
                                 dx, std::array{Tensor(head.data(), {5, 1})})
                  .ok());
  EXPECT_EQ(head, heads);
  for (size_t s = 0; s < 5; ++s) {
    for (size_t i = 0; i < 3; ++i) {
      double want = of_head[3 * s + i];
      for (size_t k = 0; k < 4; ++k) want += of_layer[(4 * s + k) * 3 + i];
      EXPECT_TRUE(std::abs(dp[3 * s + i] - want) <= 1e-6) << s << i;
    }
  }
  // What does not depend on an input has derivatives of 0 by it.
  std::vector<int32_t> none(10);
  const Status refused = jacobian.Full(inputs, {of_head.data(), {5, 1, 3}}, 0, 0);
  EXPECT_EQ(refused.code(), Code::kInvalid);
  EXPECT_THAT(refused.message(), HasSubstr("tokens"));
}

// ---- What cannot be

TEST(JacobianTest, SaysWhatItCannotDifferentiate) {
  Context ctx({.threads = 1});
  const Network words = Network::Bind(ctx, Sequential(Embedding(7, 2), Flatten(), Linear(1)),
                                      {.input = {3, 2}, .input_dtype = DType::kI32})
                            .value();
  EXPECT_THAT(Jacobian::Make(words).status().message(), HasSubstr("x is i32"));
  const Network mixed =
      Network::Bind(ctx, Sequential(Linear(3), BatchNorm({.track_running_stats = false})),
                    MseLoss(), {.input = {3, 2}})
          .value();
  const Status status = Jacobian::Make(mixed).status();
  EXPECT_THAT(status.message(), HasSubstr("layer 1"));
  EXPECT_THAT(status.message(), HasSubstr("running statistics"));
  const Network net = Network::Bind(ctx, Net(), MseLoss(), {.input = {3, 5}}).value();
  const Status unknown = Jacobian::Make(net, {.outputs = {"z"}}).status();
  EXPECT_EQ(unknown.code(), Code::kNotFound);
  EXPECT_THAT(unknown.message(), HasSubstr("it has y"));
  EXPECT_FALSE(Jacobian::Make(net, {.rows = -1}).ok());
}

TEST(JacobianTest, ShapesThatDoNotFitAreErrorsThatNameBoth) {
  Context ctx({.threads = 1});
  const Network net = Network::Bind(ctx, Net(), MseLoss(), {.input = {3, 5}}).value();
  Jacobian jacobian = Jacobian::Make(net).value();
  std::vector<float> x(15), j(60), y(12);
  const auto full = [&](ConstTensor of, Tensor to, Tensor out = {}) {
    return jacobian.Full(of, to, out).message();
  };
  EXPECT_EQ(full({x.data(), {3, 5}}, {j.data(), {3, 4, 5}}), "");
  EXPECT_EQ(full({x.data(), {3, 5}}, {j.data(), {3, 2, 2, 5}}), "");  // the same numbers
  EXPECT_THAT(full({x.data(), {3, 4}}, {j.data(), {3, 4, 5}}), HasSubstr("expected f32 (3, 5)"));
  EXPECT_THAT(full({x.data(), {3, 5}}, {j.data(), {3, 4, 4}}), HasSubstr("(3, 4, 5)"));
  EXPECT_THAT(full({x.data(), {3, 5}}, {j.data(), {2, 6, 5}}), HasSubstr("(2, 6, 5)"));
  EXPECT_THAT(full({static_cast<const float*>(nullptr), {3, 5}}, {j.data(), {3, 4, 5}}),
              HasSubstr("null"));
  EXPECT_THAT(full({x.data(), {3, 5}}, {static_cast<float*>(nullptr), {3, 4, 5}}),
              HasSubstr("null"));
  EXPECT_THAT(full({x.data(), {3, 5}}, {j.data(), {3, 4, 5}}, {y.data(), {3, 3}}),
              HasSubstr("expected f32 (3, 4)"));
  EXPECT_EQ(full({x.data(), {0, 5}}, {j.data(), {0, 4, 5}}), "");
  const Status wrong =
      jacobian.VectorProduct({x.data(), {3, 5}}, {y.data(), {2, 4}}, {x.data(), {3, 5}});
  EXPECT_THAT(wrong.message(), HasSubstr("v of y"));
}

}  // namespace
}  // namespace lockstep
