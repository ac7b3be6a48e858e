// Features of which some are embedded: PyTorch's numbers (tests/golden/make_features.py made
// features.json), gradients against sums in double, the same bits however they are computed, and
// what is refused.
#include "layers/sequence/embed_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/train/network.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "tests/engine/train/count_heap.h"
#include "tests/layers/layer_runner.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1 {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::LayerRunner;
using testing::Values;
using Json = nlohmann::ordered_json;

const Json& Golden(const std::string& name) {
  static const Json golden = [] {
    std::ifstream in(LOCKSTEP_SOURCE_DIR "/tests/golden/features.json");
    return Json::parse(in).at("cases");
  }();
  return golden.at(name);
}

// Relative to the largest value of a tensor, as in tests/layers/parity_test.cc.
void ExpectClose(std::span<const float> got, const Json& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0.0;
  for (const auto& v : want) largest = std::max(largest, std::abs(v.get<double>()));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want[i].get<double>());
    EXPECT_TRUE(error <= 1e-6 * largest) << what << "[" << i << "]: " << got[i];
  }
}

// Rows of `dense` numbers, and then of ids: the last ones are (r r + e) % values.
std::vector<float> Rows(std::span<const float> numbers, int64_t rows, int64_t dense,
                        const std::vector<EmbeddingTable>& tables) {
  std::vector<float> x;
  for (int64_t r = 0; r < rows; ++r) {
    x.insert(x.end(), numbers.begin() + r * dense, numbers.begin() + (r + 1) * dense);
    for (size_t e = 0; e < tables.size(); ++e)
      x.push_back(static_cast<float>((r * r + static_cast<int64_t>(e)) % tables[e].values));
  }
  return x;
}

TEST(EmbedFeaturesTest, ValuesAndGradientsArePyTorchs) {
  for (const char* name : {"embedded", "embedded_alone"}) {
    const Json& golden = Golden(name);
    const int64_t rows = golden.at("rows"), dense = golden.at("dense");
    std::vector<EmbeddingTable> tables;
    for (const auto& table : golden.at("tables")) tables.push_back({table[0], table[1]});
    const auto features = dense + static_cast<int64_t>(tables.size());
    const std::vector<float> x = Rows(Values(1, rows * dense), rows, dense, tables);
    LayerRunner runner(std::make_unique<EmbedFeatures>(tables), {rows, features});
    ASSERT_TRUE(runner.status().ok()) << runner.status().message();
    for (size_t e = 0; e < tables.size(); ++e) {
      const std::vector<float> start =
          Values(100 + static_cast<uint32_t>(e), tables[e].values * tables[e].width);
      std::copy(start.begin(), start.end(), runner.value(std::to_string(e) + ".weight").begin());
    }
    ExpectClose(runner.Forward(x, {rows, features}), golden.at("y"), "y");
    const std::vector<float> dy = Values(2, runner.out().size());
    const std::vector<float> dx = runner.Backward(x, {rows, features}, dy);
    std::vector<float> dense_dx;
    for (int64_t i = 0; i < rows * features; ++i) {
      if (i % features < dense) {
        dense_dx.push_back(dx[static_cast<size_t>(i)]);
      } else {
        EXPECT_EQ(dx[static_cast<size_t>(i)], 0.0f);
      }
    }
    ExpectClose(dense_dx, golden.at("dx"), "dx");
    for (const auto& [parameter, want] : golden.at("gradients").items())
      ExpectClose(runner.gradient(parameter), want, parameter);
  }
}

constexpr int64_t kRows = 37, kDense = 2;
const std::vector<EmbeddingTable> kTables = {{5, 3}, {11, 131}, {2, 1}};
constexpr int64_t kOut = kDense + 3 + 131 + 1;

struct Trace {
  std::vector<float> y, gradients, after;
};

// Two steps of a network that begins with embeddings.
Trace Trained(int threads, int shards, int64_t parts = 1) {
  Context ctx({.threads = threads});
  Network net =
      Network::Bind(ctx, Sequential(EmbedFeatures(kTables), Linear(7)), MseLoss(),
                    {.input = {kRows, kDense + 3}, .seed = 3, .shards = shards, .parts = parts})
          .value();
  const std::vector<float> x = Rows(networks::Normals(kRows * kDense, 5), kRows, kDense, kTables);
  const std::vector<float> t = networks::Normals(kRows * 7, 6);
  networks::Poison(net);
  AdamW optimizer;
  Trace trace;
  for (int step = 0; step < 2; ++step) {
    EXPECT_TRUE(
        net.TrainStep({x.data(), {kRows, kDense + 3}}, {t.data(), {kRows, 7}}, optimizer).ok());
  }
  trace.y.resize(kRows * 7);
  EXPECT_TRUE(net.Predict({x.data(), {kRows, kDense + 3}}, {trace.y.data(), {kRows, 7}}).ok());
  trace.gradients.assign(net.parameters().gradients.begin(), net.parameters().gradients.end());
  trace.after.assign(net.parameters().values.begin(), net.parameters().values.end());
  return trace;
}

TEST(EmbedFeaturesTest, TheBitsAreTheSameForAnyNumberOfThreads) {
  for (const int shards : {1, 3, 16}) {
    const Trace one = Trained(1, shards);
    for (const int threads : {2, 7}) {
      const Trace many = Trained(threads, shards);
      EXPECT_EQ(many.y, one.y);
      EXPECT_EQ(many.gradients, one.gradients);
      EXPECT_EQ(many.after, one.after);
    }
  }
}

TEST(EmbedFeaturesTest, ThePartsThatABatchIsComputedInChangeNoBit) {
  EXPECT_EQ(Trained(2, 8, 4).after, Trained(1, 8).after);
}

TEST(EmbedFeaturesTest, TheGradientOfAVectorIsTheSumOverItsRows) {
  for (const int shards : {1, 3, 16}) {
    LayerRunner runner(std::make_unique<EmbedFeatures>(kTables), {kRows, kDense + 3}, {}, 2,
                       shards);
    const std::vector<float> x = Rows(networks::Normals(kRows * kDense, 5), kRows, kDense, kTables);
    const std::vector<float> dy = networks::Normals(kRows * kOut, 8);
    runner.Forward(x, {kRows, kDense + 3});
    runner.Backward(x, {kRows, kDense + 3}, dy);
    int64_t column = kDense;
    for (size_t e = 0; e < kTables.size(); ++e) {
      const auto [values, width] = kTables[e];
      const std::span<const float> gradient = runner.gradient(std::to_string(e) + ".weight");
      for (int64_t v = 0; v < values; ++v) {
        for (int64_t c = 0; c < width; ++c) {
          double want = 0.0, terms = 0.0;
          for (int64_t r = 0; r < kRows; ++r) {
            if (x[static_cast<size_t>(r * (kDense + 3) + kDense) + e] != static_cast<float>(v))
              continue;
            const double term = dy[static_cast<size_t>(r * kOut + column + c)];
            want += term;
            terms += std::abs(term);
          }
          // Each shard is rounded once, and each of 4 merges.
          EXPECT_NEAR(gradient[static_cast<size_t>(v * width + c)], want, 5 * 0x1p-24 * terms);
        }
      }
      column += width;
    }
  }
}

TEST(EmbedFeaturesTest, AStepTakesNothingFromTheHeap) {
  if (!toy::kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  Context ctx({.threads = 2});
  Network net = Network::Bind(ctx, Sequential(EmbedFeatures(kTables), Linear(7)), MseLoss(),
                              {.input = {kRows, kDense + 3}, .shards = 2})
                    .value();
  const std::vector<float> x = Rows(networks::Normals(kRows * kDense, 5), kRows, kDense, kTables);
  const std::vector<float> t = networks::Normals(kRows * 7, 6);
  AdamW optimizer;
  int64_t before = 0;
  for (int step = 0; step < 8; ++step) {
    if (step == 3) before = toy::HeapCalls();
    const int64_t rows = kRows - step % 3;
    ASSERT_TRUE(
        net.TrainStep({x.data(), {rows, kDense + 3}}, {t.data(), {rows, 7}}, optimizer).ok());
  }
  EXPECT_EQ(toy::HeapCalls() - before, 0);
}

std::string ErrorOf(float feature) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, EmbedFeatures({{4, 2}, {3, 2}}), {.input = {2, 3}}).value();
  const std::vector<float> x = {0.5f, 3.0f, 2.0f, -7.5f, 0.0f, feature};
  std::vector<float> y(10);
  return net.Predict({x.data(), {2, 3}}, {y.data(), {2, 5}}).message();
}

TEST(EmbedFeaturesTest, ANumberThatIsNoneOfItsTableIsNamedWithItsRow) {
  EXPECT_EQ(ErrorOf(2.0f), "");
  EXPECT_THAT(ErrorOf(3.0f), HasSubstr("feature 2 of row 1 is 3.000000, but is embedded: whole "
                                       "numbers from 0 to 2"));
  EXPECT_THAT(ErrorOf(-1.0f), HasSubstr("feature 2 of row 1"));
  EXPECT_THAT(ErrorOf(0.5f), HasSubstr("feature 2 of row 1"));
  EXPECT_THAT(ErrorOf(NAN), HasSubstr("feature 2 of row 1"));
  EXPECT_THAT(ErrorOf(INFINITY), HasSubstr("feature 2 of row 1"));
  EXPECT_THAT(ErrorOf(1e30f), HasSubstr("feature 2 of row 1"));
}

// What is computed cannot be looked at before: no number leaves the table.
TEST(EmbedFeaturesTest, ComputedFeaturesCountAsTheLastWhereTheyAreNone) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, Sequential(Linear(1, {.bias = false}), EmbedFeatures({{3, 1}})),
                              {.input = {5, 1}})
                    .value();
  {
    const ParameterWriter writer = net.Write();
    *writer->value(0).f32() = 1.0f;
    for (int v = 0; v < 3; ++v) writer->value(1).f32()[v] = static_cast<float>(10 * v);
  }
  const std::vector<float> x = {1.75f, -1.0f, NAN, 1e30f, 0.0f};
  std::vector<float> y(5);
  ASSERT_TRUE(net.Predict({x.data(), {5, 1}}, {y.data(), {5, 1}}).ok());
  EXPECT_EQ(y, (std::vector<float>{10.0f, 20.0f, 20.0f, 20.0f, 0.0f}));
}

TEST(EmbedFeaturesTest, ShapesThatDoNotFitAreRefused) {
  Context ctx({.threads = 1});
  const auto error = [&](std::vector<EmbeddingTable> tables, const Shape& input) {
    return Network::Bind(ctx, EmbedFeatures(std::move(tables)), {.input = input})
        .status()
        .message();
  };
  EXPECT_THAT(error({{4, 2}, {3, 2}}, {2, 1}),
              AllOf(HasSubstr("the last 2 of which are embedded"), HasSubstr("(2, 1)")));
  EXPECT_THAT(error({{0, 2}}, {2, 1}), HasSubstr("table 0 has 0 vectors of 2 numbers"));
  EXPECT_THAT(error({{2, 2}, {2, 0}}, {2, 2}), HasSubstr("table 1 has 2 vectors of 0 numbers"));
  EXPECT_THAT(error({{(1 << 24) + 1, 1}}, {2, 1}), HasSubstr("1 to 2^24"));
}

}  // namespace
}  // namespace lockstep
